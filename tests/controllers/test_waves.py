"""Slow start: waves grow, and a wave that fails is the last."""

import asyncio

import pytest

from homeport.controllers.waves import in_waves
from homeport.errors import Forbidden


@pytest.mark.parametrize(("number", "waves"), [(0, []), (1, [1]), (3, [1, 2]), (10, [1, 2, 4, 3])])
async def test_waves_double(number, waves):
    running, sizes = 0, []

    async def perform(_: int) -> None:
        nonlocal running
        running += 1
        await asyncio.sleep(0)
        sizes.append(running)
        await asyncio.sleep(0)
        running = 0

    assert await in_waves(range(number), perform, (Forbidden,)) == ()
    assert [size for n, size in enumerate(sizes) if n in _starts(waves)] == waves


def _starts(waves: list[int]) -> set[int]:
    return {sum(waves[:n]) for n in range(len(waves))}


async def test_a_server_that_refuses_is_asked_only_a_few_times():
    asked = []

    async def perform(number: int) -> None:
        asked.append(number)
        if number >= 1:
            raise Forbidden("exceeded quota")

    failed = await in_waves(range(100), perform, (Forbidden,))
    assert asked == [0, 1, 2]
    assert [str(error) for error in failed] == ["exceeded quota", "exceeded quota"]


async def test_a_bug_is_raised():
    async def perform(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_waves([1], perform, (Forbidden,))
