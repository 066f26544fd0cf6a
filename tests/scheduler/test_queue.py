"""The order of decisions, and how long a pod without place rests."""

import asyncio

import pytest

from homeport.scheduler.queue import PodQueue

pytestmark = pytest.mark.virtual


async def test_the_most_important_pod_comes_first_then_the_oldest() -> None:
    queue = PodQueue()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(("ns", name), priority)
    queue.add(("ns", "a"), 0)
    assert [(await queue.get())[1] for _ in range(4)] == ["b", "d", "a", "c"]


async def test_a_resting_pod_waits_out_its_back_off_which_doubles() -> None:
    queue, loop = PodQueue(), asyncio.get_running_loop()
    for expected in (0.0, 0.1, 0.2, 0.4):
        started = loop.time()
        queue.rest(("ns", "a"), 0)
        queue.wake_all()
        await queue.get()
        assert loop.time() - started == pytest.approx(expected)


async def test_without_an_event_it_is_tried_after_five_minutes() -> None:
    queue, loop = PodQueue(), asyncio.get_running_loop()
    queue.rest(("ns", "a"), 0)
    await queue.get()
    assert loop.time() == pytest.approx(300.0)


async def test_a_forgotten_pod_does_not_come_back() -> None:
    queue = PodQueue()
    queue.add(("ns", "a"), 0)
    queue.add(("ns", "b"), 0)
    queue.forget(("ns", "a"))
    assert (await queue.get())[1] == "b"
    assert len(queue) == 0
