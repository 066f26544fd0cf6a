"""Durations as text, the way Go reads and prints them: what flags, query parameters, schedules and events carry."""

import re
from typing import Final

__all__ = ["BadDuration", "format_duration", "parse_duration"]

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>[^0-9.]*)")


class BadDuration(ValueError):
    """The text is no duration; says why in Go's words."""


def parse_duration(text: str) -> float:
    """Return the seconds `text` names, such as `1h30m`, `-1.5s`, `300ms` or `0`. Raises BadDuration."""
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return 0.0
    if not rest:
        raise BadDuration(f'time: invalid duration "{text}"')
    seconds = 0.0
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise BadDuration(f'time: invalid duration "{text}"')
        number, unit = part["number"], part["unit"]
        if not unit:
            raise BadDuration(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS:
            raise BadDuration(f'time: unknown unit "{unit}" in duration "{text}"')
        seconds += float(number) * _UNITS[unit]
        rest = rest[part.end() :]
    return sign * seconds


def format_duration(seconds: float) -> str:
    """Return `seconds` (≥ 0) rounded to milliseconds: `0s`, `85ms`, `1.204s`, `1m2.5s`, `1h0m0s`."""
    milliseconds = round(seconds * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, left = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{left / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + text
