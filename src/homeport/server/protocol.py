"""HTTP/1.1 as the API needs it: keep-alive, pipelining, chunked streams, raw upgrades, backpressure both ways.

The tokenizer is httptools'. One request at a time is with the handler; those sent ahead wait in order. The bytes of an
answer go out in one write, those of a stream as they come, no faster than the client reads.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from pathlib import Path
from types import coroutine
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import httptools

from homeport.api.exchange import Handler, Request, Response, User
from homeport.errors import ServiceUnavailable
from homeport.server import answers
from homeport.server.negotiation import Representation
from homeport.server.nodeproxy import Tunnel
from homeport.unix_sockets import connected

__all__ = ["HttpProtocol", "Identify"]

Identify = Callable[[asyncio.BaseTransport, Mapping[str, str]], User | None]
"""Tells who is at the other end of a connection, as far as the transport and its headers say; None leaves it open."""

_AHEAD: Final = 16  # pipelined requests that may wait before reading pauses
_REASONS: Final = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    304: b"Not Modified",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    409: b"Conflict",
    410: b"Gone",
    413: b"Request Entity Too Large",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Entity",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_STATUS_LINES: Final = {code: b"HTTP/1.1 %d %b\r\n" % (code, reason) for code, reason in _REASONS.items()}
_HEAD_LIMIT: Final = 1024 * 1024
_COPIED: Final = 32 * 1024  # bytes of a body below which one write is cheaper than two
_NO_BODY: Final = (204, 304)
_names: dict[bytes, str] = {}


def _lower(name: bytes) -> str:
    """Return a header's name in lower case; the few names clients send are kept."""
    found = _names.get(name)
    if found is None:
        found = name.decode("latin-1").lower()
        if len(_names) < 256:
            _names[name] = found
    return found


def _at_once(url: bytes) -> bool:
    """Tell whether a GET is of one object, or a whole collection: answered from memory, so no task need be made.

    What lies below an object may talk to the node, under timeouts that only a task can have.
    """
    return b"?" not in url and url.count(b"/") <= (6 if url.startswith(b"/api/") else 7)


class _Incoming:
    """A request as it is read."""

    __slots__ = ("body", "head_size", "headers", "keep_alive", "method", "size", "too_large", "upgrade", "url")

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.head_size = 0
        self.method = "GET"
        self.keep_alive = True
        self.upgrade = False
        self.too_large = False


