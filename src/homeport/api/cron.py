"""Cron schedules: five fields or a descriptor, and the moments they name.

Source: `workloads` 12; grammar and words of refusal are those of the library upstream reads schedules with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from homeport.durations import BadDuration, parse_duration

__all__ = ["BadSchedule", "Schedule", "parse_schedule", "zone_named"]

YEARS: Final = 5
"""How far ahead a moment is looked for; 30 February never comes."""

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_DAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_DESCRIPTORS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY: Final = "@every "


class BadSchedule(ValueError):
    """A schedule, or a time zone, that makes no sense; the text is what a client is told."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    low: int
    high: int
    names: Mapping[str, int]


_MINUTE: Final = _Bounds(0, 59, {})
_HOUR: Final = _Bounds(0, 23, {})
_DAY: Final = _Bounds(1, 31, {})
_MONTH: Final = _Bounds(1, 12, _MONTHS)
_WEEKDAY: Final = _Bounds(0, 6, _DAYS)


@dataclass(frozen=True, slots=True)
class _Field:
    """The values of one field; `any` when it was written with a star, so that it leaves the day to the other one."""

    values: frozenset[int]
    any: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due: by the clock on the wall of a zone, or every so many seconds after the last time."""

    minute: _Field
    hour: _Field
    day: _Field
    month: _Field
    weekday: _Field
    every: int = 0

    def next(self, after: float, zone: tzinfo | None = None) -> float | None:
        """Return the first moment after epoch second `after`; None when there is none within five years.

        zone  whose wall clock counts; None is the machine's own. A time that the clock skips is skipped, one that
              it shows twice is due twice.
        """
        if self.every:
            return float(int(after) + self.every)
        start = moment = float(int(after) // 60 * 60 + 60)
        limit = start + YEARS * 366 * 86400
        while moment < limit:
            wall = datetime.fromtimestamp(moment, zone)
            if wall.month not in self.month.values:
                following = (wall.year + wall.month // 12, wall.month % 12 + 1)
                moment = _later(moment, datetime(*following, 1, tzinfo=zone))
            elif not self._on(wall):
                day = wall.date() + timedelta(days=1)
                moment = _later(moment, datetime(day.year, day.month, day.day, tzinfo=zone))
            elif wall.hour not in self.hour.values:
                moment += 3600 - wall.minute * 60
            elif wall.minute not in self.minute.values:
                moment += 60
            else:
                return moment
        return None

    def _on(self, wall: datetime) -> bool:
        day, weekday = wall.day in self.day.values, wall.isoweekday() % 7 in self.weekday.values
        return day and weekday if self.day.any or self.weekday.any else day or weekday


def _later(moment: float, wall: datetime) -> float:
    """Return the moment a wall clock shows a time, but always one after `moment`."""
    return max(wall.timestamp(), moment + 60)


def parse_schedule(text: str) -> Schedule:
    """Read a schedule; a `TZ=` in front is read over. Raises BadSchedule."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        zone, _, rest = text.partition("=")[2].partition(" ")
        try:
            zone_named(zone)
        except BadSchedule as error:
            raise BadSchedule(f"provided bad location {zone}: {error}") from error
        text = rest.strip()
    if text.startswith(_EVERY):
        try:
            seconds = parse_duration(text[len(_EVERY) :])
        except BadDuration as error:
            raise BadSchedule(f"failed to parse duration {text}: {error}") from error
        never = _Field(frozenset(), True)
        return Schedule(never, never, never, never, never, every=max(1, int(seconds)))
    if text.startswith("@"):
        if text not in _DESCRIPTORS:
            raise BadSchedule(f"unrecognized descriptor: {text}")
        text = _DESCRIPTORS[text]
    fields = text.split()
    if len(fields) != 5:
        raise BadSchedule(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    minute, hour, day, month, weekday = fields
    return Schedule(
        _field(minute, _MINUTE),
        _field(hour, _HOUR),
        _field(day, _DAY),
        _field(month, _MONTH),
        _field(weekday, _WEEKDAY),
    )


def zone_named(name: str) -> tzinfo:
    """Return the time zone of an IANA name. Raises BadSchedule."""
    from zoneinfo import ZoneInfo  # costs memory and is wanted by few

    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise BadSchedule(f"unknown time zone {name}") from error


def _field(text: str, bounds: _Bounds) -> _Field:
    values: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            found, starred = _range(part, bounds)
            values |= found
            star = star or starred
    return _Field(frozenset(values), star)


def _range(text: str, bounds: _Bounds) -> tuple[set[int], bool]:
    """Read `*`, `5`, `1-5`, `*/2` or `3-30/3`; also say whether it was a bare star."""
    span, *steps = text.split("/")
    low, *highs = span.split("-")
    star = low in ("*", "?")
    if star:
        start, end = bounds.low, bounds.high
    else:
        start = _number(low, bounds.names)
        if len(highs) > 1:
            raise BadSchedule(f"too many hyphens: {text}")
        end = _number(highs[0], bounds.names) if highs else start
    step = 1
    if len(steps) > 1:
        raise BadSchedule(f"too many slashes: {text}")
    if steps:
        step = _integer(steps[0])
        if not highs:
            end = bounds.high
        star = star and step <= 1
    if start < bounds.low:
        raise BadSchedule(f"beginning of range ({start}) below minimum ({bounds.low}): {text}")
    if end > bounds.high:
        raise BadSchedule(f"end of range ({end}) above maximum ({bounds.high}): {text}")
    if start > end:
        raise BadSchedule(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise BadSchedule(f"step of range should be a positive number: {text}")
    return set(range(start, end + 1, step)), star


def _number(text: str, names: Mapping[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else _integer(text)


def _integer(text: str) -> int:
    if not text.removeprefix("+").isascii() or not text.removeprefix("-").removeprefix("+").isdigit():
        raise BadSchedule(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise BadSchedule(f"negative number ({number}) not allowed: {text}")
    return number
