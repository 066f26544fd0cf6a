"""Port-forward: connections into a pod through SPDY streams or WebSocket channels.

A connection that cannot be made concerns its own pair of streams only. Source: `api-machinery` 17.11 to 17.13.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from homeport.node.streams.multiplex import SpdySession, SpdyStream
from homeport.node.streams.socket_channels import decode_message, encode_message
from homeport.node.streams.websocket import WebSocket

__all__ = ["Dial", "forward_channels", "forward_streams", "requested_ports"]

Dial: TypeAlias = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Connects to a port of the pod; raises OSError."""

CHUNK_BYTES: Final = 32 * 1024


def requested_ports(values: Sequence[str]) -> list[int]:
    """Return the ports of `ports=` queries, each a number or a comma list; raises ValueError."""
    ports = [int(text) for value in values for text in value.split(",")]
    if not ports or any(not 1 <= port <= 65535 for port in ports):
        raise ValueError('query parameter "ports" is required, each from 1 to 65535')
    return ports


async def forward_streams(session: SpdySession, dial: Dial, describe: str) -> None:
    """Serve a SPDY connection until its end; `describe` names the pod in errors: `pod web, uid …`."""
    halves: dict[str, dict[str, SpdyStream]] = {}
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(session.run())
        connections: set[asyncio.Task[None]] = set()
        async for stream in session.streams():
            request = stream.headers.get("requestid") or _implied(stream)
            pair = halves.setdefault(request, {})
            pair[stream.headers.get("streamtype", "")] = stream
            if "data" in pair and "error" in pair:
                del halves[request]
                task = group.create_task(_connect(session, pair["data"], pair["error"], dial, describe))
                connections.add(task)
                task.add_done_callback(connections.discard)
        for task in connections:
            task.cancel()
        reading.cancel()


def _implied(stream: SpdyStream) -> str:
    """Old clients number nothing: their data stream follows the error stream."""
    return str(stream.id if stream.headers.get("streamtype") == "error" else stream.id - 2)


async def _connect(session: SpdySession, data: SpdyStream, error: SpdyStream, dial: Dial, describe: str) -> None:
    port = data.headers.get("port", "")
    with contextlib.suppress(ConnectionError):
        try:
            reader, writer = await dial(int(port))
        except (OSError, ValueError) as failure:
            await error.write(f"error forwarding port {port} to {describe}: {failure}".encode())
            await error.close()
            await data.reset()
            return
        await _carry(data, reader, writer)
        await error.close()
        await data.close()
    session.forget(data, error)


async def _carry(data: SpdyStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy both ways until the pod's side has ended."""
    inward = asyncio.create_task(_inward(data, writer))
    try:
        while piece := await _read(reader):
            await data.write(piece)
    finally:
        inward.cancel()
        await asyncio.wait([inward])
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(CHUNK_BYTES)
    except ConnectionError:
        return b""


async def _inward(data: SpdyStream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await data.read():
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def forward_channels(socket: WebSocket, ports: Sequence[int], dial: Dial, describe: str) -> None:
    """Serve a WebSocket whose port i has channel 2i for data and 2i+1 for errors, until every connection has ended."""
    text = "base64" in (socket.subprotocol or "")
    writers: dict[int, asyncio.StreamWriter] = {}

    async def send(channel: int, data: bytes) -> None:
        await socket.send(encode_message(channel, data, base64_text=text), text=text)

    async def outward(index: int, port: int, ready: asyncio.Event) -> None:
        try:
            reader, writers[index] = await dial(port)
        except OSError as failure:
            ready.set()
            await send(2 * index + 1, f"error forwarding port {port} to {describe}: {failure}".encode())
            return
        ready.set()
        while piece := await _read(reader):
            await send(2 * index, piece)
        writers.pop(index).close()

    async def inward() -> None:
        while (message := await socket.receive()) is not None:
            decoded = decode_message(message, base64_text=text)
            if decoded is None or decoded[0] % 2:
                continue
            writer = writers.get(decoded[0] // 2)
            if writer is not None:
                writer.write(decoded[1])
                await writer.drain()

    tasks = []
    try:
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await send(channel, port.to_bytes(2, "little"))
            ready = asyncio.Event()
            tasks.append(asyncio.create_task(_quietly(outward(index, port, ready))))
            await ready.wait()
        asking = asyncio.create_task(_quietly(inward()))
        ended = asyncio.gather(*tasks)
        tasks.append(asking)
        await asyncio.wait((asking, ended), return_when=asyncio.FIRST_COMPLETED)
    except ConnectionError:
        pass
    finally:
        for task in tasks:
            task.cancel()
        for writer in writers.values():
            writer.close()
        await socket.close()


async def _quietly(work: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionError):
        await work
