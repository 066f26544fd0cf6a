"""Moments and lengths of time as people type and read them."""

import os
import time
from collections.abc import Iterator

import click
import pytest

from homeport.cli import moments
from homeport.cli.moments import MOMENT, SECONDS, clock_time, length
from homeport.clock import parse_time

NOW = parse_time("2026-11-24T20:00:00Z")


@pytest.fixture(autouse=True)
def at_eight(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It is eight in the evening, nine where we are."""

    class Stopped:
        def now(self) -> float:
            return NOW

    monkeypatch.setattr(moments, "WallClock", Stopped)
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    yield
    if before is None:
        monkeypatch.delenv("TZ")
    else:
        monkeypatch.setenv("TZ", before)
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("5m", NOW - 300),
        ("1m30s ago", NOW - 90),
        ("90", NOW - 90),
        ("0s", NOW),
        ("2026-11-24T19:59:58.25Z", NOW - 1.75),
        ("2026-11-24T20:59:58+01:00", NOW - 2),
        ("2026-11-24 20:59:58", NOW - 2),
        ("20:59:58.250", NOW - 1.75),
        ("20:59", NOW - 60),
        ("23:00:00", NOW - 22 * 3600),
    ],
)
def test_moments(text: str, moment: float) -> None:
    assert MOMENT.convert(text, None, None) == pytest.approx(moment, abs=1e-6)


@pytest.mark.parametrize("text", ["soon", "25:00:00", "2026-11-24T21:00:01+01:00", "", "-5m"])
def test_what_is_no_moment_of_the_past(text: str) -> None:
    with pytest.raises(click.BadParameter):
        MOMENT.convert(text, None, None)


def test_lengths() -> None:
    assert SECONDS.convert("1h30m", None, None) == 5400
    assert SECONDS.convert("1.5", None, None) == 1.5
    with pytest.raises(click.BadParameter):
        SECONDS.convert("5 parsecs", None, None)
    assert [length(seconds) for seconds in (4.21, 200, 7500)] == ["4.2 s", "3 m 20 s", "2 h 5 m"]


def test_what_is_printed_is_understood() -> None:
    moment = NOW - 1.2345
    assert clock_time(moment) == "20:59:58.766"
    assert MOMENT.convert(clock_time(moment), None, None) == pytest.approx(moment, abs=0.001)
