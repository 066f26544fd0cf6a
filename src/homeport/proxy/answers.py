"""What the proxy is asked over HTTP: one request, one answer, and the connection is over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Answer", "converse"]

_REQUEST_SECONDS: Final = 5.0
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, complete but for its framing."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", **self.headers}
        body = self.body.encode()
        lines = [f"HTTP/1.1 {self.status} {_REASONS[self.status]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        return "\r\n".join(lines).encode() + body


async def converse(
    answer: Callable[[str, Mapping[str, str]], Awaitable[Answer]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Read a request within five seconds, let `answer` answer its path and query, and end the connection."""
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        words = head.split(b"\r\n", 1)[0].split(b" ")
        target = urlsplit(words[1].decode("latin-1") if len(words) == 3 else "/")
        writer.write((await answer(target.path, dict(parse_qsl(target.query)))).encode())
        async with asyncio.timeout(_REQUEST_SECONDS):
            await writer.drain()
    except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        _log.debug("a request failed: %s", error)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
