"""A key waits until the caches show what was written for it, and no longer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from homeport.client.queue import WorkQueue
from homeport.controllers.decoded import Decoded
from homeport.controllers.own_writes import LAST_RESORT_SECONDS, OwnWrites
from homeport.testing.loop import VirtualClock

pytestmark = pytest.mark.virtual


class Cache:
    """A cache the test fills by hand."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, Any] = {}
        self.changed: list[Callable[[Any], None]] = []
        self.deleted: list[Callable[[Any], None]] = []

    def on_change(self, changed: Callable[[Any], None]) -> None:
        self.changed.append(changed)

    def add_handler(self, *, delete: Callable[[Any], None]) -> None:
        self.deleted.append(delete)

    def seen(self, version: str) -> bool:
        return self.version >= int(version)

    def get(self, namespace: str, name: str) -> Any:
        return self.objects.get(name)

    def show(self, obj: Any) -> None:
        self.version = int(obj["metadata"]["resourceVersion"])
        self.objects[obj["metadata"]["name"]] = obj
        for changed in self.changed:
            changed(obj)


def thing(name: str, version: int, **metadata: Any) -> Any:
    return {"metadata": {"name": name, "namespace": "d", "uid": name, "resourceVersion": str(version), **metadata}}


def setup() -> tuple[WorkQueue[str], OwnWrites[str], Cache, Cache]:
    queue: WorkQueue[str] = WorkQueue()
    writes: OwnWrites[str] = OwnWrites(queue)
    one, two = Cache(), Cache()
    writes.watch(one)  # type: ignore[arg-type]
    writes.watch(two)  # type: ignore[arg-type]
    return queue, writes, one, two


async def test_a_key_is_queued_again_once_every_cache_shows_its_writes():
    queue, writes, one, two = setup()
    writes.wrote("key", one, thing("a", 5))
    writes.wrote("key", two, thing("b", 6))
    assert writes.behind("key")
    assert not writes.behind("other")
    one.show(thing("a", 5))
    assert len(queue) == 0
    two.show(thing("c", 7))
    assert await queue.get() == "key"
    assert not writes.behind("key")


async def test_nobody_is_woken_who_did_not_ask():
    queue, writes, one, _ = setup()
    writes.wrote("key", one, thing("a", 5))
    one.show(thing("a", 5))
    assert len(queue) == 0
    assert not writes.behind("key")


async def test_an_end_asked_for_must_show_as_terminating_or_gone():
    _, writes, one, _ = setup()
    one.show(thing("a", 2))
    writes.deleted("key", one, thing("a", 2))
    assert writes.behind("key")
    one.show(thing("a", 3, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert not writes.behind("key")
    writes.deleted("key", one, thing("a", 3))
    one.show(thing("a", 4, uid="its successor"))
    assert not writes.behind("key")


async def test_a_write_no_cache_will_ever_show_is_not_waited_for_for_ever():
    queue, writes, one, _ = setup()
    writes.wrote("key", one, thing("a", 5))
    assert writes.behind("key")
    clock = VirtualClock()
    before = clock.now()
    assert await queue.get() == "key"
    assert clock.now() - before == LAST_RESORT_SECONDS


async def test_a_key_that_has_caught_up_is_not_looked_at_once_more():
    queue, writes, one, _ = setup()
    writes.wrote("key", one, thing("a", 5))
    assert writes.behind("key")
    one.show(thing("a", 5))
    assert await queue.get() == "key"
    assert not writes.behind("key")
    queue.done("key")
    await asyncio.sleep(2 * LAST_RESORT_SECONDS)
    assert len(queue) == 0


async def test_what_is_gone_is_forgotten():
    _, writes, one, _ = setup()
    writes.wrote("key", one, thing("a", 5))
    writes.forget("key")
    assert not writes.behind("key")


async def test_each_version_is_decoded_once():
    cache, calls = Cache(), []

    def decode(obj: Any, number: int) -> int:
        calls.append(obj["metadata"]["resourceVersion"])
        return int(obj["metadata"]["resourceVersion"]) * number

    decoded = Decoded(cache, decode)  # type: ignore[arg-type]
    assert [decoded.of(thing("a", 1), 2), decoded.of(thing("a", 1), 2), decoded.of(thing("a", 1), 3)] == [2, 2, 3]
    assert decoded.of(thing("a", 2), 3) == 6
    assert calls == ["1", "1", "2"]
    cache.deleted[0](thing("a", 2))
    decoded.of(thing("a", 2), 3)
    assert calls[-1] == "2"
    assert len(calls) == 4
