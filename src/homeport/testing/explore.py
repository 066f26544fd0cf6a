"""Play many random histories, and tell those that break a promise as short as they can be told.

python -m homeport.testing.explore --seeds 1000
python -m homeport.testing.explore --first 4711 --seeds 1      # one of them again
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from homeport.testing.histories import History, make_history, play, without
from homeport.testing.simulation import run_simulated

__all__ = ["Failure", "explore", "main", "shrink", "trial"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A history that breaks a promise: which one, and what happened in it."""

    history: History
    error: str
    story: str

    def __str__(self) -> str:
        return f"{self.error}\n\n{self.history}\n\n{self.story}"


def trial(history: History) -> Failure | None:
    """Play a history; returns how it failed, if it did."""
    try:
        run_simulated(lambda: play(history))
    except Exception as error:  # whatever a component ends with is a finding
        text = f"{type(error).__name__}: {error}"
        return Failure(history, text, "\n".join(getattr(error, "__notes__", ())))
    return None


def shrink(failure: Failure) -> Failure:
    """Leave steps out as long as the same promise is broken: in halves first, then one by one."""
    kind = failure.error.split(":")[:2]
    size = max(1, len(failure.history.steps) // 2)
    while True:
        smaller = False
        start = 0
        while start < len(failure.history.steps):
            candidate = trial(without(failure.history, range(start, start + size)))
            if candidate is not None and candidate.error.split(":")[:2] == kind:
                failure, smaller = candidate, True
            else:
                start += size
        if size > 1:
            size //= 2
        elif not smaller:
            return failure


def explore(first: int, count: int, length: int = 16) -> Iterator[Failure | None]:
    """Play the histories of consecutive seeds; yields how each one failed, shrunk, or None."""
    for seed in range(first, first + count):
        failure = trial(make_history(seed, length))
        yield shrink(failure) if failure is not None else None


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m homeport.testing.explore", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many histories")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--steps", type=int, default=16, help="how many steps each has")
    arguments = parser.parse_args()
    began, failed = time.perf_counter(), 0
    for failure in explore(arguments.first, arguments.seeds, arguments.steps):
        if failure is not None:
            failed += 1
            print(f"{failure}\n", flush=True)
    print(f"{arguments.seeds} histories, {failed} failed, {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
