import asyncio
from collections.abc import Sequence

import pytest

from homeport.node.network.gathering import Gathering

pytestmark = pytest.mark.virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_comes_while_work_is_under_way_is_done_together() -> None:
    turns: list[tuple[float, Sequence[str]]] = []
    began = now()

    async def work(items: Sequence[str]) -> None:
        turns.append((now() - began, list(items)))
        await asyncio.sleep(1)

    gathering = Gathering(work)
    async with asyncio.TaskGroup() as group:
        group.create_task(gathering.add("a"))
        await asyncio.sleep(0.5)
        for item in "bcd":
            group.create_task(gathering.add(item))
        await asyncio.sleep(1)
        group.create_task(gathering.add("e"))
    assert turns == [(0.0, ["a"]), (1.0, ["b", "c", "d"]), (2.0, ["e"])]
    await gathering.add("f")
    assert turns[3:] == [(3.0, ["f"])]


async def test_a_failure_is_that_of_one_turn() -> None:
    async def work(items: Sequence[str]) -> None:
        await asyncio.sleep(1)
        if "bad" in items:
            raise OSError("no")

    gathering = Gathering(work)
    calls = [asyncio.create_task(gathering.add(item)) for item in ("a", "bad", "c")]
    assert await asyncio.gather(*calls, return_exceptions=True) != [None, None, None]
    await gathering.add("d")


async def test_whoever_gives_up_leaves_the_work_to_the_others() -> None:
    done: list[str] = []

    async def work(items: Sequence[str]) -> None:
        await asyncio.sleep(1)
        done.extend(items)

    gathering = Gathering(work)
    first, second = (asyncio.create_task(gathering.add(item)) for item in "ab")
    await asyncio.sleep(0.1)
    first.cancel()
    await second
    assert done == ["a", "b"]
