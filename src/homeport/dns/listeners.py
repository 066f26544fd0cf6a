"""Sockets: a thread that answers known UDP questions, and everything else on the loop.

The thread does three system-call-cheap things per datagram: receive, look up, send. What the memo does not know is
handed to the loop, which makes the reply by the parsed path, sends it and lets the memo keep it.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from homeport.dns.memo import Memo
from homeport.dns.querylog import QueryLog

__all__ = ["TcpListener", "UdpListener"]

Respond: TypeAlias = Callable[[bytes, bool], Awaitable[bytes | None]]
"""(message, over TCP) → reply, or None for silence."""

RespondStream: TypeAlias = Callable[[bytes], Awaitable[Sequence[bytes]]]
"""message → the replies to it: none for silence, several for a whole zone."""

IDLE_SECONDS: Final = 10.0
MAX_PENDING: Final = 128
"""Messages of one connection under way at once."""

MAX_CONNECTIONS: Final = 1000
"""Of one listener; beyond, the newest is closed."""

RECEIVE_BUFFER: Final = 4 * 1024 * 1024


class UdpListener:
    """Serves one bound UDP socket until closed. Owns the socket.

    given   replies that were kept, given by the thread
    shared  replies given by the loop that had been made for another asker meanwhile
    """

    def __init__(self, sock: socket.socket, memo: Memo, respond: Respond, log: QueryLog | None = None) -> None:
        self.given = self.shared = 0
        self._sock, self._memo, self._respond, self._log = sock, memo, respond, log
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setblocking(True)
        self._thread = threading.Thread(target=self._serve, name="dns-udp", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        memo, table, receive, send = self._memo, self._memo.table, self._sock.recvfrom, self._sock.sendto
        while True:
            try:
                data, peer = receive(4096)
                known = table.get(data[2:])
                if known is None:
                    known = memo.absent.get(data[2:])
                if known is not None:
                    send(data[:2] + known(), peer)
                    self.given += 1
                    continue
            except ConnectionError:
                continue  # an ICMP error about an earlier reply
            except OSError as error:
                if self._stopping:
                    return
                if error.errno is not None and self._sock.fileno() < 0:
                    return
                continue  # a peer that cannot be reached; the next datagram is somebody else's
            if self._stopping:
                return
            self._loop.call_soon_threadsafe(self._miss, data, peer)

    def _miss(self, data: bytes, peer: Any) -> None:
        task = self._loop.create_task(self._answer(data, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, peer: Any) -> None:
        started = self._log.now() if self._log is not None else 0.0
        known = self._memo.find(data)
        if known is None:
            reply = await self._respond(data, False)
        else:
            reply = data[:2] + known()
            self.shared += 1
        if self._log is not None:
            self._log.answered(peer, "udp", data, reply, started)
        if reply is not None:
            with contextlib.suppress(OSError):  # the asker is gone, or not reachable: nobody to tell
                self._sock.sendto(reply, peer)

    async def close(self) -> None:
        """Stop the thread and release the socket."""
        self._stopping = True
        with (
            contextlib.suppress(OSError),
            socket.socket(self._sock.family, socket.SOCK_DGRAM) as waker,
        ):
            waker.sendto(b"", self._sock.getsockname())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(self._thread.join, 1.0)
        self._sock.close()


class TcpListener:
    """Serves one bound TCP socket: messages on one connection are answered as they get ready (RFC 7766).

    With a TLS context it speaks DNS over TLS (RFC 7858), which differs in nothing else.
    """

    def __init__(self, respond: RespondStream, log: QueryLog | None = None) -> None:
        self._respond, self._log = respond, log
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._accept, sock=sock, ssl=tls)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the server closes
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; whoever stops writing still gets what was asked."""
        pending = asyncio.Semaphore(MAX_PENDING)
        peer = writer.get_extra_info("peername")

        async def answer(message: bytes) -> None:
            started = self._log.now() if self._log is not None else 0.0
            try:
                replies = await self._respond(message)
                if self._log is not None:
                    self._log.answered(peer, "tcp", message, replies[0] if replies else None, started)
                for reply in replies:
                    if writer.is_closing():
                        return
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
            finally:
                pending.release()

        with contextlib.suppress(ExceptionGroup, ConnectionError):  # the asker is gone: nobody to tell
            async with asyncio.TaskGroup() as group:
                while (message := await _next(reader)) is not None:
                    await pending.acquire()
                    group.create_task(answer(message))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()


async def _next(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next message; None when the asker is done, gone, or idle for too long."""
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(size)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return None