class HttpProtocol(asyncio.Protocol):
    """One connection.

    handler   answers requests; never raises
    identify  says who the peer is
    limit     bytes a request body may have; larger ones are answered 413 and the connection ends
    open_     the connections of a listener, for its end
    """

    def __init__(self, handler: Handler, identify: Identify, limit: int, open_: "set[HttpProtocol]") -> None:
        self._handler, self._identify, self._limit, self._open = handler, identify, limit, open_
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = _Incoming()
        self._waiting: deque[_Incoming] = deque()
        self._busy: asyncio.Task[None] | None = None
        self._running = False
        self._streaming = False
        self._writable: asyncio.Future[None] | None = None
        self._reading = True
        self._closing = False
        self._last = False
        self._tunnel: _TunnelEnd | None = None
        self._early = b""
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._closing = True
        if not self.closed.done():
            self.closed.set_result(None)
        self.resume_writing()
        if self._busy is not None and self._streaming:
            self._busy.cancel()  # anything else comes to its end by itself: a write is not left half done
        if self._tunnel is not None:
            self._tunnel.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.transport.write(data)
            return
        if self._incoming.upgrade:
            self._early += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early += data[upgrade.args[0] :]
        except httptools.HttpParserError:
            if not self._closing:
                self._closing = True
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self.transport.close()

    def eof_received(self) -> bool | None:
        if self._tunnel is not None and self._tunnel.transport.can_write_eof():
            self._tunnel.transport.write_eof()
        return None

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
        if self._tunnel is not None:
            self._tunnel.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        if self._tunnel is not None and not self._closing:
            self._tunnel.transport.resume_reading()

    # -- httptools callbacks

    def on_message_begin(self) -> None:
        self._incoming = _Incoming()

    def on_url(self, url: bytes) -> None:
        self._incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._incoming.head_size += len(name) + len(value)
        if self._incoming.head_size > _HEAD_LIMIT:
            raise ValueError("the request's head is too large")  # told by the parser as its own failure
        key, text = _lower(name), value.decode("latin-1")
        headers = self._incoming.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        incoming, parser = self._incoming, self._parser
        incoming.method = parser.get_method().decode()
        incoming.keep_alive = parser.should_keep_alive()
        incoming.upgrade = parser.should_upgrade()
        if incoming.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        incoming = self._incoming
        incoming.size += len(body)
        if incoming.size > self._limit:
            incoming.too_large = True
            incoming.body.clear()
        else:
            incoming.body.append(body)

    def on_message_complete(self) -> None:
        if self._closing:
            return
        if self._running:
            self._waiting.append(self._incoming)
            if len(self._waiting) >= _AHEAD and self._reading:
                self._reading = False
                self.transport.pause_reading()
        else:
            self._start(self._incoming)

    # -- answering

    def _start(self, incoming: _Incoming) -> None:
        """Answer at once where the handler needs not wait, else in a task."""
        self._running = True
        if incoming.method == "GET" and not incoming.upgrade and _at_once(incoming.url):
            request = self._request(incoming)
            answer: Coroutine[Any, Any, Response] = self._handler(request)  # type: ignore[assignment]
            try:
                yielded = answer.send(None)
            except StopIteration as done:
                response: Response = done.value
                if response.stream is None:
                    self._write(incoming, response)
                    self._next(incoming)
                    return
                self._busy = self._loop.create_task(self._stream_and_next(incoming, response))
                return
            self._busy = self._loop.create_task(self._finish(incoming, _resumed(answer, yielded)))
            return
        self._busy = self._loop.create_task(self._finish(incoming, self._handler(self._request(incoming))))

    async def _finish(self, incoming: _Incoming, answer: Any) -> None:
        response = await answer
        if isinstance(response, Tunnel):
            await self._open_tunnel(incoming, response)
            return
        await self._stream_and_next(incoming, response)

    async def _stream_and_next(self, incoming: _Incoming, response: Response) -> None:
        if response.stream is None:
            self._write(incoming, response)
        else:
            await self._stream(incoming, response, response.stream)
        if self._writable is not None:
            await self._writable
        self._busy = None
        self._next(incoming)

    def _next(self, incoming: _Incoming) -> None:
        self._running = False
        if self._closing:
            return
        if self._last or not incoming.keep_alive or incoming.upgrade or incoming.too_large:
            self._closing = True
            self.transport.close()
            return
        if self._waiting:
            self._start(self._waiting.popleft())
        if not self._reading and len(self._waiting) < _AHEAD:
            self._reading = True
            self.transport.resume_reading()

    def _request(self, incoming: _Incoming) -> Request:
        raw_path, _, raw_query = incoming.url.partition(b"?")
        path = raw_path.decode("latin-1")
        if "%" in path:
            path = unquote(path)
        query: tuple[tuple[str, str], ...] = ()
        if raw_query:
            query = tuple(parse_qsl(raw_query.decode("latin-1"), keep_blank_values=True))
        if incoming.too_large:
            body = b"\0" * (self._limit + 1)
        else:
            body = incoming.body[0] if len(incoming.body) == 1 else b"".join(incoming.body)
        user = self._identify(self.transport, incoming.headers)
        return Request(incoming.method, path, query, incoming.headers, body, user)

    def _head(self, incoming: _Incoming, response: Response, framing: bytes) -> bytes:
        status = response.status
        parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in response.headers:
            parts.append(f"{name}: {value}\r\n".encode())
        if self._last or not incoming.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(framing)
        return b"".join(parts)

    def _write(self, incoming: _Incoming, response: Response) -> None:
        if self._closing:
            return
        body = response.body
        framing = b"\r\n" if response.status in _NO_BODY else b"content-length: %d\r\n\r\n" % len(body)
        head = self._head(incoming, response, framing)
        if incoming.method == "HEAD":
            self.transport.write(head)
        elif len(body) < _COPIED:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    async def _stream(self, incoming: _Incoming, response: Response, stream: AsyncIterator[bytes]) -> None:
        self.transport.write(self._head(incoming, response, b"transfer-encoding: chunked\r\n\r\n"))
        self._streaming = True
        try:
            if self._closing or incoming.method == "HEAD":
                return
            async for piece in stream:
                if not piece:
                    continue
                self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if self._writable is not None:
                    await self._writable
                if self._closing:
                    return
        finally:
            self._streaming = False
            closer = getattr(stream, "aclose", None)
            if closer is not None:
                await closer()
        self.transport.write(b"0\r\n\r\n")

    # -- tunnels

    async def _open_tunnel(self, incoming: _Incoming, tunnel: Tunnel) -> None:
        try:
            dialled = connected(Path(tunnel.socket_path))
            _, end = await self._loop.create_unix_connection(lambda: _TunnelEnd(self), sock=dialled)
        except OSError as error:
            refused = ServiceUnavailable(f"the node does not answer now ({error.strerror}); try again in a moment")
            self._write(incoming, answers.failure(refused, Representation()))
            self._next(incoming)
            return
        if self._closing:  # the client went meanwhile
            end.transport.close()
            return
        end.transport.write(tunnel.head + self._early)
        self._early = b""
        self._tunnel = end

    def finish(self) -> None:
        """End the connection once the answer under way has gone out; at once when there is none."""
        if self._running and self._tunnel is None:
            self._last = True
        else:
            self._closing = True
            self.transport.close()


class _TunnelEnd(asyncio.Protocol):
    """The node's side of a tunnel."""

    def __init__(self, client: HttpProtocol) -> None:
        self._client = client
        self.transport: asyncio.Transport = None  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._client.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.transport.close()

    def pause_writing(self) -> None:
        with contextlib.suppress(RuntimeError):  # closing already
            self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._client.transport.resume_reading()


@coroutine
def _resumed(answer: Coroutine[Any, Any, Response], yielded: Any) -> Generator[Any, Any, Response]:
    """Go on, inside a task, with a coroutine that was started outside one and waits for `yielded`."""
    while True:
        try:
            value = yield yielded
        except BaseException as error:  # cancellation goes to where the coroutine waits
            failure: BaseException | None = error
        else:
            failure = None
        try:
            yielded = answer.send(value) if failure is None else answer.throw(failure)
        except StopIteration as done:
            response: Response = done.value
            return response
