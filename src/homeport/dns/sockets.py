"""The sockets a server answers on, opened before anything else runs, where the caller stands."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from homeport.dns.exchange import Resolver

__all__ = ["DNS_PORT", "LOOPBACK", "TLS_PORT", "Sockets", "open_sockets", "open_status", "tls_context"]

DNS_PORT: Final = 53
TLS_PORT: Final = 853
LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 128
_IP_FREEBIND: Final = 15
"""Bind before the address is there (ip(7)): the network may still be set up."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound sockets of one address; whoever serves them owns them."""

    udp: socket.socket
    tcp: socket.socket
    tls: socket.socket | None = None

    @property
    def resolver(self) -> Resolver:
        """Where others find it."""
        host, port = self.udp.getsockname()[:2]
        return Resolver(host, port)

    @property
    def tls_port(self) -> int:
        return int(self.tls.getsockname()[1]) if self.tls is not None else 0

    def close(self) -> None:
        """Close those that nobody serves after all."""
        for sock in (self.udp, self.tcp, self.tls):
            if sock is not None:
                sock.close()


def open_sockets(
    address: str, port: int, *, tls_port: int | None = None, free: bool = False, shared: bool = False
) -> Sockets:
    """Open UDP and TCP on the same port, TLS on another; 0 finds one that is free, None opens no TLS.

    free    the address need not be there yet
    shared  other processes may open the same port, and share what arrives (SO_REUSEPORT)

    Raises OSError.
    """
    for _ in range(50):
        opened: list[socket.socket] = []
        try:
            udp = _bound(opened, socket.SOCK_DGRAM, address, port, free, shared)
            tcp = _bound(opened, socket.SOCK_STREAM, address, udp.getsockname()[1], free, shared)
            tls = None if tls_port is None else _bound(opened, socket.SOCK_STREAM, address, tls_port, free, shared)
        except OSError:
            for sock in opened:
                sock.close()
            if port:
                raise
            continue
        return Sockets(udp, tcp, tls)
    raise OSError("no port is free for both UDP and TCP")


def open_status(port: int) -> socket.socket | None:
    """Open what /health, /ready and /metrics are served on, on loopback; None for port 0. Raises OSError."""
    if not port:
        return None
    opened: list[socket.socket] = []
    try:
        return _bound(opened, socket.SOCK_STREAM, LOOPBACK, port, False, False)
    except OSError:
        opened[0].close()
        raise


def _bound(
    opened: list[socket.socket], kind: socket.SocketKind, address: str, port: int, free: bool, shared: bool
) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    opened.append(sock)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if free:
        sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(BACKLOG)
    return sock


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what DNS over TLS is served with. Raises OSError. Source: RFC 7858, 3; RFC 8310, 9."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["dot"])
    context.load_cert_chain(certificate, key)
    return context
