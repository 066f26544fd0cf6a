"""How often Python looks for cycles of garbage, and what the process keeps of freed memory.

A server holds many objects that live long. Every full search walks all of them, and Python starts one whenever a
quarter as many have survived; the searches among young objects come every few hundred. Both are rarer here: what cycles
there are wait a little longer, and no work is spent on finding again and again that nearly everything is in use.
"""

import ctypes
import gc
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["THRESHOLDS", "collect_rarely", "give_back", "settle_heap"]

THRESHOLDS: Final = (50_000, 20, 100)
"""Allocations before a search of the young, young searches before one of the middle-aged, and of those before all."""


class _Wishes:
    """How many parts of the process want it so, and what was set before the first of them came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._before: tuple[int, int, int] | None = None

    def add(self) -> None:
        with self._lock:
            self._count += 1
            before = gc.get_threshold()
            if self._count == 1 and 0 < before[0] < THRESHOLDS[0]:  # else somebody has chosen already
                self._before = before
                gc.set_threshold(*THRESHOLDS)

    def drop(self) -> None:
        with self._lock:
            self._count -= 1
            if not self._count and self._before is not None:
                gc.set_threshold(*self._before)
                self._before = None


_wishes: Final = _Wishes()


def collect_rarely() -> Callable[[], None]:
    """Look for garbage less often from now on; returns a function that ends it, once, for whoever asked here.

    Nothing changes where somebody has set larger thresholds, or none.
    """
    wanted = [True]
    _wishes.add()

    def end() -> None:
        if wanted:
            wanted.clear()
            _wishes.drop()

    return end


def settle_heap() -> None:
    """Spare the search what is there by now: it stays, and walking much of it would hold everything up.

    Concerns the whole process, so it is for a process to call, once what it holds is loaded. It is not searched first
    either: that takes a third of a second among 50,000 endpoints, and what cycles a start leaves are few.
    """
    gc.freeze()
    give_back()


def give_back() -> None:
    """Give the system what was freed and is not in use: the C library keeps most of it, however much it was.

    Takes milliseconds, so it is for who has just let go of a lot. Nothing happens where the C library cannot do it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
