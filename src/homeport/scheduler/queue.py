"""Pods waiting for a decision: the most important first, then the one that waits longest.

A pod that could not be placed rests until something that may matter changes (`wake_all`), at least for its back-off and
at most for five minutes. Source: node 16.1 of the specification.
"""

import asyncio
import heapq
from typing import Final

from homeport.client.informer import Key

__all__ = ["PodQueue"]

BACKOFF_FIRST_SECONDS: Final = 0.1
"""From the second failure on. Upstream waits 1 s from the first; a placement that has just become possible need not."""

BACKOFF_LIMIT_SECONDS: Final = 10.0
REST_LIMIT_SECONDS: Final = 300.0


class PodQueue:
    """Keys of pods by priority. Time is the running loop's."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._order: dict[Key, tuple[int, int]] = {}  # what of the heap is still meant
        self._count = 0
        self._failures: dict[Key, int] = {}
        self._resting: dict[Key, tuple[int, float]] = {}  # priority, and the loop time its back-off ends
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, key: Key, priority: int) -> None:
        """Ask for a decision now."""
        self._stop_resting(key)
        if key in self._order:
            return
        self._count += 1
        self._order[key] = (-priority, self._count)
        heapq.heappush(self._heap, (-priority, self._count, key))
        self._changed.set()

    def forget(self, key: Key) -> None:
        """The pod needs no decision any more."""
        self._order.pop(key, None)
        self._failures.pop(key, None)
        self._stop_resting(key)

    def rest(self, key: Key, priority: int) -> None:
        """The pod has no place: keep it until something changes."""
        self._rest(key, priority)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(REST_LIMIT_SECONDS, self.add, key, priority)

    def retry(self, key: Key, priority: int) -> None:
        """A write failed: decide again once the back-off is over."""
        ready = self._rest(key, priority)
        self._timers[key] = asyncio.get_running_loop().call_at(ready, self.add, key, priority)

    def _rest(self, key: Key, priority: int) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(BACKOFF_FIRST_SECONDS * 2.0 ** min(failures - 1, 30), BACKOFF_LIMIT_SECONDS) if failures else 0.0
        ready = asyncio.get_running_loop().time() + backoff
        self._stop_resting(key)
        self._resting[key] = (priority, ready)
        return ready

    def wake_all(self) -> None:
        """Something changed that may give a resting pod a place: try each again, once its back-off is over."""
        loop = asyncio.get_running_loop()
        for key, (priority, ready) in list(self._resting.items()):
            if ready <= loop.time():
                self.add(key, priority)
            else:
                self._timers[key].cancel()
                self._timers[key] = loop.call_at(ready, self.add, key, priority)

    async def get(self) -> Key:
        """Return the next pod to decide about; it leaves the queue."""
        while True:
            while self._heap:
                priority, count, key = heapq.heappop(self._heap)
                if self._order.get(key) == (priority, count):
                    del self._order[key]
                    return key
            self._changed.clear()
            await self._changed.wait()

    def _stop_resting(self, key: Key) -> None:
        self._resting.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
