"""Read-your-writes: a key is not decided on while the caches still show the world before our last write for it.

Without this a fast controller would create the same pod twice, or delete one more than it should, because its cache
tells the state from before its own last request. Source: `workloads` 19, rule 6.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from homeport.client.contract import Object
from homeport.client.informer import Informer
from homeport.client.queue import WorkQueue

__all__ = ["OwnWrites"]

K = TypeVar("K", bound=Hashable)

LAST_RESORT_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Pending:
    """What one cache must still show for one key: a version, and the end of some objects."""

    version: str = ""
    going: dict[tuple[str, str], str] = field(default_factory=dict)

    def shown_by(self, cache: Informer) -> bool:
        if self.version:
            if not cache.seen(self.version):
                return False
            self.version = ""
        for (namespace, name), uid in list(self.going.items()):
            shown = cache.get(namespace, name)
            if shown is not None and shown["metadata"]["uid"] == uid and "deletionTimestamp" not in shown["metadata"]:
                return False
            del self.going[namespace, name]
        return True


class OwnWrites(Generic[K]):
    """Which keys have writes of ours that some cache does not show yet.

    A key that asked in vain (`behind` was true) is queued again once all caches show its writes; also after
    `LAST_RESORT_SECONDS` in vain, for a write that came and went while a cache had to start over. A key whose writes
    are shown in time is not woken by that: upstream has no such look, and what waits there waits here.
    """

    def __init__(self, queue: WorkQueue[K]) -> None:
        self._queue = queue
        self._pending: dict[Informer, dict[K, _Pending]] = {}
        self._waiting: dict[K, asyncio.TimerHandle] = {}

    def watch(self, cache: Informer) -> None:
        """Follow one cache; once per cache, before anything is noted for it."""
        pending: dict[K, _Pending] = {}
        self._pending[cache] = pending

        def settle(_: Object) -> None:
            if not self._waiting:
                return
            for key in [key for key in self._waiting if key in pending]:
                if not self._late(key):
                    self._wait_no_more(key)
                    self._queue.add(key)

        cache.on_change(settle)

    def wrote(self, key: K, cache: Informer, written: Object) -> None:
        """Remember what a create, update or patch for `key` returned."""
        self._of(key, cache).version = written["metadata"]["resourceVersion"]

    def deleted(self, key: K, cache: Informer, gone: Object) -> None:
        """Remember that the end of an object was asked for; the cache must show it terminating, or gone."""
        metadata = gone["metadata"]
        self._of(key, cache).going[metadata.get("namespace", ""), metadata["name"]] = metadata["uid"]

    def behind(self, key: K) -> bool:
        """Whether some cache does not show all our writes for `key` yet; then `key` is queued again when all do."""
        if self._late(key):
            if key not in self._waiting:
                loop = asyncio.get_running_loop()
                self._waiting[key] = loop.call_later(LAST_RESORT_SECONDS, self._last_resort, key)
            return True
        self._wait_no_more(key)
        return False

    def forget(self, key: K) -> None:
        """The key is gone: nothing more is expected of it."""
        self._wait_no_more(key)
        for pending in self._pending.values():
            pending.pop(key, None)

    def _last_resort(self, key: K) -> None:
        del self._waiting[key]
        self._queue.add(key)

    def _wait_no_more(self, key: K) -> None:
        timer = self._waiting.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _late(self, key: K) -> bool:
        late = False
        for cache, pending in self._pending.items():
            wanted = pending.get(key)
            if wanted is None:
                continue
            if wanted.shown_by(cache):
                del pending[key]
            else:
                late = True
        return late

    def _of(self, key: K, cache: Informer) -> _Pending:
        return self._pending[cache].setdefault(key, _Pending())
