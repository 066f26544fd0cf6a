"""One TCP front end: connections are accepted, led to an endpoint, and joined to it until one side ends them.

What one side sends the other gets, as fast as the slower one takes it; a half that is closed is closed on the other
side, and a connection that breaks on one side is reset on the other. Source: `services-dns` 17 for what is led where.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias, cast

from homeport.proxy.userspace.choice import Choice, Way

__all__ = ["Connections", "TcpFrontend"]

DIAL_SECONDS: Final = (0.25, 0.5, 1.0, 2.0)
"""How long the first, second, … endpoint is tried before another one is."""
BACKLOG: Final = 1024
_RESET: Final = struct.pack("ii", 1, 0)

Address: TypeAlias = tuple[Any, ...]

_log = logging.getLogger(__name__)


class Connections:
    """What is under way through all front ends: it outlives the front end it came by."""

    def __init__(self) -> None:
        self._transports: set[asyncio.Transport] = set()
        self._none: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name="userspace-connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def made(self, transport: asyncio.Transport) -> None:
        self._transports.add(transport)

    def lost(self, transport: asyncio.Transport) -> None:
        self._transports.discard(transport)
        if self._none is not None and not self._transports:
            self._none.set()

    async def close(self) -> None:
        """End everything at once."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for transport in list(self._transports):
            transport.abort()
        if self._transports:
            self._none = asyncio.Event()
            await self._none.wait()


class _Half(asyncio.Protocol):
    """One side of a joined pair.

    among  all there are
    ended  called when this side is over
    mate   the side that was there before; this one is joined to it as soon as it is up
    """

    def __init__(self, among: Connections, ended: Callable[[], None], mate: "_Half | None" = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: asyncio.Transport | None = None if mate is None else mate.transport
        self.said_all = False
        self._among, self._ended, self._mate = among, ended, mate
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self._among.made(self.transport)
        if self._mate is not None:
            self._mate.join(self, self.transport)

    def join(self, mate: "_Half", other: asyncio.Transport) -> None:
        """Tell another side from now on what comes in, and what came before."""
        assert self.transport is not None
        self._mate, self.other = mate, other
        for data in self._early:
            other.write(data)
        self._early.clear()
        if self.said_all:
            other.write_eof()
        if self.transport.is_closing():
            other.close()
        elif not self.said_all:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            assert self.transport is not None
            self._early.append(data)
            self.transport.pause_reading()  # until there is somebody to tell
        elif not self.other.is_closing():
            self.other.write(data)

    def eof_received(self) -> bool:
        self.said_all = True
        if self.other is not None and not self.other.is_closing():
            self.other.write_eof()
        return self._mate is None or not self._mate.said_all  # once both have, nothing else would close them

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        assert self.transport is not None
        self._among.lost(self.transport)
        self._ended()
        self._mate = None
        if self.other is None or self.other.is_closing():
            return
        if error is not None:
            reset(self.other)
        else:
            self.other.close()


def reset(transport: asyncio.Transport) -> None:
    """End a connection so that its peer sees it break."""
    plain: socket.socket | None = transport.get_extra_info("socket")
    if plain is not None:
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class TcpFrontend:
    """Accepts connections on one bound socket until closed; established ones go on until they end by themselves.

    choice  says where each connection goes
    """

    def __init__(self, sock: socket.socket, choice: Choice, connections: Connections) -> None:
        self._socket, self._choice, self._connections = sock, choice, connections
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._accepting = self._loop.create_task(self._accept(), name="userspace-accept")

    async def close(self) -> None:
        """Accept nothing more."""
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._socket.close()

    async def _accept(self) -> None:
        while True:
            try:
                client, peer = await self._loop.sock_accept(self._socket)
            except OSError:  # a client that was gone before it was accepted, or no descriptor left for it
                await asyncio.sleep(0.01)
                continue
            self._connections.start(self._serve(client, peer))

    async def _serve(self, client: socket.socket, peer: Address) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        way = self._choice.way(str(peer[0]))
        if way is Way.IGNORE:
            await self._ignore(client)
            return
        for seconds, target in zip(DIAL_SECONDS, self._choice.targets(str(peer[0])), strict=False):
            ended = self._choice.opened(target)
            half = _Half(self._connections, ended)
            try:
                async with asyncio.timeout(seconds):
                    await self._loop.create_connection(partial(_same, half), str(target.address), target.port)
            except OSError:  # a time-out is one as well
                ended()
                continue
            await self._join(client, half)
            return
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.close()

    async def _ignore(self, client: socket.socket) -> None:
        """Say nothing until the client has had enough of it."""
        try:
            while await self._loop.sock_recv(client, 65536):
                pass
        except OSError as error:
            _log.debug("a client that is not answered went: %s", error)
        finally:
            client.close()

    async def _join(self, client: socket.socket, inner: _Half) -> None:
        outer = _Half(self._connections, _nothing, inner)
        try:
            await self._loop.connect_accepted_socket(partial(_same, outer), client)
        except OSError:
            client.close()
            if inner.transport is not None:
                inner.transport.abort()


def _same(half: _Half) -> _Half:
    """Return the protocol made before, for a loop that wants to make one."""
    return half


def _nothing() -> None:
    """The front end counts by the side of the endpoint alone."""
