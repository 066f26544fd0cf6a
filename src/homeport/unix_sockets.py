"""Unix sockets at paths of any length. The kernel's address holds 107 bytes; a data directory may lie deeper.

Standard library only: the namespace keeper uses it too.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["bound", "connected", "short"]


@contextmanager
def short(path: Path) -> Iterator[str]:
    """Give a name for `path` that fits a socket address, by way of its directory's descriptor."""
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{parent}/{path.name}"
    finally:
        os.close(parent)


def bound(path: Path, kind: int = socket.SOCK_STREAM, *, mode: int = 0o600) -> socket.socket:
    """Return a socket bound to `path`, in place of one a dead process left there. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        with short(path) as name:
            sock.bind(name)
        path.chmod(mode)
    except BaseException:
        sock.close()
        raise
    return sock


def connected(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket connected to `path`. Connecting to a listener of this machine does not block. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        with short(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock
