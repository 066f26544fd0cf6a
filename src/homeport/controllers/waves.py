"""Many equal requests: all at once, or with a slow start in waves of 1, 2, 4, …, so that a server that refuses is asked
only a few times.

Source: `workloads` 4.1 and 8.2.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

__all__ = ["all_at_once", "in_waves"]

WAVE_LIMIT: Final = 500

T = TypeVar("T")


async def all_at_once(
    items: Iterable[T], perform: Callable[[T], Awaitable[None]], failures: tuple[type[Exception], ...]
) -> Sequence[Exception]:
    """Perform every item; return the `failures` met. Anything else that is raised ends everything."""
    results = await asyncio.gather(*map(perform, items), return_exceptions=True)
    raised = [result for result in results if isinstance(result, BaseException)]
    for error in raised:
        if not isinstance(error, failures):
            raise error
    return [error for error in raised if isinstance(error, Exception)]


async def in_waves(
    items: Sequence[T], perform: Callable[[T], Awaitable[None]], failures: tuple[type[Exception], ...]
) -> Sequence[Exception]:
    """Perform each item, the items of a wave at once; return the `failures` of the wave that had any, the last one.

    Anything else that is raised ends everything.
    """
    start, size = 0, 1
    while start < len(items):
        failed = await all_at_once(items[start : start + size], perform, failures)
        if failed:
            return failed
        start, size = start + size, min(size * 2, WAVE_LIMIT)
    return ()
