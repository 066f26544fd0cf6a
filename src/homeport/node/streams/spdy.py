"""SPDY/3.1 as exec, attach and port-forward speak it: bytes in, events out; no I/O.

Only a server is needed: clients open streams, we answer. The peers are Go programs that ignore flow control, so
no window is granted or waited for. Source: SPDY protocol draft 3.1; `api-machinery` 17.9.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

__all__ = [
    "DICTIONARY",
    "Data",
    "Event",
    "Finished",
    "GoAway",
    "Opened",
    "Ping",
    "Replied",
    "Reset",
    "SpdyConnection",
    "SpdyError",
]

VERSION: Final = 3
FIN: Final = 0x01
FRAME_LIMIT: Final = 1 << 20
HEADER_LIMIT: Final = 64 * 1024
PIECE_BYTES: Final = 32 * 1024
CANCEL: Final = 5


class Frame(IntEnum):
    """Control frames that mean something here; others (SETTINGS, WINDOW_UPDATE) are passed over."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    PING = 6
    GOAWAY = 7
    HEADERS = 8


def _dictionary() -> bytes:
    """The fixed zlib dictionary: words with their lengths, then a tail of common values."""
    words = (
        "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
        "allow authorization cache-control connection content-base content-encoding content-language content-length "
        "content-location content-md5 content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
        "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
        "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
        "keep-alive origin"
    )
    tail = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    prefixed = [word.replace("_", " ").encode() for word in words.split(" ")]
    return b"".join(len(word).to_bytes(4, "big") + word for word in prefixed) + tail.encode()


DICTIONARY: Final = _dictionary()


class SpdyError(Exception):
    """The peer does not speak SPDY/3.1; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream of the peer's. `finished`: it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Replied:
    """The peer accepted a stream of ours."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The peer's half of a stream is closed."""

    stream: int


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with the same id."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer opens no more streams."""


Event: TypeAlias = Opened | Replied | Data | Finished | Reset | Ping | GoAway


class SpdyConnection:
    """One side of a connection. The compressors are shared by all streams, so blocks must be sent as they were made."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    # What comes in

    def receive(self, data: bytes) -> list[Event]:
        """Take in bytes of any length; returns what they complete. Raises SpdyError."""
        self._buffer += data
        events: list[Event] = []
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8], "big")
            if length > FRAME_LIMIT:
                raise SpdyError(f"frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                break
            head, payload = bytes(self._buffer[:8]), bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            if head[0] & 0x80:
                events += self._control(head, payload)
            else:
                events += self._data(head, payload)
        return events

    @staticmethod
    def _data(head: bytes, payload: bytes) -> list[Event]:
        stream = int.from_bytes(head[:4], "big")
        if not stream:
            raise SpdyError("data on stream 0")
        events: list[Event] = [Data(stream, payload)] if payload else []
        return [*events, Finished(stream)] if head[4] & FIN else events

    def _control(self, head: bytes, payload: bytes) -> list[Event]:
        version, kind, flags = int.from_bytes(head[:2], "big") & 0x7FFF, int.from_bytes(head[2:4], "big"), head[4]
        if version != VERSION:
            raise SpdyError(f"version {version}")
        match kind:
            case Frame.SYN_STREAM:
                stream = _number(payload, 0)
                headers = self._headers(payload[10:], len(payload) < 10)
                return [Opened(stream, headers, bool(flags & FIN))]
            case Frame.SYN_REPLY:
                stream = _number(payload, 0)
                events: list[Event] = [Replied(stream, self._headers(payload[4:], len(payload) < 4))]
                return [*events, Finished(stream)] if flags & FIN else events
            case Frame.RST_STREAM:
                return [Reset(_number(payload, 0), _number(payload, 4))]
            case Frame.PING:
                return [Ping(_number(payload, 0, whole=True))]
            case Frame.GOAWAY:
                return [GoAway()]
            case Frame.HEADERS:  # nobody sends any, but the shared compressor must see them
                self._headers(payload[4:], len(payload) < 4)
                return [Finished(_number(payload, 0))] if flags & FIN else []
        return []  # SETTINGS, WINDOW_UPDATE and what may come: nothing to do

    def _headers(self, block: bytes, short: bool) -> dict[str, str]:
        if short:
            raise SpdyError("frame too short")
        try:
            text = self._inflate.decompress(block, HEADER_LIMIT)
        except zlib.error as error:
            raise SpdyError(f"header block: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("header block too large")
        return dict(_pairs(text))

    # What goes out

    def open(self, stream: int, headers: Mapping[str, str], *, finished: bool = False) -> bytes:
        """Open a stream (clients only: odd numbers)."""
        block = self._block(headers.items())
        payload = stream.to_bytes(4, "big") + bytes(6) + block
        return _frame(Frame.SYN_STREAM, FIN if finished else 0, payload)

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        """Accept a stream."""
        return _frame(Frame.SYN_REPLY, 0, stream.to_bytes(4, "big") + self._block((headers or {}).items()))

    @staticmethod
    def send(stream: int, data: bytes, *, finished: bool = False) -> bytes:
        """Send data, in as many frames as it needs; `finished` closes our half with the last."""
        pieces: Sequence[bytes] = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
        if finished and not pieces:
            pieces = [b""]
        out = bytearray()
        for index, piece in enumerate(pieces):
            last = finished and index == len(pieces) - 1
            out += stream.to_bytes(4, "big") + bytes((FIN if last else 0,)) + len(piece).to_bytes(3, "big") + piece
        return bytes(out)

    @staticmethod
    def reset(stream: int, status: int = CANCEL) -> bytes:
        return _frame(Frame.RST_STREAM, 0, stream.to_bytes(4, "big") + status.to_bytes(4, "big"))

    @staticmethod
    def ping(id: int) -> bytes:
        return _frame(Frame.PING, 0, id.to_bytes(4, "big"))

    def _block(self, pairs: Iterable[tuple[str, str]]) -> bytes:
        entries = [(name.lower().encode(), value.encode()) for name, value in pairs]
        text = len(entries).to_bytes(4, "big") + b"".join(
            len(name).to_bytes(4, "big") + name + len(value).to_bytes(4, "big") + value for name, value in entries
        )
        return self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    head = (0x8000 | VERSION).to_bytes(2, "big") + kind.to_bytes(2, "big")
    return head + bytes((flags,)) + len(payload).to_bytes(3, "big") + payload


def _number(payload: bytes, offset: int, *, whole: bool = False) -> int:
    if len(payload) < offset + 4:
        raise SpdyError("frame too short")
    value = int.from_bytes(payload[offset : offset + 4], "big")
    return value if whole else value & 0x7FFFFFFF


def _pairs(text: bytes) -> Iterable[tuple[str, str]]:
    """Read a decompressed header block; several values of one name are joined by NUL."""
    offset = 0

    def take(size: int) -> bytes:
        nonlocal offset
        if offset + size > len(text):
            raise SpdyError("header block too short")
        offset += size
        return text[offset - size : offset]

    for _ in range(int.from_bytes(take(4), "big")):
        name = take(int.from_bytes(take(4), "big"))
        value = take(int.from_bytes(take(4), "big"))
        yield name.decode("utf-8", "replace").lower(), value.decode("utf-8", "replace")
