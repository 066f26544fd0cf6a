"""Numbers to give away, from a band for those asked for and one for those chosen: the rule, and the node ports.

Source: services-dns 3.1, 3.2. A pool only remembers; it is rebuilt from the stored Services at start.
"""

import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

__all__ = ["Full", "OutOfRange", "PortPool", "Scope", "Taken", "Tally", "band", "choose"]


class Taken(Exception):
    """Somebody else holds it."""


class OutOfRange(Exception):
    """Not one of the pool's."""


class Full(Exception):
    """Nothing left."""


class Scope(StrEnum):
    """Whether a certain number was asked for, or any."""

    STATIC = "static"
    DYNAMIC = "dynamic"


class Tally:
    """How many numbers were given, and how often none could be."""

    def __init__(self) -> None:
        self.given: Counter[Scope] = Counter()
        self.refused: Counter[Scope] = Counter()


def band(size: int, share: int, least: int, most: int) -> int:
    """Return how many of `size` numbers, the lowest, are kept for those who ask for a certain one."""
    return 0 if size <= least else min(max(least, size // share), most)


def choose(first: int, last: int, static: int, rng: random.Random, taken: Callable[[int], bool]) -> int:
    """Return a free number of a range: above its static band first, from a random start on. Raises Full."""
    dynamic_from = first + static
    for low, high in ((dynamic_from, last), (first, dynamic_from - 1)):
        size = high - low + 1
        if size <= 0:
            continue
        start = rng.randrange(size)
        for step in range(size):
            number = low + (start + step) % size
            if not taken(number):
                return number
    raise Full


class PortPool:
    """The node ports: one number space for all protocols."""

    def __init__(self, first: int, last: int, rng: random.Random) -> None:
        self.first, self.last = first, last
        self._static = band(last - first + 1, 32, 16, 128)
        self._rng = rng
        self._taken: set[int] = set()
        self.tally = Tally()

    def __len__(self) -> int:
        """Count those somebody holds."""
        return len(self._taken)

    def __contains__(self, port: int) -> bool:
        """Tell whether somebody holds it."""
        return port in self._taken

    def restore(self, port: int) -> None:
        """Take one port that a stored Service has, if nobody else has it."""
        if self.first <= port <= self.last:
            self._taken.add(port)

    def take(self, port: int) -> None:
        """Take one port. Raises Taken, OutOfRange."""
        if not self.first <= port <= self.last:
            self.tally.refused[Scope.STATIC] += 1
            raise OutOfRange(port)
        if port in self._taken:
            self.tally.refused[Scope.STATIC] += 1
            raise Taken(port)
        self.tally.given[Scope.STATIC] += 1
        self._taken.add(port)

    def pick(self) -> int:
        """Take any port. Raises Full."""
        try:
            port = choose(self.first, self.last, self._static, self._rng, self._taken.__contains__)
        except Full:
            self.tally.refused[Scope.DYNAMIC] += 1
            raise
        self.tally.given[Scope.DYNAMIC] += 1
        self._taken.add(port)
        return port

    def free(self, port: int) -> None:
        self._taken.discard(port)
