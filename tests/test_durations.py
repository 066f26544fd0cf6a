"""Durations are read and printed as Go does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.durations import BadDuration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("+0", 0), ("0s", 0), ("5s", 5), ("+5s", 5), ("-5s", -5), ("1h30m", 5400), ("1.5s", 1.5), (".5m", 30),
        ("5.s", 5), ("300ms", 0.3), ("12us", 12e-6), ("12µs", 12e-6), ("7ns", 7e-9), ("1m1s1ms", 61.001),
    ],
)  # fmt: skip
def test_what_go_reads(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'invalid duration ""'),
        ("-", 'invalid duration "-"'),
        ("soon", 'invalid duration "soon"'),
        (".s", 'invalid duration ".s"'),
        ("1s.", 'invalid duration "1s."'),
        ("5", 'missing unit in duration "5"'),
        ("1s2", 'missing unit in duration "1s2"'),
        ("5 s", 'unknown unit " s" in duration "5 s"'),
        ("3d", 'unknown unit "d" in duration "3d"'),
        ("1s-2s", 'unknown unit "s-" in duration "1s-2s"'),
    ],
)
def test_what_go_refuses_and_how(text: str, why: str) -> None:
    with pytest.raises(BadDuration) as refusal:
        parse_duration(text)
    assert str(refusal.value) == f"time: {why}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.0004, "0s"), (0.085, "85ms"), (0.9996, "1s"), (1.2041, "1.204s"), (40, "40s"), (60, "1m0s"),
        (80, "1m20s"), (62.5, "1m2.5s"), (300, "5m0s"), (3600, "1h0m0s"), (7325.25, "2h2m5.25s"),
    ],
)  # fmt: skip
def test_what_go_prints(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_what_is_printed_reads_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
