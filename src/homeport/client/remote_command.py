"""A command in a container, over WebSocket: the client's end of `v5.channel.k8s.io`.

Each binary frame starts with a channel: 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 terminal size, 255 close of
the channel named in the next octet. Source: api-machinery 17; KEP-4006.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlencode

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as HandshakeResponse
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from homeport.errors import InternalError, error_from_status
from homeport.unix_sockets import connected

__all__ = ["RemoteCommand", "Streams"]

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
STATUS: Final = 3
RESIZE: Final = 4
CLOSE: Final = 255
PROTOCOL: Final = Subprotocol("v5.channel.k8s.io")


class Streams(Protocol):
    """The near end: where input comes from and output goes."""

    def size(self) -> tuple[int, int] | None: ...
    def on_resize(self, changed: Callable[[], None]) -> None: ...
    def write(self, data: bytes, *, error: bool = False) -> None: ...
    def read(self) -> AsyncIterator[bytes]: ...


class RemoteCommand:
    """One exec or attach request to a server on a unix socket."""

    def __init__(self, socket: Path, path: str, query: Sequence[tuple[str, str]]) -> None:
        self._socket = socket
        self._uri = f"ws://localhost{quote(path)}?{urlencode(query)}"

    async def run(self, near: Streams, *, pass_stdin: bool) -> int:
        """Run to the end; return the exit code. Raises ApiError when the command could not be started."""
        reader, writer = await asyncio.open_unix_connection(sock=connected(self._socket))
        link = _Link(reader, writer, self._uri)
        typing: asyncio.Task[None] | None = None
        try:
            await link.open()
            self._watch_size(link, near)
            if pass_stdin:
                typing = asyncio.create_task(self._type(link, near))
            return await self._listen(link, near)
        finally:
            if typing is not None:
                typing.cancel()
            writer.close()

    @staticmethod
    def _watch_size(link: "_Link", near: Streams) -> None:
        def send() -> None:
            size = near.size()
            if size is not None:
                link.send(RESIZE, json.dumps({"Width": size[0], "Height": size[1]}).encode())

        if near.size() is not None:
            send()
            near.on_resize(send)

    @staticmethod
    async def _type(link: "_Link", near: Streams) -> None:
        async for data in near.read():
            link.send(STDIN, data)
            await link.drain()
        link.send(CLOSE, bytes((STDIN,)))

    @staticmethod
    async def _listen(link: "_Link", near: Streams) -> int:
        async for channel, data in link.frames():
            if channel in (STDOUT, STDERR):
                near.write(data, error=channel == STDERR)
            elif channel == STATUS:
                return _exit_code(data)
        raise InternalError("the connection ended before the command did")


def _exit_code(data: bytes) -> int:
    status = json.loads(data)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise error_from_status(status.get("code", 500), status)


class _Link:
    """A WebSocket over a pair of streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uri: str) -> None:
        self._reader, self._writer = reader, writer
        self._protocol = ClientProtocol(parse_uri(uri), subprotocols=[PROTOCOL], max_size=None)

    async def open(self) -> None:
        """Shake hands. Raises ApiError with what the server answered instead."""
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while True:
            data = await self._reader.read(65536)
            if not data:
                self._protocol.receive_eof()
            else:
                self._protocol.receive_data(data)
            events = self._protocol.events_received()
            if not events and data:
                continue
            self._early = events[1:]
            answer = events[0] if events else None
            if isinstance(answer, HandshakeResponse) and answer.status_code != 101:
                raise self._refusal(answer)
            if self._protocol.handshake_exc is not None or answer is None:
                raise InternalError(f"the server refused the connection: {self._protocol.handshake_exc}")
            return

    @staticmethod
    def _refusal(answer: HandshakeResponse) -> Exception:
        try:
            return error_from_status(answer.status_code, json.loads(bytes(answer.body or b"")))
        except ValueError:
            return InternalError(f"HTTP {answer.status_code}: {bytes(answer.body or b'').decode('utf-8', 'replace')}")

    def send(self, channel: int, data: bytes) -> None:
        self._protocol.send_binary(bytes((channel,)) + data)
        self._flush()

    async def drain(self) -> None:
        await self._writer.drain()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            elif self._writer.can_write_eof():
                self._writer.write_eof()

    async def frames(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (channel, data) until the connection ends; split messages are put together."""
        events, parts = self._early, bytearray()
        while True:
            for event in events:
                if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                    parts += event.data
                    if event.fin and parts:
                        yield parts[0], bytes(parts[1:])
                    if event.fin:
                        parts.clear()
            data = await self._reader.read(65536)
            if not data:
                return
            self._protocol.receive_data(data)
            self._flush()
            events = self._protocol.events_received()
