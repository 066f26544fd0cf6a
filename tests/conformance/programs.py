"""The programs the tests' pods run: what a shell does with them on real pods, and the same as timers in virtual time.

A task runs for a second, so that it is seen running.
"""

from collections.abc import Callable
from typing import Any

from homeport.testing.behaviour import Ending, Start
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.world import World

__all__ = [
    "FAIL",
    "FAIL_ODD",
    "FAIL_ONCE",
    "FAIL_ONCE_PER_INDEX",
    "IMAGE",
    "NEXT",
    "RUN",
    "SLOW_TO_STOP",
    "SUCCEED",
    "container",
    "play",
]

IMAGE, NEXT = SimulatedWorld.images
SUCCEED = "sleep 1; exit 0"
FAIL = "sleep 1; exit 1"
RUN = "trap 'exit 143' TERM; while :; do sleep 1; done"
FAIL_ODD = "sleep 1; exit $((JOB_COMPLETION_INDEX % 2))"
FAIL_ONCE = "sleep 1; test -e /data/seen || { touch /data/seen; exit 1; }"
FAIL_ONCE_PER_INDEX = "sleep 1; test -e /data/$JOB_COMPLETION_INDEX || { touch /data/$JOB_COMPLETION_INDEX; exit 42; }"
SLOW_TO_STOP = "trap 'sleep 5; exit 143' TERM; while :; do sleep 1; done"


def container(program: str, name: str = "c", **more: Any) -> dict[str, Any]:
    """Return a container that runs a program."""
    return {"name": name, "image": IMAGE, "command": ["/bin/sh", "-c", program], **more}


def play(world: World) -> None:
    """Let simulated containers do as a shell would; files of a volume are remembered by what is written there."""
    seen: set[str] = set()

    def once(word: str, code: int) -> Ending:
        first = word not in seen
        seen.add(word)
        return Ending(1.0, code if first else 0)

    index: Callable[[Start], int] = lambda start: int(start.environment.get("JOB_COMPLETION_INDEX", "0"))  # noqa: E731
    programs: dict[str, Callable[[Start], Ending | None]] = {
        SUCCEED: lambda start: Ending(1.0),
        RUN: lambda start: Ending(stop_code=143),
        SLOW_TO_STOP: lambda start: Ending(stops_after=5.0, stop_code=143),
        FAIL: lambda start: Ending(1.0, 1),
        FAIL_ODD: lambda start: Ending(1.0, index(start) % 2),
        FAIL_ONCE: lambda start: once(start.pod, 1),
        FAIL_ONCE_PER_INDEX: lambda start: once(f"index {index(start)}", 42),
    }

    def run(start: Start) -> Ending | None:
        program = programs.get(start.command[-1])
        return program(start) if program is not None else None

    if isinstance(world, SimulatedWorld):
        world.cluster.program(IMAGE, run)
