"""The transport over a wire: HTTPS, plain HTTP, or plain HTTP on a unix socket, with connections kept for reuse."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from homeport.api.exchange import Request, Response
from homeport.client.connection import BodyStream, Connection
from homeport.client.settings import ConnectionSettings
from homeport.client.tls import client_context
from homeport.unix_sockets import connected

__all__ = ["HttpTransport"]

IDLE_LIMIT: Final = 16
CONNECT_SECONDS: Final = 10.0
TOKEN_SECONDS: Final = 60.0
_PATH_SAFE: Final = "/-._~!$&'()*+,;=:@"


class HttpTransport:
    """Sends requests over as many connections as are needed at once, and keeps up to 16 idle ones.

    A watch or log that follows owns its connection; closing its stream closes that connection. A GET that meets a
    connection which the server just gave up is sent again once; a write is not, because it may have happened.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        parts = urlsplit(settings.server)
        if parts.scheme not in ("http", "https", "unix"):
            raise ValueError(f"cannot connect to {settings.server!r}: use https://, http:// or unix://")
        self._unix = parts.path if parts.scheme == "unix" else ""
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = "" if self._unix else parts.path.rstrip("/")
        self._tls = client_context(settings) if parts.scheme == "https" else None
        host = "localhost" if self._unix else parts.netloc.rpartition("@")[2]
        self._fixed = {"host": host, **settings.headers}
        self._token, self._token_read = settings.token, 0.0
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False

    async def send(self, request: Request) -> Response:
        if self._closed:
            raise ConnectionError("the transport is closed")
        head = self._head(request)
        while True:
            connection = await self._connection()
            try:
                return await self._exchange(connection, head, request)
            except ConnectionError:
                stale = connection.used > 1 and not connection.answered
                if not stale or request.method != "GET":
                    raise

    async def close(self) -> None:
        self._closed = True
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()
        self._busy.clear()
        await asyncio.sleep(0)  # lets the loop see the closed sockets

    async def _exchange(self, connection: Connection, head: bytes, request: Request) -> Response:
        self._busy.add(connection)
        try:
            status = await connection.exchange(head, request.body)
            if _has_no_end(request) and status < 400:
                return Response(status, connection.headers, stream=BodyStream(connection))
            parts = []
            while chunk := await connection.read():
                parts.append(chunk)
        except BaseException:
            self._busy.discard(connection)
            connection.abort()
            raise
        self._busy.discard(connection)
        if connection.finish() and len(self._idle) < IDLE_LIMIT and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()
        return Response(status, connection.headers, b"".join(parts))

    def _head(self, request: Request) -> bytes:
        target = self._prefix + quote(request.path, safe=_PATH_SAFE)
        if request.query:
            target += "?" + urlencode(request.query)
        headers = {**request.headers, **self._fixed}
        if token := self._current_token():
            headers["authorization"] = f"Bearer {token}"
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(request.body))
        lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1:
            raise ValueError("a header contains a line break")
        return f"{text}\r\n\r\n".encode("latin-1")

    def _current_token(self) -> str:
        """Return the token as the file has it, looked at once a minute; while it cannot be read, the one before."""
        now = asyncio.get_running_loop().time()
        if self._settings.token_file and now - self._token_read >= TOKEN_SECONDS:
            self._token_read = now
            with suppress(OSError, UnicodeDecodeError):
                self._token = Path(self._settings.token_file).read_text(encoding="ascii").strip() or self._token
        return self._token

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        self._busy = {connection for connection in self._busy if connection.alive}
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._connect()
        except TimeoutError:
            raise ConnectionError(f"{self._settings.server} did not answer within {CONNECT_SECONDS:g} s") from None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        if self._unix:
            _, connection = await loop.create_unix_connection(Connection, sock=connected(Path(self._unix)))
            return connection
        name = (self._settings.tls_server_name or self._host) if self._tls else None
        _, connection = await loop.create_connection(
            Connection, self._host, self._port, ssl=self._tls, server_hostname=name
        )
        return connection


def _has_no_end(request: Request) -> bool:
    return any(name in ("watch", "follow") and value in ("true", "1") for name, value in request.query)
