import asyncio
from collections import Counter

import pytest

from homeport.client.queue import QueueClosed, WorkQueue
from homeport.errors import Conflict

pytestmark = pytest.mark.virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_waiting_key_is_not_added_twice() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abab":
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == ["a", "b"]


async def test_a_key_added_while_worked_on_comes_up_once_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_the_earliest_of_delayed_adds_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    assert await queue.get() == "a"
    assert now() == 10
    queue.done("a")
    await asyncio.sleep(100)
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("failures", "delay"), [(0, 0.005), (1, 0.01), (5, 0.16), (17, 655.36), (18, 1000.0), (500, 1000.0)]
)
async def test_retries_wait_longer_each_time(failures: int, delay: float) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue._failures["a"] = failures
    queue.retry("a")
    await queue.get()
    assert now() == pytest.approx(delay)
    assert queue.failures("a") == failures + 1
    queue.forget("a")
    assert queue.failures("a") == 0


async def test_many_retries_share_ten_per_second_after_a_burst_of_a_hundred() -> None:
    queue: WorkQueue[int] = WorkQueue()
    for key in range(120):
        queue.retry(key)
    arrived = []
    for _ in range(120):
        await queue.get()
        arrived.append(now())
    assert arrived[99] == pytest.approx(0.005)
    assert arrived[100] == pytest.approx(0.1)
    assert arrived[119] == pytest.approx(2.0)


async def test_process_never_gives_one_key_to_two_workers_and_retries_failures() -> None:
    queue: WorkQueue[str] = WorkQueue("test")
    busy: Counter[str] = Counter()
    done: list[tuple[str, float]] = []
    failures = {"b": 2}

    async def sync(key: str) -> None:
        busy[key] += 1
        assert busy[key] == 1
        await asyncio.sleep(1)
        busy[key] -= 1
        if failures.get(key, 0):
            failures[key] -= 1
            raise Conflict("somebody wrote in between")
        done.append((key, round(now(), 3)))
        if len(done) == 4:
            queue.close()

    async def disturb() -> None:
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(0.5)
        queue.add("a")

    await asyncio.gather(queue.process(sync, workers=2), disturb())
    assert sorted(key for key, _ in done) == ["a", "a", "b", "c"]
    assert queue.failures("b") == 0


async def test_a_bug_ends_the_workers() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")

    async def sync(key: str) -> None:
        raise ZeroDivisionError(key)

    with pytest.raises(ExceptionGroup) as caught:
        await queue.process(sync)
    assert caught.group_contains(ZeroDivisionError)


async def test_a_cancelled_getter_passes_its_turn_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_a_closed_queue_hands_out_the_rest_and_ends() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add_after("late", 5)
    queue.close()
    queue.add("b")
    assert [key async for key in queue] == ["a"]
    with pytest.raises(QueueClosed):
        await queue.get()


@pytest.mark.virtual
async def test_a_worker_ends_even_if_its_clean_up_fails() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")

    async def sync(key: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the connection is gone too")

    working = asyncio.create_task(queue.process(sync))
    await asyncio.sleep(1)
    working.cancel()
    await asyncio.wait([working], timeout=5)
    assert working.cancelled()


async def looks_at(seconds: float, rest: float, adds: int) -> list[float]:
    """Return when a key that is added every 10 ms was looked at, each look taking so long."""
    queue: WorkQueue[str] = WorkQueue()
    looks: list[float] = []
    began = now()

    async def sync(key: str) -> None:
        looks.append(round(now() - began, 3))
        await asyncio.sleep(seconds)

    async with asyncio.TaskGroup() as group:
        work = group.create_task(queue.process(sync, workers=2, rest=rest))
        for _ in range(adds):
            queue.add("a")
            await asyncio.sleep(0.01)
        await asyncio.sleep(3)
        work.cancel()
    return looks


async def test_a_key_that_is_costly_and_busy_rests_between_looks() -> None:
    assert await looks_at(0.01, 4.0, adds=10) == [0.0, 0.05, 0.1]
    assert await looks_at(0.01, 0.0, adds=3) == [0.0, 0.01, 0.02]


async def test_a_rest_is_bounded() -> None:
    assert await looks_at(1.0, 4.0, adds=2) == [0.0, 1.05]


async def test_others_do_not_wait_for_a_key_that_rests() -> None:
    queue: WorkQueue[str] = WorkQueue()
    looks: list[tuple[str, float]] = []

    async def sync(key: str) -> None:
        looks.append((key, round(now(), 3)))
        if key == "a":
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        work = group.create_task(queue.process(sync, rest=4.0))
        for key in "aba":
            queue.add(key)
            await asyncio.sleep(0.005)
        await asyncio.sleep(1)
        work.cancel()
    assert looks == [("a", 0.0), ("b", 0.01), ("a", 0.05)]
