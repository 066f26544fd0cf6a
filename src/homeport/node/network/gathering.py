"""Work that costs nearly the same for one and for many: what is asked for while it is under way is done together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Gathering"]

T = TypeVar("T")


class Gathering(Generic[T]):
    """Calls `work` with all that has gathered, one call at a time; the first comes at once."""

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[T] = []
        self._next: asyncio.Task[None] | None = None
        self._present: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Return once the work on this item is done. Raises what `work` raised, as everybody's call of that turn."""
        self._waiting.append(item)
        if self._next is None:
            self._next = asyncio.create_task(self._turn(self._present))
        await asyncio.shield(self._next)

    async def _turn(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait((before,))
        self._present, self._next = self._next, None
        items, self._waiting = self._waiting, []
        await self._work(items)
