"""Where the server is reached: HTTPS for the world, a unix socket for this machine's trusted processes."""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from homeport.api.exchange import Handler, User
from homeport.server.protocol import HttpProtocol
from homeport.unix_sockets import bound

__all__ = ["ADMIN", "Listener", "server_names"]

ADMIN: Final = User("homeport:admin", groups=("system:masters", "system:authenticated"))
_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 512
_GRACE_SECONDS: Final = 2.0


def server_names(address: str, first_service_address: str, cluster_domain: str, host: str) -> Sequence[str]:
    """Return the names a server certificate must cover (api-machinery 22.6)."""
    names = ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += [f"kubernetes.default.svc.{cluster_domain}", first_service_address, address, host]
    return tuple(dict.fromkeys(name for name in names if name))


class Listener:
    """Listening sockets of one handler and the connections made to them."""

    def __init__(self, handler: Handler, body_limit: int) -> None:
        self._handler, self._limit = handler, body_limit
        self._connections: set[HttpProtocol] = set()
        self._servers: list[asyncio.Server] = []

    async def listen_tls(self, host: str, port: int, context: ssl.SSLContext) -> tuple[str, int]:
        """Serve HTTPS; return the address bound (port 0 picks one)."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: HttpProtocol(self._handler, _by_certificate, self._limit, self._connections),
            host,
            port,
            ssl=context,
            backlog=_BACKLOG,
            reuse_address=True,
        )
        self._servers.append(server)
        bound = server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def adopt_tls(
        self, listening: socket.socket, context: ssl.SSLContext, handshake_seconds: float | None = None
    ) -> None:
        """Serve HTTPS on a socket somebody else has bound, such as one opened inside the cluster's namespace.

        handshake_seconds  how long a client may take for its handshake, by the loop's clock; None: asyncio's minute
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: HttpProtocol(self._handler, _by_certificate, self._limit, self._connections),
            sock=listening,
            ssl=context,
            ssl_handshake_timeout=handshake_seconds,
            backlog=_BACKLOG,
        )
        self._servers.append(server)

    async def listen_unix(self, path: Path) -> None:
        """Serve plain HTTP to processes of this user; they may say on whose behalf they ask."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(
            lambda: HttpProtocol(self._handler, _by_peer, self._limit, self._connections),
            sock=bound(path),
            backlog=_BACKLOG,
        )
        self._servers.append(server)

    async def close(self) -> None:
        """Stop listening, let answers under way go out, then end what is left."""
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.finish()
        if self._connections:
            await asyncio.wait([connection.closed for connection in self._connections], timeout=_GRACE_SECONDS)
        for connection in tuple(self._connections):
            connection.transport.abort()
        self._servers.clear()


def _by_certificate(transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> User | None:
    """Return the user of a client certificate: common name, and every organisation as a group."""
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    name = next((value for key, value in subject if key == "commonName"), "")
    groups = tuple(value for key, value in subject if key == "organizationName")
    return User(name, groups=groups) if name else None


def _by_peer(transport: asyncio.BaseTransport, headers: Mapping[str, str]) -> User | None:
    """Return the user a local process names, the engine's own by default; processes of others are nobody."""
    connection = transport.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    if uid not in (0, os.geteuid()) or "authorization" in headers:
        return None
    name = headers.get("x-remote-user")
    if not name:
        return ADMIN
    groups = tuple(group.strip() for group in headers.get("x-remote-group", "").split(",") if group.strip())
    return User(name, groups=groups)
