"""Clients of the node's socket: WebSocket by `websockets`, SPDY by our own codec turned around."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, unix_connect

from homeport.node.streams.spdy import Data, Finished, SpdyConnection


@asynccontextmanager
async def web_socket(path: Path, target: str, *protocols: str) -> AsyncIterator[ClientConnection]:
    connect = unix_connect(
        str(path),
        f"ws://node{target}",
        subprotocols=list(protocols) or None,
        max_size=None,  # type: ignore[arg-type]
    )
    async with connect as socket:
        yield socket


class SpdyClient:
    """Opens streams, collects what comes on them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection = SpdyConnection()
        self._next = 1
        self.received: dict[int, bytes] = {}
        self.finished: dict[int, asyncio.Event] = {}
        self.closed = asyncio.Event()

    async def open(self, headers: Mapping[str, str], *, finished: bool = False) -> int:
        stream, self._next = self._next, self._next + 2
        self.received[stream], self.finished[stream] = b"", asyncio.Event()
        self._writer.write(self._connection.open(stream, headers, finished=finished))
        await self._writer.drain()
        return stream

    async def send(self, stream: int, data: bytes, *, finished: bool = False) -> None:
        self._writer.write(SpdyConnection.send(stream, data, finished=finished))
        await self._writer.drain()

    async def run(self) -> None:
        while data := await self._reader.read(65536):
            for event in self._connection.receive(data):
                if isinstance(event, Data):
                    self.received[event.stream] += event.data
                elif isinstance(event, Finished):
                    self.finished[event.stream].set()
        self.closed.set()


@asynccontextmanager
async def spdy(path: Path, target: str, protocol: str) -> AsyncIterator[SpdyClient]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(
        f"POST {target} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert f"X-Stream-Protocol-Version: {protocol.split(',')[0]}".encode() in head
    client = SpdyClient(reader, writer)
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        await asyncio.wait([running])
        writer.close()


async def get(path: Path, target: str) -> tuple[int, bytes]:
    """Return status and body of a plain GET, chunks joined."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    if b"chunked" in head:
        out, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            out, rest = out + rest[:length], rest[length + 2 :]
        body = out
    return int(head.split(b" ")[1]), body
