"""Garbage is looked for less often inside a block, and as before after it."""

import gc
from collections.abc import Iterator

import pytest

from homeport.garbage import THRESHOLDS, collected_rarely


@pytest.fixture(autouse=True)
def _thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_less_often_inside_as_before_outside() -> None:
    gc.set_threshold(700, 10, 10)
    with collected_rarely():
        assert gc.get_threshold() == THRESHOLDS
        with collected_rarely():
            assert gc.get_threshold() == THRESHOLDS
        assert gc.get_threshold() == THRESHOLDS
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("chosen", [(0, 10, 10), (1_000_000, 10, 10)])
def test_who_has_chosen_keeps_the_choice(chosen: tuple[int, int, int]) -> None:
    gc.set_threshold(*chosen)
    with collected_rarely():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen
