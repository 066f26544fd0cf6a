"""Delays that double, for crashing containers and failing pulls: 10 s … 300 s, forgotten after 10 quiet minutes.

Source: `node` section 2.2 and 12.3.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["Backoff"]

INITIAL_SECONDS: Final = 10.0
CAP_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """`delay` is what the next attempt must wait after the failure before it; zero while there was no failure.

    `key` tells when the delay belongs to something that is no more (another image).
    """

    delay: float = 0.0
    updated_at: float = 0.0
    key: str = ""

    def remaining(self, failed_at: float, now: float, key: str = "") -> float:
        """Return the seconds to wait still, never more than the delay, even when the clock was set back."""
        if key != self.key or self._stale(failed_at):
            return 0.0
        return min(self.delay, max(0.0, failed_at + self.delay - now))

    def next(self, failed_at: float, now: float, key: str = "") -> "Backoff":
        """Return the state after an attempt begins at `now`, following a failure at `failed_at`."""
        fresh = not self.delay or key != self.key or self._stale(failed_at)
        return Backoff(INITIAL_SECONDS if fresh else min(2 * self.delay, CAP_SECONDS), now, key)

    def _stale(self, failed_at: float) -> bool:
        return failed_at - self.updated_at > 2 * CAP_SECONDS
