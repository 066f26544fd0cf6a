"""Garbage is looked for less often as long as somebody wants it so, and as before afterwards."""

import gc
from collections.abc import Iterator

import pytest

from homeport.garbage import THRESHOLDS, collect_rarely, settle_heap
from homeport.testing.loop import VirtualLoop


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_until_the_last_who_wants_it_is_gone() -> None:
    gc.set_threshold(700, 10, 10)
    first, second = collect_rarely(), collect_rarely()
    assert gc.get_threshold() == THRESHOLDS
    first()
    first()
    assert gc.get_threshold() == THRESHOLDS
    second()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("chosen", [(0, 10, 10), (1_000_000, 10, 10)])
def test_who_has_chosen_keeps_the_choice(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    end = collect_rarely()
    assert gc.get_threshold() == chosen
    end()
    assert gc.get_threshold() == chosen


def test_a_virtual_loop_wants_it() -> None:
    gc.set_threshold(700, 10, 10)
    loop = VirtualLoop()
    assert gc.get_threshold() == THRESHOLDS
    loop.close()
    assert gc.get_threshold() == (700, 10, 10)


def test_what_a_process_has_loaded_is_not_searched_again() -> None:
    try:
        settle_heap()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
