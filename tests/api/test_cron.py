"""When a schedule is due, and how one that makes no sense is refused."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.api.cron import BadSchedule, parse_schedule, zone_named


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("* * * * *", "2026-01-01T00:00:00", "2026-01-01T00:01:00"),
        ("* * * * *", "2026-01-01T00:00:59", "2026-01-01T00:01:00"),
        ("*/15 * * * *", "2026-01-01T00:46:00", "2026-01-01T01:00:00"),
        ("0 9-17/4 * * *", "2026-01-01T09:00:00", "2026-01-01T13:00:00"),
        ("5/20 * * * *", "2026-01-01T00:26:00", "2026-01-01T00:45:00"),
        ("0 0 29 feb *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 1 * mon", "2026-01-02T00:00:00", "2026-01-05T00:00:00"),  # either day will do
        ("0 0 * * sun", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("0 0 */2 * mon", "2026-01-01T00:00:00", "2026-01-03T00:00:00"),
        ("59 23 31 12 ?", "2026-01-01T00:00:00", "2026-12-31T23:59:00"),
        ("@hourly", "2026-01-01T00:10:00", "2026-01-01T01:00:00"),
        ("@weekly", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("@yearly", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("@every 1h30m", "2026-01-01T00:00:10", "2026-01-01T01:30:10"),
        ("@every -5m", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
        ("@every 0", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
        ("@every 10ms", "2026-01-01T00:00:00", "2026-01-01T00:00:01"),
    ],
)
def test_the_next_time(schedule, after, due):
    assert parse_schedule(schedule).next(at(after), UTC) == at(due)


def test_what_never_comes_is_never_due():
    assert parse_schedule("0 0 30 2 *").next(at("2026-01-01T00:00:00"), UTC) is None


def test_a_skipped_time_is_skipped_and_a_repeated_one_comes_twice():
    berlin, schedule = zone_named("Europe/Berlin"), parse_schedule("30 2 * * *")
    assert schedule.next(at("2026-03-28T01:30:00"), berlin) == at("2026-03-30T00:30:00")
    first = schedule.next(at("2026-10-24T12:00:00"), berlin)
    assert first == at("2026-10-25T00:30:00")
    assert schedule.next(first, berlin) == at("2026-10-25T01:30:00")


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("", "expected exactly 5 fields, found 0: []"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("9-3 * * * *", "beginning of range (9) beyond end of range (3): 9-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("*/2/3 * * * *", "too many slashes: */2/3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@sometimes", "unrecognized descriptor: @sometimes"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
        ("@every 5", 'failed to parse duration @every 5: time: missing unit in duration "5"'),
        ("@every 1d", 'failed to parse duration @every 1d: time: unknown unit "d" in duration "1d"'),
        ("@every 1.5.h", 'failed to parse duration @every 1.5.h: time: missing unit in duration "1.5.h"'),
        ("@every ", 'failed to parse duration @every : time: invalid duration ""'),
        ("TZ=Mars/Base * * * * *", "provided bad location Mars/Base: unknown time zone Mars/Base"),
    ],
)
def test_nonsense_is_refused(schedule, why):
    with pytest.raises(BadSchedule) as refused:
        parse_schedule(schedule)
    assert str(refused.value) == why


@given(st.text(alphabet="0123456789*/-,? @abcjhmonsuTZ=", max_size=24))
def test_any_text_is_read_or_refused(text):
    try:
        schedule = parse_schedule(text)
    except BadSchedule:
        return
    after = at("2026-05-05T05:05:05")
    due = schedule.next(after, UTC)
    assert due is None or due > after
