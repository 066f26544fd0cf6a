"""Remote command channels over WebSocket: one leading byte names the channel. Source: `api-machinery` 17.4 to 17.7."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from homeport.node.streams.remotecommand import Wanted, parse_sizes
from homeport.node.streams.websocket import WebSocket

__all__ = ["SUBPROTOCOLS", "SocketChannels", "decode_message", "encode_message"]

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
SUBPROTOCOLS: Final = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
)
BACKLOG: Final = 256


def encode_message(channel: int, data: bytes, *, base64_text: bool) -> bytes:
    """Return one message: a channel byte and the data, or an ASCII digit and base64."""
    if base64_text:
        return str(channel).encode() + base64.b64encode(data)
    return bytes((channel,)) + data


def decode_message(message: bytes, *, base64_text: bool) -> tuple[int, bytes] | None:
    """Return channel and data; None for what is no message of this protocol."""
    if not message:
        return None
    if not base64_text:
        return message[0], message[1:]
    try:
        return int(message[:1]), base64.b64decode(message[1:], validate=True)
    except (ValueError, binascii.Error):
        return None


class SocketChannels:
    """`remotecommand.Channels` of an accepted WebSocket."""

    def __init__(self, socket: WebSocket, wanted: Wanted) -> None:
        self._socket, self._wanted = socket, wanted
        protocol = socket.subprotocol or "channel.k8s.io"
        self._text = "base64" in protocol
        self._closes_stdin = protocol.startswith("v5.")
        self._speaks_status = protocol.startswith(("v4.", "v5."))
        self._stdin: asyncio.Queue[bytes] = asyncio.Queue(maxsize=BACKLOG)
        self._resizes: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Sort what the client sends; returns when it has left."""
        while (message := await self._socket.receive()) is not None:
            decoded = decode_message(message, base64_text=self._text)
            if decoded is None:
                continue
            channel, data = decoded
            if channel == STDIN and data:
                await self._stdin.put(data)
            elif channel == RESIZE:
                self._resizes.put_nowait(data)
            elif channel == CLOSE and self._closes_stdin and data[:1] == bytes((STDIN,)):
                await self._stdin.put(b"")
        self._gone.set()

    async def greet(self) -> None:
        """Show that the connection is alive with one empty message."""
        channel = STDOUT if self._wanted.stdout else STDERR if self._wanted.stderr else ERROR
        await self._send(channel, b"")

    async def stdin(self) -> bytes:
        return await self._stdin.get()

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        rest = ""
        while True:
            sizes, rest = parse_sizes(rest + (await self._resizes.get()).decode("utf-8", "replace"))
            for size in sizes:
                yield size

    async def stdout(self, data: bytes) -> None:
        await self._send(STDOUT, data)

    async def stderr(self, data: bytes) -> None:
        await self._send(STDERR, data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        if self._speaks_status:
            await self._send(ERROR, json.dumps(status, separators=(",", ":")).encode())
        elif status["status"] != "Success":
            await self._send(ERROR, status["message"].encode())
        await self._socket.close()

    async def gone(self) -> None:
        await self._gone.wait()

    async def _send(self, channel: int, data: bytes) -> None:
        await self._socket.send(encode_message(channel, data, base64_text=self._text), text=self._text)
