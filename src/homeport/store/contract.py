"""What every store promises, whatever it keeps its log in.

One suite of contract tests runs against all sides. Source of the guarantees: etcd API guarantees (KV and Watch).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NewType, Protocol

__all__ = [
    "Compacted",
    "Delete",
    "Entry",
    "Event",
    "Listing",
    "Mismatch",
    "Operation",
    "OutOfSpace",
    "Put",
    "Revision",
    "Store",
    "StoreError",
    "TooSlow",
    "Unusable",
]

Revision = NewType("Revision", int)
"""Store-wide, strictly increasing, never reused; 0 is "before all"."""


class StoreError(Exception):
    """Root of what a store raises on purpose."""


class Mismatch(StoreError):
    """The key is not at the revision the caller expected: read again, decide again."""

    def __init__(self, key: str, current: "Entry | None") -> None:
        super().__init__(f"{key} is at revision {current.revision if current else 0}")
        self.key, self.current = key, current


class Compacted(StoreError):
    """That revision is no longer kept: list again, then watch. `oldest` is the first one that is."""

    def __init__(self, oldest: Revision) -> None:
        super().__init__(f"history starts at revision {oldest}")
        self.oldest = oldest


class TooSlow(StoreError):
    """The watcher let 1,000 events wait: resume after the last one seen."""


class OutOfSpace(StoreError):
    """There is no room for the write, and it did not happen. The store goes on; writes succeed once there is."""


class Unusable(StoreError):
    """The store cannot be opened; the message names what is in the way and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's value. `revision` is its last write, `created` the write that brought the key into being."""

    key: str
    value: bytes
    revision: Revision
    created: Revision


@dataclass(frozen=True, slots=True)
class Listing:
    """A range at one revision. `more` says that keys after the last one match too; `remaining` how many."""

    entries: Sequence[Entry]
    revision: Revision
    more: bool = False
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `entry` is None on deletion, `previous` None on creation; `revision` is the change's own."""

    key: str
    revision: Revision
    entry: Entry | None
    previous: Entry | None


@dataclass(frozen=True, slots=True)
class Put:
    """Write `value`, provided that the key is at `expect` (0: absent)."""

    key: str
    value: bytes
    expect: Revision


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the key, provided that it is at `expect`."""

    key: str
    expect: Revision


Operation = Put | Delete


class Store(Protocol):
    """Ordered keys, one global revision per write, history kept until compacted."""

    @property
    def revision(self) -> Revision:
        """The newest committed revision."""
        ...

    @property
    def oldest(self) -> Revision:
        """The oldest revision that `at` and `after` may name."""
        ...

    async def get(self, key: str, *, at: Revision | None = None) -> Entry | None:
        """Return the key's entry, now or as of a kept revision. Raises Compacted."""
        ...

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: Revision | None = None) -> Listing:
        """Return entries below `prefix` in byte order of keys, from `start` (inclusive) on. Raises Compacted."""
        ...

    async def put(self, key: str, value: bytes, *, expect: Revision) -> Entry:
        """Write one key and return once it is durable. Raises Mismatch."""
        ...

    async def delete(self, key: str, *, expect: Revision) -> Revision:
        """Remove one key; return the deletion's own revision once it is durable. Raises Mismatch."""
        ...

    async def transact(self, operations: Sequence[Operation]) -> Sequence[Revision]:
        """Do all or none; each operation gets a revision of its own, consecutive. Raises Mismatch."""
        ...

    def watch(self, prefix: str, *, after: Revision) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        """Stream every change under `prefix` made after revision `after`, oldest first, in batches.

        A batch holds the changes that became durable together. Revisions strictly increase, none is skipped.
        Raises  Compacted when `after` + 1 is older than the oldest kept revision: list again, then watch.
                TooSlow when 1,000 events wait undelivered; resume after the last one seen.
        """
        ...

    async def compact(self, before: Revision) -> None:
        """Forget history older than `before`; present values stay."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then release everything. Watches end."""
        ...
