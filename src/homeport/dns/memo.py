"""Replies kept in wire form, keyed by the octets of the query behind its id.

A reply is made once, when it is first asked for, and dropped the moment the zone changes under it: there is no
lifetime and no timer. Reading is one dictionary look-up and safe from another thread; writing belongs to the task
that owns the index.

Replies that speak of absence carry the zone's serial, so every change ends them all. They stand in a table of their
own, small enough to be thrown away whole; a change costs what was said of the labels it touched and no more.
"""

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Final

from homeport.dns.objects import Part, ServiceKey
from homeport.dns.reply import Reply

__all__ = ["Memo"]

MAX_KEPT: Final = 200_000
MAX_ABSENT: Final = 4096
MAX_QUERY_LENGTH: Final = 300


class Memo:
    """`table[query[2:]]()`, else `absent[query[2:]]()`, is a reply without its id, in the next order of addresses.

    `table` is one object for ever; `absent` is replaced, so readers look it up anew each time.
    Once `closed`, nothing is taken in.
    """

    def __init__(self) -> None:
        self.table: dict[bytes, Callable[[], bytes]] = {}
        self.absent: dict[bytes, Callable[[], bytes]] = {}
        self.closed = False
        self._by_service: dict[ServiceKey, dict[str, set[bytes]]] = {}

    def find(self, query: bytes) -> Callable[[], bytes] | None:
        """Return what gives the reply to a query, without its id, or None when it is not kept."""
        return self.table.get(query[2:]) or self.absent.get(query[2:])

    def keep(self, query: bytes, reply: Reply) -> None:
        """Remember a reply that depends on the index alone."""
        if self.closed or not reply.local or len(query) > MAX_QUERY_LENGTH:
            return
        key = query[2:]
        made = cycle([order[2:] for order in reply.orders]).__next__
        if reply.absent:
            if len(self.absent) >= MAX_ABSENT:
                self.absent = {}
            self.absent[key] = made
            return
        if len(self.table) >= MAX_KEPT:
            self.clear()
        self.table[key] = made
        for namespace, service, label in reply.names:
            self._by_service.setdefault((namespace, service), {}).setdefault(label, set()).add(key)

    def drop(self, parts: Iterable[Part]) -> None:
        """Forget what was made from these, and everything that speaks of absence or the serial."""
        for namespace, service, *labels in parts:
            if labels:
                gone = [self._by_service.get((namespace, service), {}).pop(labels[0], set())]
            else:
                gone = list(self._by_service.pop((namespace, service), {}).values())
            for keys in gone:
                for key in keys:
                    self.table.pop(key, None)
        if self.absent:
            self.absent = {}

    def clear(self) -> None:
        self.table.clear()
        self._by_service.clear()
        self.absent = {}
