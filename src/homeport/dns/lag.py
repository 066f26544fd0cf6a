"""Calls a fixed time later, in the order they came."""

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["Lag"]


class Lag:
    """Holds calls back for `seconds`; with 0 they happen at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: deque[tuple[float, Callable[[], None]]] = deque()

    def call(self, action: Callable[[], None]) -> None:
        if self._seconds <= 0:
            action()
            return
        loop = asyncio.get_running_loop()
        self._held.append((loop.time() + self._seconds, action))
        if len(self._held) == 1:
            loop.call_later(self._seconds, self._due)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        while self._held and self._held[0][0] <= loop.time():
            self._held.popleft()[1]()
        if self._held:
            loop.call_at(self._held[0][0], self._due)
