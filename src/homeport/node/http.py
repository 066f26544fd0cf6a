"""HTTP/1.1 for the node's own socket: heads parsed, answers written, upgrades handed over with the bytes behind them.

Few connections, all from this machine, one request each: no pipelining, no keep-alive.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import httptools

from homeport.node.streams.pipe import StreamPipe

__all__ = ["HttpRequest", "read_request", "send_response", "send_stream", "switch_protocols"]

HEAD_LIMIT: Final = 64 * 1024
CHUNK_BYTES: Final = 16 * 1024
REASONS: Final = {
    101: "Switching Protocols", 200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 500: "Internal Server Error",
}  # fmt: skip


@dataclass(slots=True)
class HttpRequest:
    """`path` is decoded segments; `target` is what the request line said; `rest` came after the head."""

    method: str
    target: str
    headers: Mapping[str, str]
    rest: bytes = b""
    path: tuple[str, ...] = ()
    query: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.path = tuple(unquote(part) for part in parts.path.split("/") if part)
        self.query = parse_qsl(parts.query, keep_blank_values=True)

    def first(self, name: str) -> str:
        return next((value for key, value in self.query if key == name), "")

    def flag(self, name: str) -> bool:
        return self.first(name).lower() in ("true", "1")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.query if key == name]


class _Head:
    """Collects a request's head from httptools' callbacks."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.headers: dict[str, str] = {}
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.complete = True


async def read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    """Return the request whose head comes next; None at the end. Raises ValueError for what is no HTTP."""
    head, received, rest = _Head(), 0, b""
    while not head.complete:
        data = await reader.read(CHUNK_BYTES)
        if not data:
            return None
        received += len(data)
        if received > HEAD_LIMIT:
            raise ValueError("request head too large")
        try:
            head.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise ValueError(str(error)) from error
    method = head.parser.get_method().decode("latin-1")
    return HttpRequest(method, head.target.decode("latin-1"), head.headers, rest)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def send_response(writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes) -> None:
    """Send a whole answer."""
    headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
    writer.write(_head(status, headers) + body)
    await writer.drain()


async def send_stream(writer: asyncio.StreamWriter, content_type: str, pieces: AsyncGenerator[bytes, None]) -> None:
    """Send an answer as it comes, chunked."""
    headers = {"Content-Type": content_type, "Transfer-Encoding": "chunked", "Connection": "close"}
    writer.write(_head(200, headers))
    async with aclosing(pieces):
        async for piece in pieces:
            if piece:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def switch_protocols(
    request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]
) -> StreamPipe:
    """Agree to an upgrade; what follows is the other protocol's."""
    writer.write(_head(101, {"Connection": "Upgrade", **headers}))
    await writer.drain()
    return StreamPipe(reader, writer, request.rest)
