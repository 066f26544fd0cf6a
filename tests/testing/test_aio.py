"""Awaited calls: many at once, given up, failing."""

import asyncio
import threading

import pytest

from homeport.testing.cluster import SimulatedCluster
from homeport.testing.facade import WaitedTooLong


def test_any_number_of_calls_waits_together(cluster: SimulatedCluster) -> None:
    async def test() -> None:
        names = [f"one-{number}" for number in range(40)]
        waiting = [asyncio.create_task(cluster.aio.wait(f"configmap/{name}", until=bool)) for name in names]
        await asyncio.sleep(0)
        await cluster.aio.apply(
            [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in names]
        )
        found = await asyncio.gather(*waiting)
        assert [one["metadata"]["name"] for one in found] == names

    asyncio.run(test())
    assert cluster.now < 600


def test_a_call_that_fails_fails_where_it_is_awaited(cluster: SimulatedCluster) -> None:
    async def test() -> None:
        with pytest.raises(WaitedTooLong, match="does not exist"):
            await cluster.aio.wait("pod/nobody", timeout=5)
        with pytest.raises(ValueError, match="write kind/name"):
            await cluster.aio.get("nobody")

    asyncio.run(test())


def test_a_call_given_up_ends_and_time_stands_again(db: SimulatedCluster) -> None:
    async def test() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await db.aio.advance(hours=10**7)
        stopped = db.now
        await asyncio.sleep(0.1)
        assert db.now == stopped
        return stopped

    assert 0 < asyncio.run(test()) < 3600.0 * 10**7


def test_plain_calls_work_on_a_loop(db: SimulatedCluster) -> None:
    async def test() -> None:
        db.pods["db-1"].crash()
        db.advance(minutes=1)
        assert db.pods["db-1"].restarts == 1
        with db.fork() as other:
            other.scale("sts/db", 1)
            other.settle()
            assert len(other.pods) == 1
        assert len(db.pods) == 3

    asyncio.run(test())
    assert db.pods["db-1"].ready


def test_a_plain_call_need_not_wait_for_the_loop_it_blocks(db: SimulatedCluster) -> None:
    async def test() -> None:
        waiting = asyncio.create_task(db.aio.advance(minutes=2))
        await asyncio.sleep(0)
        db.advance(minutes=1)
        await waiting

    asyncio.run(test())
    assert db.now >= 120


def test_time_does_not_wait_for_what_never_asks_the_cluster(db: SimulatedCluster) -> None:
    passed = threading.Event()

    async def test() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            waiting = group.create_task(db.aio.do(passed.wait, 60))
            await db.aio.advance(minutes=1)
            passed.set()
            assert await waiting

    asyncio.run(test())
