"""Netlink: the codec of requests and answers, and one blocking socket that sends a batch and reads its answers.

A batch of requests goes to the kernel in one `sendmsg` and is carried out in order; every request is answered by one
acknowledgement. Source: Linux `Documentation/userspace-api/netlink/intro.rst`; RFC 3549.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

__all__ = [
    "DUMP",
    "NETFILTER",
    "ROUTE",
    "Netlink",
    "NetlinkError",
    "Request",
    "attribute",
    "attributes",
    "integer",
    "nested",
    "text",
]

ROUTE: Final = 0
NETFILTER: Final = 12
"""Netlink families: NETLINK_ROUTE and NETLINK_NETFILTER."""

ACK: Final = 0x4
DUMP: Final = 0x300
CREATE: Final = 0x400
EXCLUSIVE: Final = 0x200
REPLACE: Final = 0x100
REQUEST: Final = 0x1
_ERROR, _DONE = 2, 3
_NESTED: Final = 0x8000
_TYPE_MASK: Final = 0x3FFF
_HEADER: Final = struct.Struct("=IHHII")
_RECEIVE_BYTES: Final = 1 << 17


class NetlinkError(OSError):
    """The kernel refused a request; `errno` is its reason, `purpose` says what was asked."""

    def __init__(self, code: int, purpose: str) -> None:
        super().__init__(code, f"{purpose}: {os.strerror(code)}")
        self.purpose = purpose


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Errors in `tolerated` count as done, such as EEXIST for something that may be there already."""

    kind: int
    body: bytes
    purpose: str
    flags: int = 0
    tolerated: frozenset[int] = frozenset()


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return struct.pack("=HH", len(payload) + 4, kind) + payload + bytes(-len(payload) % 4)


def integer(kind: int, value: int, size: int = 4) -> bytes:
    """Return an unsigned attribute of 1, 2, 4 or 8 bytes in the machine's byte order."""
    return attribute(kind, value.to_bytes(size, "little" if struct.pack("=H", 1)[0] else "big"))


def text(kind: int, value: str) -> bytes:
    """Return a zero-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *inner: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(inner))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, payload) of a run of attributes; stops at the first that does not fit."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


class Netlink:
    """One socket, bound to the network namespace of the thread that opens it, wherever the thread goes afterwards."""

    def __init__(self, family: int = ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        try:
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def perform(self, requests: Sequence[Request]) -> None:
        """Carry out all requests in order. Raises NetlinkError for the first that failed, after all were tried."""
        pending: dict[int, Request] = {}
        batch = bytearray()
        for request in requests:
            self._sequence += 1
            pending[self._sequence] = request
            batch += self._encode(request, request.flags | ACK, self._sequence)
        if not batch:
            return  # the kernel answers an empty datagram with ENODATA
        self._socket.send(batch)
        failure: NetlinkError | None = None
        while pending:
            for kind, sequence, payload in self._receive():
                if kind != _ERROR or (answered := pending.pop(sequence, None)) is None:
                    continue
                code = -struct.unpack_from("=i", payload)[0]
                if code and code not in answered.tolerated and failure is None:
                    failure = NetlinkError(code, answered.purpose)
        if failure is not None:
            raise failure

    def dump(self, request: Request) -> list[bytes]:
        """Return the bodies of a dump's answers. Raises NetlinkError."""
        self._sequence += 1
        self._socket.send(self._encode(request, request.flags | DUMP, self._sequence))
        bodies: list[bytes] = []
        while True:
            for kind, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == _DONE:
                    return bodies
                if kind == _ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", payload)[0], request.purpose)
                bodies.append(payload)

    def _encode(self, request: Request, flags: int, sequence: int) -> bytes:
        length = _HEADER.size + len(request.body)
        return _HEADER.pack(length, request.kind, flags | REQUEST, sequence, 0) + request.body + bytes(-length % 4)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                return
            yield kind, sequence, data[offset + _HEADER.size : offset + length]
            offset += (length + 3) & ~3
