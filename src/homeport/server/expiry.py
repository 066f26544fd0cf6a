"""Events are kept for an hour after their last write, then deleted (api-machinery 23.2)."""

import asyncio
from collections import deque
from typing import Final

from homeport.clock import Clock, parse_time
from homeport.server.cache import Change, ResourceCache
from homeport.server.objects import Stored
from homeport.server.storage import Storage
from homeport.store.contract import Mismatch

__all__ = ["EVENT_SECONDS", "EventExpiry"]

EVENT_SECONDS: Final = 3600.0


class EventExpiry:
    """Deletes each event in its time. Writes come in order, so the next to go is always the first in line."""

    def __init__(self, cache: ResourceCache, storage: Storage, clock: Clock) -> None:
        self._cache, self._storage, self._clock = cache, storage, clock
        self._line: deque[tuple[float, str, int]] = deque()
        self._arrival = asyncio.Event()

    def offer(self, change: Change) -> None:
        if change.new is not None:
            self._put(self._clock.now() + EVENT_SECONDS, change.new)

    def _put(self, due: float, stored: Stored) -> None:
        self._line.append((due, stored.key, stored.revision))
        self._arrival.set()

    async def run(self) -> None:
        """Delete events as they fall due, until cancelled."""
        for due, stored in sorted(
            ((_written(stored) + EVENT_SECONDS, stored) for stored in self._cache.entries.values()),
            key=lambda pair: pair[0],
        ):
            self._put(due, stored)
        self._cache.observers.add(self)
        try:
            while True:
                if not self._line:
                    self._arrival.clear()
                    await self._arrival.wait()
                due, key, revision = self._line[0]
                await asyncio.sleep(max(due - self._clock.now(), 0.0))
                self._line.popleft()
                await self._expire(key, revision)
        finally:
            self._cache.observers.drop(self)

    async def _expire(self, key: str, revision: int) -> None:
        stored = self._cache.get(key)
        if stored is None or stored.revision != revision:
            return  # gone, or written since and in line again
        try:
            await self._storage.remove(stored)
        except Mismatch:
            return


def _written(stored: Stored) -> float:
    """Return when an event of before this start was last written, as far as it says."""
    tree = stored.tree
    series = tree.get("series") or {}
    text = series.get("lastObservedTime") or tree.get("lastTimestamp") or tree["metadata"]["creationTimestamp"]
    try:
        return parse_time(text)
    except ValueError:
        return parse_time(tree["metadata"]["creationTimestamp"])
