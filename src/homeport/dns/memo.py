"""Replies kept in wire form, keyed by the octets of the query behind its id.

A reply is made once, when it is first asked for, and dropped the moment the zone changes under it: there is no
lifetime and no timer. Reading is one dictionary look-up and safe from another thread; writing belongs to the task
that owns the index.
"""

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Final

from homeport.dns.objects import ServiceKey
from homeport.dns.reply import Reply

__all__ = ["Memo"]

MAX_KEPT: Final = 200_000
MAX_QUERY_LENGTH: Final = 300


class Memo:
    """`table[query[2:]]()` is a reply without its id; each call gives the next order of addresses."""

    def __init__(self) -> None:
        self.table: dict[bytes, Callable[[], bytes]] = {}
        self._by_name: dict[ServiceKey, set[bytes]] = {}
        self._absent: set[bytes] = set()

    def keep(self, query: bytes, reply: Reply) -> None:
        """Remember a reply that depends on the index alone."""
        if not reply.local or len(query) > MAX_QUERY_LENGTH:
            return
        if len(self.table) >= MAX_KEPT:
            self.clear()
        key = query[2:]
        self.table[key] = cycle([order[2:] for order in reply.orders]).__next__
        if reply.absent:
            self._absent.add(key)
        for name in reply.names:
            self._by_name.setdefault(name, set()).add(key)

    def drop(self, names: Iterable[ServiceKey]) -> None:
        """Forget what was made from these Services, and everything that speaks of absence or the serial."""
        for name in names:
            for key in self._by_name.pop(name, ()):
                self.table.pop(key, None)
        for key in self._absent:
            self.table.pop(key, None)
        self._absent.clear()

    def clear(self) -> None:
        self.table.clear()
        self._by_name.clear()
        self._absent.clear()
