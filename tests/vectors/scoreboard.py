"""Replay everything recorded from real servers, and hold it against the committed scores.

    python -m tests.vectors.scoreboard [--update]

Exits with 1 when a topic falls below its score; `--update` raises scores to what is reached now.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from homeport.testing.loop import run_virtual
from tests.vectors import replay_api, replay_dns, replay_workloads
from tests.vectors.load import topics
from tests.vectors.scores import SCORES, committed

__all__ = ["Line", "api", "dns", "workloads"]


@dataclass(frozen=True, slots=True)
class Line:
    """One topic: how many recordings are followed, how many there are of what is served here, how many are not."""

    area: str
    topic: str
    passed: int
    total: int
    not_yet: int = 0

    @property
    def fallen(self) -> bool:
        return self.passed < committed(self.area, self.topic)

    def __str__(self) -> str:
        share = f"{100 * self.passed / self.total:5.1f} %" if self.total else "      -"
        later = f"   {self.not_yet} of kinds not served yet" if self.not_yet else ""
        mark = f"   BELOW {committed(self.area, self.topic)}" if self.fallen else ""
        return f"{self.area:10} {self.topic:22} {self.passed:5} / {self.total:<5} {share}{later}{mark}"


def dns() -> Iterator[Line]:
    """Questions answered with equal replies."""
    for topic in topics("dns"):
        passed, total = asyncio.run(replay_dns.replay(topic))
        yield Line("dns", topic, passed, total)


def api() -> Iterator[Line]:
    """Requests answered equally."""
    for topic in topics("api"):
        (score,) = run_virtual(lambda topic=topic: replay_api.replay([topic])).values()
        yield Line("api", topic, score.steps_passed, score.steps, score.not_yet)


def workloads() -> Iterator[Line]:
    """Scenarios in which the controllers did exactly what upstream's did."""
    for family in replay_workloads.families():
        yield Line("workloads", family, *replay_workloads.replay_family(family))


AREAS = {"dns": dns, "api": api, "workloads": workloads}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.vectors.scoreboard", description=__doc__)
    parser.add_argument("--update", action="store_true", help="raise the committed scores to what is reached")
    parser.add_argument("areas", nargs="*", choices=[*AREAS, []], help="only these")
    arguments = parser.parse_args()
    fallen, reached = False, json.loads(SCORES.read_text())
    for area in arguments.areas or AREAS:
        lines = []
        for line in AREAS[area]():
            print(line, flush=True)
            lines.append(line)
            fallen |= line.fallen
            reached.setdefault(area, {})[line.topic] = max(line.passed, committed(area, line.topic))
        total = Line(area, "all", sum(line.passed for line in lines), sum(line.total for line in lines))
        print(f"{total}\n", flush=True)
    if arguments.update:
        SCORES.write_text(json.dumps(reached, indent=2, sort_keys=True) + "\n")
    sys.exit(1 if fallen else 0)


if __name__ == "__main__":
    main()
