"""How the node talks to what listens in a pod: a seam with a real side (sockets) and a simulated one.

The node process lives in the cluster's network namespace, so a pod's address is reached by an ordinary socket; only
the pod's own loopback needs its namespace.
"""

import asyncio
import errno
import os
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Final, Protocol

import httptools

from homeport.node import syscalls

__all__ = ["HttpAnswer", "Reach", "SocketReach", "go_error"]

BODY_LIMIT: Final = 10 * 1024
HEADER_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`location` is empty unless it is a redirect."""

    status: int
    location: str = ""
    body: bytes = b""


class Reach(Protocol):
    """Connections from the node to pods. All raise OSError; none has a timeout of its own."""

    async def http_get(
        self, scheme: str, address: str, port: int, path: str, headers: tuple[tuple[str, str], ...]
    ) -> HttpAnswer:
        """Send one GET, without following redirects; `scheme` is `http` or `https` (not verified)."""
        ...

    async def tcp(self, address: str, port: int) -> None:
        """Connect and close."""
        ...

    async def dial(self, pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to `port` of the loopback of process `pid`'s network namespace, IPv4 first."""
        ...


def go_error(error: OSError, address: str, port: int) -> str:
    """Return the text Go gives for a failed dial, which is what users know from events."""
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {where}: i/o timeout"
    text = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
        return f"dial tcp {where}: connect: {text}"
    return f"dial tcp {where}: {text}"


class _Answer:
    """Collects a response from httptools' callbacks."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.location, self.body = "", bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"location":
            self.location = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data[: max(0, BODY_LIMIT - len(self.body))]

    def on_message_complete(self) -> None:
        self.complete = True


class SocketReach:
    """The real side."""

    def __init__(self) -> None:
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def http_get(
        self, scheme: str, address: str, port: int, path: str, headers: tuple[tuple[str, str], ...]
    ) -> HttpAnswer:
        tls = self._tls if scheme == "https" else None
        reader, writer = await asyncio.open_connection(address, port, ssl=tls)
        _linger(writer)
        try:
            head = "".join(f"{name}: {value}\r\n" for name, value in headers)
            writer.write(f"GET {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode("utf-8", "surrogateescape"))
            await writer.drain()
            answer, received = _Answer(), 0
            while not answer.complete and received < HEADER_LIMIT + BODY_LIMIT:
                data = await reader.read(16384)
                if not data:
                    break
                received += len(data)
                answer.parser.feed_data(data)
            status = answer.parser.get_status_code()
        except httptools.HttpParserError as error:
            raise OSError(f"malformed HTTP response: {error}") from error
        finally:
            writer.close()
        if not status:
            raise OSError("EOF")
        return HttpAnswer(status, answer.location, bytes(answer.body))

    async def tcp(self, address: str, port: int) -> None:
        _, writer = await asyncio.open_connection(address, port)
        _linger(writer)
        writer.close()

    async def dial(self, pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = await asyncio.to_thread(_dial_inside, pid, port)
        return await asyncio.open_connection(sock=connection)


def _linger(writer: asyncio.StreamWriter) -> None:
    """Close with a one second linger, which keeps probes from piling up TIME_WAIT sockets."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1))


def _dial_inside(pid: int, port: int) -> socket.socket:
    """Connect from inside another network namespace: a socket belongs to the one its thread was in when it was made."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(there, syscalls.CLONE_NEWNET)
        finally:
            os.close(there)
        try:
            return _connect_loopback(port)
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def _connect_loopback(port: int) -> socket.socket:
    first: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect((address, port))
        except OSError as error:
            connection.close()
            first = first or error
        else:
            connection.setblocking(False)
            return connection
    assert first is not None
    raise first
