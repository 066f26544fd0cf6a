"""How to reach a server and as whom: one frozen value, made from a kubeconfig or by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ConnectionSettings", "unix_settings"]


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Where a server is and what to show it.

    server           `https://host:port`, `http://host:port`, or `unix:///path`; a path prefix is kept.
    ca_pem           certificates to trust; empty trusts the system's.
    cert_pem, key_pem  a client certificate, or both empty.
    token            a bearer token, or empty.
    token_file       the file it was read from, or empty: looked at once a minute, as tokens of accounts are renewed.
    tls_server_name  the name to verify instead of the host in `server`.
    insecure         do not verify the server at all.
    namespace        the default namespace of whoever uses these settings.
    headers          sent with every request, such as `x-remote-user` on a trusted local socket.
    """

    server: str
    ca_pem: bytes = b""
    cert_pem: bytes = field(default=b"", repr=False)
    key_pem: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)
    token_file: str = ""
    tls_server_name: str = ""
    insecure: bool = False
    namespace: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict)


def unix_settings(path: str, headers: Mapping[str, str] | None = None) -> ConnectionSettings:
    """Return settings for plain HTTP over a unix socket at an absolute path."""
    return ConnectionSettings(f"unix://{path}", headers=headers or {})
