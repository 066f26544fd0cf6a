"""From a history that breaks a promise to the shortest one found that breaks the same: what a person has to read."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from homeport.testing.histories import History, play, without
from homeport.testing.simulation import run_simulated
from homeport.testing.workloads import Workload

__all__ = ["Failure", "shrink", "trial"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A history that breaks a promise: which one, and what happened in it."""

    history: History
    error: str
    story: str

    def __str__(self) -> str:
        return f"{self.error}\n\n{self.history}\n\n{self.story}"

    @property
    def promise(self) -> list[str]:
        """What was broken, without the names: the error's kind and the rule's name."""
        return self.error.split(":")[:2]


def trial(history: History) -> Failure | None:
    """Play a history; returns how it failed, if it did."""
    try:
        run_simulated(lambda: play(history))
    except (Exception, asyncio.CancelledError) as error:  # whatever a component ends with is a finding
        text = f"{type(error).__name__}: {error}"
        return Failure(history, text, "\n".join(getattr(error, "__notes__", ())))
    return None


def shrink(failure: Failure, seconds: float = 60.0) -> Failure:
    """Return a shorter failure of the same kind: fewer steps, workloads and nodes, smaller numbers, shorter waits.

    Ends after `seconds` of real time at the latest, with the best found until then.
    """
    until = time.perf_counter() + seconds
    failure = _fewer_steps(failure, until)
    smaller = True
    while smaller and time.perf_counter() < until:
        smaller = False
        for candidate in _simpler(failure.history):
            if time.perf_counter() >= until:
                break
            found = _again(candidate, failure)
            if found is not None:
                failure, smaller = found, True
                break
    return failure


def _again(history: History, failure: Failure) -> Failure | None:
    found = trial(history)
    return found if found is not None and found.promise == failure.promise else None


def _fewer_steps(failure: Failure, until: float) -> Failure:
    """Leave steps out as long as the same promise is broken: in halves first, then one by one."""
    size = max(1, len(failure.history.steps) // 2)
    while True:
        smaller, start = False, 0
        while start < len(failure.history.steps) and time.perf_counter() < until:
            found = _again(without(failure.history, range(start, start + size)), failure)
            if found is not None:
                failure, smaller = found, True
            else:
                start += size
        if time.perf_counter() >= until or (size == 1 and not smaller):
            return failure
        size = max(1, size // 2)


def _simpler(history: History) -> Iterator[History]:
    """Yield histories that are simpler by one thing."""
    for index in range(len(history.steps)):
        yield without(history, [index])
    if history.nodes > 1:
        yield replace(history, nodes=history.nodes - 1)
    if len(history.world) > 1:
        for workload in history.world:
            yield replace(history, world=tuple(one for one in history.world if one != workload))
    for workload in history.world:
        for plainer in _simpler_workloads(workload):
            yield replace(history, world=tuple(plainer if one == workload else one for one in history.world))
    for index, step in enumerate(history.steps):
        waits = [replace(step, wait=wait) for wait in (0.0, 0.01, 1.0, 10.0, 100.0) if wait < step.wait]
        smaller = step.value.isdigit() and int(step.value) > 1
        for simpler in [*waits, replace(step, value=str(int(step.value) - 1))] if smaller else waits:
            yield replace(history, steps=(*history.steps[:index], simpler, *history.steps[index + 1 :]))


def _simpler_workloads(workload: Workload) -> Iterator[Workload]:
    plain = Workload(workload.kind, workload.name, workload.replicas)
    if workload.replicas > 1:
        yield replace(workload, replicas=workload.replicas - 1)
    for name in Workload.__slots__:
        if name not in ("kind", "name", "replicas") and getattr(workload, name) != getattr(plain, name):
            yield replace(workload, **{name: getattr(plain, name)})
