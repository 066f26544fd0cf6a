"""Listeners that cross the wall: opened inside the cluster's network, accepted on by a process that never enters it.

The node process opens them and hands them to the control process over a Unix socket (SCM_RIGHTS, unix(7)). It keeps
its own copy, so when the control process is started again it gets the same sockets, and connections that arrived
meanwhile wait in their backlog.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from homeport.unix_sockets import bound, short

__all__ = ["listen", "offer", "receive"]

_IP_FREEBIND: Final = 15
_MAX_RECORD_BYTES: Final = 4096
_MAX_LISTENERS: Final = 16
RETRY_FIRST_SECONDS: Final = 0.02
RETRY_LIMIT_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


def listen(address: str, port: int, backlog: int = 512) -> socket.socket:
    """Return a TCP listener in the network namespace of the calling thread. Raises OSError.

    The address need not be there yet, and a listener left with another process by an earlier node may be open still.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def offer(path: Path, listeners: Mapping[str, socket.socket]) -> None:
    """Hand `listeners` to whoever receives at `path`, and again to each successor; ends by cancellation."""
    loop = asyncio.get_running_loop()
    record = json.dumps({"listeners": list(listeners)}).encode()
    descriptors = [listener.fileno() for listener in listeners.values()]
    pause = RETRY_FIRST_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as connection:
            connection.setblocking(False)
            try:
                with short(path) as name:
                    connection.connect(name)
                socket.send_fds(connection, [record], descriptors)
                pause = RETRY_FIRST_SECONDS
                await loop.sock_recv(connection, 1)  # it says nothing; this is the end of the receiver
            except (FileNotFoundError, ConnectionError, BlockingIOError) as error:
                _log.debug("nobody receives listeners at %s: %s", path, error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_LIMIT_SECONDS)


async def receive(path: Path, accept: Callable[[str, socket.socket], Awaitable[None]]) -> None:
    """Call `accept(name, listener)` for every listener offered at `path`; ends by cancellation.

    The listener belongs to `accept` from then on. One of the same name replaces an earlier one: the node was started
    again, and the old socket gets no connections from it any more.
    """
    loop = asyncio.get_running_loop()
    with bound(path, socket.SOCK_SEQPACKET) as server:
        server.setblocking(False)
        server.listen(8)
        async with asyncio.TaskGroup() as group:
            while True:
                connection, _ = await loop.sock_accept(server)
                group.create_task(_take(connection, accept))


async def _take(connection: socket.socket, accept: Callable[[str, socket.socket], Awaitable[None]]) -> None:
    """Take the listeners of one node and stay connected until it ends."""
    with connection:
        while True:
            await _readable(connection)
            data, descriptors, flags, _ = socket.recv_fds(connection, _MAX_RECORD_BYTES, _MAX_LISTENERS)
            if not data:
                return
            received = [socket.socket(fileno=descriptor) for descriptor in descriptors]
            names = json.loads(data)["listeners"]
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(names) != len(received):
                for listener in received:
                    listener.close()
                _log.error("an offer of listeners was cut short: %d names, %d sockets", len(names), len(received))
                return
            for name, listener in zip(names, received, strict=True):
                listener.setblocking(False)
                await accept(name, listener)


async def _readable(connection: socket.socket) -> None:
    """Return once `connection` has something to read; `recv_fds` has no asynchronous form."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
