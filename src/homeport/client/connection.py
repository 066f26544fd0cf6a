"""One HTTP/1.1 connection: a request out, a response in, the next request when that one is complete."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, cast

import httptools

__all__ = ["BodyStream", "Connection"]

HIGH_WATER_BYTES: Final = 4 * 1024 * 1024
"""Received and not yet read: beyond this the socket is not read any further."""


class Connection(asyncio.Protocol):
    """The protocol object of one connection; `exchange` is called when `idle` and never twice at once."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._headers: list[tuple[str, str]] = []
        self._head_seen = self._complete = self._lost = False
        self._until_close = self._reusable = False
        self._error: OSError | None = None
        self._news: asyncio.Future[None] | None = None
        self.used = 0
        self.idle = True

    @property
    def alive(self) -> bool:
        """Whether another request may be tried."""
        return not self._lost and self._transport is not None and not self._transport.is_closing()

    @property
    def answered(self) -> bool:
        """Whether anything of the present response has arrived."""
        return self._head_seen or bool(self._headers)

    async def exchange(self, head: bytes, body: bytes) -> int:
        """Send a request; return the status once the response's head is there. Raises OSError."""
        assert self._transport is not None
        self.idle = False
        self.used += 1
        self._chunks.clear()
        self._buffered = 0
        self._headers = []
        self._head_seen = self._complete = self._until_close = False
        self._transport.write(head + body if len(body) < 65536 else head)
        if len(body) >= 65536:
            self._transport.write(body)
        while not self._head_seen:
            await self._wait()
        status: int = self._parser.get_status_code()
        return status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The present response's headers, names in lower case."""
        return self._headers

    async def read(self) -> bytes:
        """Return what has arrived of the body, b"" at its end. Raises OSError when it breaks off."""
        while not self._chunks and not self._complete:
            await self._wait()
        if not self._chunks:
            return b""
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def finish(self) -> bool:
        """Return whether the response is read whole and the connection fit for another request."""
        self.idle = self._complete and self.alive and self._reusable
        return self.idle

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        if self._lost:
            raise ConnectionResetError("the server closed the connection")
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _notify(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._error = ConnectionError(f"the server does not speak HTTP: {error}")
            self.abort()
        if self._buffered > HIGH_WATER_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._notify()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._head_seen and self._until_close and error is None:
            self._complete = True
        if isinstance(error, OSError):
            self._error = error
        self._notify()

    # the parser's callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if 100 <= self._parser.get_status_code() < 200:
            self._headers = []
            return
        self._head_seen = True
        names = {name for name, _ in self._headers}
        empty = self._parser.get_status_code() in (204, 304)
        self._until_close = not empty and "content-length" not in names and "transfer-encoding" not in names
        self._reusable = not self._until_close and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._head_seen:
            self._complete = True


class BodyStream:
    """A response body as it arrives. Closing it early closes the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._connection.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Give the connection up: what follows on it is of no interest."""
        self._connection.abort()
