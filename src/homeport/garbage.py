"""How often Python looks for cycles of garbage.

A server holds many objects that live long. Every full search walks all of them, and Python starts one whenever a
quarter as many have survived; the searches among young objects come every few hundred. Both are rarer here: what cycles
there are wait a little longer, and no work is spent on finding again and again that nearly everything is in use.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["collect_rarely", "collected_rarely"]

THRESHOLDS: Final = (50_000, 20, 100)
"""Allocations before a search of the young, young searches before one of the middle-aged, and of those before all."""


def collect_rarely() -> None:
    """Look for garbage less often from now on, for as long as the process lives."""
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Look for garbage less often inside the block. Nothing changes where somebody has set other thresholds."""
    before = gc.get_threshold()
    if before[0] == 0 or before[0] >= THRESHOLDS[0]:
        yield
        return
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
