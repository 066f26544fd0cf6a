"""Scalars have one stored form."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from homeport.api import scalars


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T05:04:05+02:00", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05Z"),
    ],
)
def test_times_are_whole_seconds_in_utc(text: str, stored: str) -> None:
    assert scalars.canonical_time(text) == stored


def test_micro_times_have_six_digits() -> None:
    assert scalars.canonical_micro_time("2026-01-02T03:04:05Z") == "2026-01-02T03:04:05.000000Z"
    assert scalars.canonical_micro_time("2026-01-02T05:04:05.1+02:00") == "2026-01-02T03:04:05.100000Z"


@pytest.mark.parametrize("text", ["", "now", "2026-13-02T03:04:05Z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05"])
def test_what_is_no_time_is_refused_in_the_decoders_words(text: str) -> None:
    with pytest.raises(ValueError, match='parsing time "'):
        scalars.canonical_time(text)


def test_base64_loses_its_line_breaks_only() -> None:
    assert scalars.canonical_bytes("YWJj\nZGVm\r\n") == "YWJjZGVm"
    assert scalars.decoded_length("YWJj") == 3
    assert scalars.decoded_length("YQ==") == 1


@pytest.mark.parametrize("text", ["a", "====", "ab$=", "YWJj="])
def test_bad_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="illegal base64 data at input byte"):
        scalars.canonical_bytes(text)


@given(some.text(max_size=30))
def test_a_canonical_quantity_stays_as_it_is(text: str) -> None:
    try:
        stored = scalars.canonical_quantity(text)
    except ValueError:
        return
    assert scalars.canonical_quantity(stored) == stored
