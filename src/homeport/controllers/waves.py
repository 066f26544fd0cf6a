"""Slow start: many equal requests in waves of 1, 2, 4, …, so that a server that refuses is asked only a few times.

Source: `workloads` 4.1 and 8.2.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

__all__ = ["in_waves"]

WAVE_LIMIT: Final = 500

T = TypeVar("T")


async def in_waves(
    items: Sequence[T], perform: Callable[[T], Awaitable[None]], failures: tuple[type[Exception], ...]
) -> Sequence[Exception]:
    """Perform each item, the items of a wave at once; return the `failures` of the wave that had any, the last one.

    Anything else that is raised ends everything.
    """
    start, size = 0, 1
    while start < len(items):
        wave = items[start : start + size]
        results = await asyncio.gather(*(perform(item) for item in wave), return_exceptions=True)
        raised = [result for result in results if isinstance(result, BaseException)]
        for error in raised:
            if not isinstance(error, failures):
                raise error
        if raised:
            return [error for error in raised if isinstance(error, Exception)]
        start, size = start + size, min(size * 2, WAVE_LIMIT)
    return ()
