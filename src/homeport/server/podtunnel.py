"""A byte stream to a port of a pod, through the node agent's port-forwarding (api-machinery 17.13).

One WebSocket on the agent's unix socket per connection: channel 0 carries the bytes, channel 1 what went wrong.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["PodTunnel", "Unreachable"]

_DATA, _ERROR = 0, 1
_PORT_BYTES: Final = 2


class Unreachable(Exception):
    """The port cannot be had; the text says why."""


class PodTunnel:
    """Bytes to and from one port. Closed with `close()`."""

    def __init__(self, connection: "ClientConnection") -> None:
        self._connection = connection
        self._announced: set[int] = set()

    @classmethod
    async def open(cls, node_socket: str, namespace: str, pod: str, port: int) -> "PodTunnel":
        """Connect to a port of a pod. Raises Unreachable."""
        from websockets.asyncio.client import unix_connect
        from websockets.exceptions import WebSocketException
        from websockets.typing import Subprotocol

        uri = f"ws://node/portForward/{quote(namespace)}/{quote(pod)}?ports={port}"
        try:
            connection = await unix_connect(
                node_socket, uri, subprotocols=[Subprotocol("v4.channel.k8s.io")], compression=None, max_size=None
            )
        except (OSError, WebSocketException) as error:
            raise Unreachable(str(error)) from error
        return cls(connection)

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises Unreachable."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(bytes([_DATA]) + data)
        except ConnectionClosed as error:
            async for _ in self.pieces():  # the reason may have come just before the end: then this raises it
                continue
            raise Unreachable(f"the node closed the connection: {error}") from error

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield bytes as they come, until the pod's side ends. Raises Unreachable."""
        async for message in self._connection:
            if isinstance(message, str) or not message:
                continue
            channel, data = message[0], message[1:]
            if channel not in self._announced:  # the first message of each channel is the port's number
                self._announced.add(channel)
                data = data[_PORT_BYTES:]
            if channel == _ERROR and data:
                raise Unreachable(data.decode("utf-8", "replace"))
            if channel == _DATA and data:
                yield data

    async def close(self) -> None:
        await self._connection.close()
