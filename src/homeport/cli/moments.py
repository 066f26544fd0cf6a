"""Lengths of time and moments as people type them and read them."""

import re
from datetime import datetime, timedelta
from typing import Any, Final

import click

from homeport.clock import WallClock, milli_time, parse_time

__all__ = ["MOMENT", "SECONDS", "clock_time", "length"]

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LENGTH: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+|\d+(?:\.\d+)?")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_OF_DAY: Final = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?")


def _length(text: str) -> float | None:
    if not _LENGTH.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class _Seconds(click.ParamType):  # type: ignore[type-arg]  # generic in some releases of click alone
    """A length of time such as 30s, 1.5m or 1h30m; seconds without a unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = _length(value)
        if found is None:
            self.fail(f"{value!r} is no length of time, such as 30s or 5m", param, ctx)
        return found


class _Moment(click.ParamType):  # type: ignore[type-arg]  # generic in some releases of click alone
    """A moment that is over, as epoch seconds: RFC 3339, a time of day here, or how long ago."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        now = WallClock().now()
        ago = _length(value.strip().removesuffix("ago").strip())
        try:
            moment = now - ago if ago is not None else _of_day(value, now) or parse_time(value)
        except ValueError:
            self.fail(f"{value!r} is no moment, such as 30s (ago), 15:04:05 or 2026-01-02T15:04:05Z", param, ctx)
        if moment > now:
            self.fail(f"{value} is yet to come", param, ctx)
        return moment


def _of_day(text: str, now: float) -> float | None:
    """Return the last time it was so late here; None for what is no time of day. Raises ValueError."""
    if not _OF_DAY.fullmatch(text):
        return None
    today = datetime.fromtimestamp(now).astimezone()
    time = datetime.strptime(text, "%H:%M:%S.%f" if "." in text else "%H:%M:%S" if text.count(":") > 1 else "%H:%M")
    found = today.replace(hour=time.hour, minute=time.minute, second=time.second, microsecond=time.microsecond)
    return (found if found <= today else found - timedelta(days=1)).timestamp()


SECONDS: Final = _Seconds()
MOMENT: Final = _Moment()


def clock_time(moment: float) -> str:
    """Return the local time of day of epoch seconds, to the millisecond."""
    local = datetime.fromtimestamp(parse_time(milli_time(moment))).astimezone()
    return f"{local:%H:%M:%S}.{round(local.microsecond / 1000):03d}"


def length(seconds: float) -> str:
    """Return a length of time for people: `4.2 s`, `3 m 20 s`, `2 h 5 m`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest} s"
    return f"{minutes // 60} h {minutes % 60} m"
