"""A WebSocket over a pipe: handshake, whole messages, pings answered whatever is awaited. Frames: `websockets`."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence

from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from homeport.node.streams.pipe import Pipe

__all__ = ["WebSocket", "WebSocketPipe", "choose"]

MESSAGE_LIMIT = 8 << 20

_log = logging.getLogger(__name__)
_log.setLevel(logging.WARNING)  # the library tells of every connection


def choose(offered: Sequence[str], supported: Sequence[str]) -> str | None:
    """Return the first subprotocol the client offers that is supported."""
    return next((name for name in offered if name in supported), None)


class WebSocket:
    """The server's end. `accept` first; then `receive` by one task and `send` by any."""

    def __init__(self, pipe: Pipe, path: str, headers: Mapping[str, str], supported: Sequence[str]) -> None:
        self._pipe = pipe
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",") if name.strip()]
        self.subprotocol = choose(offered, supported)
        self._protocol = ServerProtocol(
            max_size=MESSAGE_LIMIT,
            logger=_log,
            select_subprotocol=lambda _, __: self.subprotocol,  # type: ignore[arg-type, return-value]
        )
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)
        self._partial = bytearray()
        self._sending = asyncio.Lock()
        self._pump: asyncio.Task[None] | None = None

    async def accept(self) -> bool:
        """Answer the handshake; returns whether the connection is open now."""
        self._protocol.receive_data(self._head)
        for request in self._protocol.events_received():
            if isinstance(request, Request):
                self._protocol.send_response(self._protocol.accept(request))
        await self._flush()
        if self._protocol.state is not State.OPEN:
            await self._pipe.close()
            return False
        self._pump = asyncio.create_task(self._receive())
        return True

    async def _receive(self) -> None:
        """Read all the time, so that pings are answered also while nobody wants a message."""
        try:
            while data := await self._pipe.read():
                self._protocol.receive_data(data)
                await self._flush()
                for event in self._protocol.events_received():
                    if isinstance(event, Frame):
                        await self._frame(event)
                if self._protocol.state is not State.OPEN:
                    break
        except (ConnectionError, ProtocolError):
            pass
        finally:
            await self._messages.put(None)

    async def _frame(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._partial += frame.data
        if len(self._partial) > MESSAGE_LIMIT:
            raise ConnectionAbortedError("message too large")
        if frame.fin:
            message, self._partial = bytes(self._partial), bytearray()
            await self._messages.put(message)

    async def receive(self) -> bytes | None:
        """Return the next message, None when the peer has closed or gone."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)
        return message

    async def send(self, data: bytes, *, text: bool = False) -> None:
        """Send one message. Raises ConnectionError."""
        async with self._sending:
            if self._protocol.state is not State.OPEN:
                raise ConnectionResetError("the peer has closed")
            if text:
                self._protocol.send_text(data)
            else:
                self._protocol.send_binary(data)
            await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                await self._pipe.write(data)

    async def close(self, code: int = 1000) -> None:
        """Say goodbye, wait a moment for the answer, close."""
        with contextlib.suppress(ConnectionError):
            async with self._sending:
                if self._protocol.state is State.OPEN:
                    self._protocol.send_close(code)
                    await self._flush()
            if self._pump is not None:
                async with asyncio.timeout(5):
                    while await self.receive() is not None:
                        continue
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await self._pipe.close()


class WebSocketPipe:
    """A pipe through the binary messages of a WebSocket, as tunnelled SPDY uses it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while (message := await self._socket.receive()) is not None:
            if message:
                return message
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)

    async def close(self) -> None:
        await self._socket.close()
