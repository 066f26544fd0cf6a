"""Whether the server is well, over HTTP on loopback: /health, /ready, /metrics. One request a connection."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

__all__ = ["StatusListener"]

REQUEST_SECONDS: Final = 5.0
MAX_HEAD: Final = 8192
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class StatusListener:
    """`missing` names the parts that are not ready; `metrics` renders the counters."""

    def __init__(self, missing: Callable[[], Sequence[str]], metrics: Callable[[], str]) -> None:
        self._missing, self._metrics = missing, metrics
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Serve a bound socket, and own it from then on."""
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=MAX_HEAD)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError, EOFError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0]))
                await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", head_only=False)
        status, text, kind = self._page(path)
        return _response(status, text, kind, head_only=method == "HEAD")

    def _page(self, path: str) -> tuple[HTTPStatus, str, str]:
        match path:
            case "/health":
                return HTTPStatus.OK, "OK", "text/plain"
            case "/ready":
                missing = self._missing()
                if missing:
                    return HTTPStatus.SERVICE_UNAVAILABLE, ",".join(missing), "text/plain"
                return HTTPStatus.OK, "OK", "text/plain"
            case "/metrics":
                return HTTPStatus.OK, self._metrics(), METRICS_TYPE
        return HTTPStatus.NOT_FOUND, "/health, /ready and /metrics are served\n", "text/plain"


def _response(status: HTTPStatus, text: str, kind: str = "text/plain", *, head_only: bool) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"content-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
