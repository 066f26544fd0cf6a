"""Follows the store and keeps every resource's cache; writers wait here until their own write is visible."""

import asyncio
import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from homeport.server.cache import Change, ResourceCache
from homeport.server.objects import Codec, Stored, Tree
from homeport.store.contract import Entry, Event, Revision, Store, TooSlow

__all__ = ["Hub"]

ROOT: Final = "/registry/"
RECALLED: Final = 900  # revisions; below what a store lets wait undelivered


def _stored(entry: Entry | None) -> Stored | None:
    return None if entry is None else Stored(entry.key, entry.value, entry.revision)


def _taken_over(known: Stored | None, entry: Entry) -> Stored:
    if known is not None and known.value is entry.value and known.revision == entry.revision:
        return known
    return Stored(entry.key, entry.value, entry.revision)


class Hub:
    """One watch on the whole registry, fanned out to one cache per stored resource.

    After `reached(r)` returned, every cache holds all changes up to r: that is how a read after an acknowledged
    write sees it (api-machinery 22.5).
    """

    def __init__(self, store: Store, codecs: Sequence[Codec]) -> None:
        self._store = store
        self._by_prefix = {codec.prefix: ResourceCache(codec) for codec in codecs if codec.native}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._known: dict[int, tuple[bytes, Tree]] = {}  # by identity: what the bytes being written were made from
        self._failure: BaseException | None = None
        self.revision = 0

    def cache(self, codec: Codec) -> ResourceCache:
        return self._by_prefix[codec.prefix]

    @property
    def caches(self) -> Sequence[ResourceCache]:
        return tuple(self._by_prefix.values())

    def states(self) -> dict[str, Stored]:
        """Return what the caches hold by key: values, which another hub on the same entries may take over."""
        return {key: stored for cache in self.caches for key, stored in cache.entries.items()}

    async def load(self, known: Mapping[str, Stored]) -> None:
        """Fill the caches from the store; of entries that are `known`, what is decoded need not be again."""
        listing = await self._store.list(ROOT)
        by_cache: dict[str, list[Stored]] = {prefix: [] for prefix in self._by_prefix}
        for entry in listing.entries:
            cache = self._route(entry.key)
            if cache is not None:
                by_cache[cache.codec.prefix].append(_taken_over(known.get(entry.key), entry))
        now = asyncio.get_running_loop().time()
        for prefix, found in by_cache.items():
            self._by_prefix[prefix].load(found, listing.revision, now)
        self.revision = listing.revision
        await self._recall()

    async def _recall(self) -> None:
        """Fill the windows with what the store still knows, so that watches of before a restart resume."""
        floor = max(self._store.oldest, self.revision - RECALLED)
        if floor >= self.revision:
            return
        recalled: dict[str, list[Change]] = {prefix: [] for prefix in self._by_prefix}
        now = asyncio.get_running_loop().time()
        async with self._store.watch(ROOT, after=Revision(floor)) as batches:
            async for batch in batches:
                for event in batch:
                    cache = self._route(event.key)
                    if cache is not None and event.revision <= self.revision:
                        old, new = (_stored(entry) for entry in (event.previous, event.entry))
                        recalled[cache.codec.prefix].append(
                            Change(event.key, event.revision, old, new, now, recalled=True)
                        )
                if batch and batch[-1].revision >= self.revision:
                    break
        for prefix, changes in recalled.items():
            self._by_prefix[prefix].recall(iter(changes), floor)

    async def run(self) -> None:
        """Follow the store until cancelled. A watch that fell behind resumes after the last change seen."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._store.watch(ROOT, after=Revision(self.revision)) as batches:
                    async for batch in batches:
                        self._take(batch, loop.time())
                return
            except TooSlow:
                continue

    def fail(self, failure: BaseException) -> None:
        """Nothing follows the store any more: whoever waits, now or later, is told."""
        self._failure = failure
        for _, _, future in self._waiters:
            if not future.done():
                future.set_exception(failure)
        self._waiters.clear()

    @contextmanager
    def knowing(self, value: bytes, tree: Tree) -> Iterator[None]:
        """Spare decoding what is written inside the block: `value` was made from `tree`, which is given away."""
        self._known[id(value)] = value, tree
        try:
            yield
        finally:
            self._known.pop(id(value), None)

    def _made(self, entry: Entry) -> Stored:
        stored = Stored(entry.key, entry.value, entry.revision)
        known = self._known.pop(id(entry.value), None)
        if known is not None:
            stored.told(known[1])
        return stored

    def _take(self, batch: Sequence[Event], now: float) -> None:
        for event in batch:
            cache = self._route(event.key)
            if cache is not None:
                cache.apply(event.key, event.revision, None if event.entry is None else self._made(event.entry), now)
            self.revision = event.revision
        waiters = self._waiters
        while waiters and waiters[0][0] <= self.revision:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)

    def _route(self, key: str) -> ResourceCache | None:
        # "/registry/pods/ns/name" or "/registry/apps/statefulsets/ns/name": the group has a dot or is known
        first = key.find("/", len(ROOT))
        found = self._by_prefix.get(key[: first + 1])
        if found is None:
            second = key.find("/", first + 1)
            found = self._by_prefix.get(key[: second + 1])
        return found

    async def reached(self, revision: int) -> None:
        """Return once every change up to `revision` is in the caches."""
        if revision > self.revision:
            await self._wait_for(revision)

    async def at_least(self, revision: int, seconds: float) -> bool:
        """Wait up to `seconds` for a revision the caller has not written; tell whether it came."""
        if revision <= self.revision:
            return True
        future = self._wait_for(revision)
        done, _ = await asyncio.wait([future], timeout=seconds)
        if done:
            future.result()
            return True
        future.cancel()
        return False

    def _wait_for(self, revision: int) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            future.set_exception(self._failure)
            return future
        heapq.heappush(self._waiters, (revision, next(self._order), future))
        return future
