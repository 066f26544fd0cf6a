"""The name servers the host itself asks, as they are now. Source: resolv.conf(5)."""

import os
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, TypeAlias

from homeport.dns.exchange import Resolver

__all__ = ["HostResolvers", "read_resolvers"]

RESOLV_CONF: Final = Path("/etc/resolv.conf")
_Signature: TypeAlias = tuple[int, int, int] | None


def read_resolvers(text: str) -> list[Resolver]:
    """Return the servers a resolv.conf names; what is no address is passed over."""
    found: list[Resolver] = []
    for match in re.finditer(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE):
        try:
            ip_address(match[1].partition("%")[0])
        except ValueError:
            continue
        found.append(Resolver(match[1]))
    return found


class HostResolvers:
    """The file, read again whenever it is another: one `stat` per question, as the C library does it.

    `without` names servers that must not be asked, such as this server itself. An unreadable file means none.
    """

    def __init__(self, path: Path = RESOLV_CONF, without: Sequence[Resolver] = ()) -> None:
        self._path, self._without = path, frozenset(without)
        self._signature: _Signature = (-1, -1, -1)
        self._found: tuple[Resolver, ...] = ()

    def current(self) -> tuple[Resolver, ...]:
        signature = self._look()
        if signature != self._signature:
            self._signature = signature
            self._found = tuple(one for one in self._read() if one not in self._without)
        return self._found

    def _look(self) -> _Signature:
        try:
            seen = os.stat(self._path)
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_ino, seen.st_size

    def _read(self) -> list[Resolver]:
        try:
            return read_resolvers(self._path.read_text("utf-8", "replace"))
        except OSError:
            return []
