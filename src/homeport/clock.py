"""Time as a value: wall time for timestamps, loop time for everything that waits.

Nothing else in the engine reads the system's clocks. Waiting goes through the event loop (`asyncio.sleep`,
`loop.call_later`), so a virtual loop moves it; `Clock.now` moves with the same loop.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

__all__ = ["Clock", "WallClock", "micro_time", "milli_time", "nano_time", "parse_time", "rfc3339"]


class Clock(Protocol):
    """Where timestamps come from."""

    def now(self) -> float:
        """Return seconds since the Unix epoch, UTC."""
        ...


class WallClock:
    """The system's clock."""

    def now(self) -> float:
        return time.time()


def rfc3339(seconds: float) -> str:
    """Return `2026-01-02T15:04:05Z`: the form of every `Time` field, whole seconds, rounded down."""
    return _whole_second(int(seconds))


@lru_cache(maxsize=64)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milli_time(seconds: float) -> str:
    """Return `2026-01-02T15:04:05.001Z`, rounded to the nearest millisecond: how moments are told to people."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_whole_second(whole)[:-1]}.{milliseconds:03d}Z"


def micro_time(seconds: float) -> str:
    """Return `2026-01-02T15:04:05.000123Z`: the form of every `MicroTime` field, six digits."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def nano_time(seconds: float) -> str:
    """Return `2026-01-02T15:04:05.000123000Z`: RFC 3339 with nine digits, as container logs are stamped."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def parse_time(text: str) -> float:
    """Return epoch seconds of an RFC 3339 time with or without a fraction; raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
