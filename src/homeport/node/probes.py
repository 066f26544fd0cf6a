"""Probing one container instance: when to probe, what a row of results means, what to tell the pod's worker.

`Tally` is the pure part. `probe_instance` lives as long as the instance: startup first, then liveness and readiness
side by side. Source: `node` section 6.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from homeport.clock import Clock
from homeport.node.handlers import HandlerError, Outcome
from homeport.node.pod import ContainerDef, ExecAction, Probe, ProbeKind

__all__ = ["Instance", "Listener", "Tally", "probe_instance"]

ATTEMPTS: Final = 3
GLANCE_FIRST_SECONDS: Final = 0.05
"""The first pause between looks at something that has just started; each next one is twice as long."""

Perform = Callable[[Probe], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Tally:
    """The verdict so far (None: none yet) and the row of equal results that may change it."""

    verdict: bool | None = None
    latest: bool | None = None
    row: int = 0

    def add(self, success: bool, probe: Probe) -> "Tally":
        """Return the tally after one more result: below the threshold the verdict stays."""
        row = self.row + 1 if success is self.latest else 1
        needed = probe.success_threshold if success else probe.failure_threshold
        return Tally(success if row >= needed else self.verdict, success, row)


@dataclass(frozen=True, slots=True)
class Instance:
    """What is probed: `started_at` in epoch seconds; `jitter` in seconds is waited first after a restart of the agent.

    was_started, was_ready   what held before the agent was restarted, kept until a result says otherwise
    """

    container: ContainerDef
    started_at: float
    was_started: bool = False
    was_ready: bool = False
    jitter: float = 0.0


class Listener(Protocol):
    """Told of verdicts, and of single results worth an event."""

    def started(self) -> None: ...
    def ready(self, ready: bool) -> None: ...
    def failed(self, kind: ProbeKind) -> None: ...
    def result(self, kind: ProbeKind, outcome: Outcome) -> None: ...
    def errored(self, kind: ProbeKind, message: str) -> None: ...


async def probe_instance(
    instance: Instance, perform: Perform, listener: Listener, clock: Clock, ending: asyncio.Event
) -> None:
    """Probe until cancelled. Once `ending` is set (the pod is being deleted) only readiness goes on."""
    startup = instance.container.probe(ProbeKind.STARTUP)
    if startup is not None and not instance.was_started:
        passed = await _until_ending(_startup(instance, startup, perform, listener, clock), ending)
        if not passed:
            return
    listener.started()
    readiness = instance.container.probe(ProbeKind.READINESS)
    liveness = instance.container.probe(ProbeKind.LIVENESS)
    if readiness is None:
        listener.ready(True)
    async with asyncio.TaskGroup() as group:
        if readiness is not None:
            group.create_task(_readiness(instance, readiness, perform, listener, clock))
        if liveness is not None:
            group.create_task(_until_ending(_liveness(instance, liveness, perform, listener, clock), ending))


async def _until_ending(work: Awaitable[bool], ending: asyncio.Event) -> bool:
    """Await `work` unless `ending` comes first; then False."""
    task, stop = asyncio.ensure_future(work), asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else False
    finally:
        for unfinished in (task, stop):
            unfinished.cancel()


async def _begin(instance: Instance, probe: Probe, clock: Clock) -> None:
    await asyncio.sleep(max(0.0, instance.started_at + probe.initial_delay - clock.now()) + instance.jitter)


async def _startup(instance: Instance, probe: Probe, perform: Perform, listener: Listener, clock: Clock) -> bool:
    tally = Tally()
    await _begin(instance, probe, clock)
    async for success in _results(ProbeKind.STARTUP, probe, perform, listener, eager=True):
        tally = tally.add(success, probe)
        if tally.verdict is not None:
            break
    if tally.verdict:
        return True
    listener.failed(ProbeKind.STARTUP)
    return False


async def _liveness(instance: Instance, probe: Probe, perform: Perform, listener: Listener, clock: Clock) -> bool:
    tally = Tally(True)
    await _begin(instance, probe, clock)
    async for success in _results(ProbeKind.LIVENESS, probe, perform, listener):
        tally = tally.add(success, probe)
        if not tally.verdict:
            break
    listener.failed(ProbeKind.LIVENESS)
    return False


async def _readiness(instance: Instance, probe: Probe, perform: Perform, listener: Listener, clock: Clock) -> None:
    tally = Tally(instance.was_ready)
    await _begin(instance, probe, clock)
    eager = not instance.was_ready
    async for success in _results(ProbeKind.READINESS, probe, perform, listener, eager=eager):
        before, tally = tally.verdict, tally.add(success, probe)
        if tally.verdict is not before:
            listener.ready(bool(tally.verdict))


async def _results(
    kind: ProbeKind, probe: Probe, perform: Perform, listener: Listener, *, eager: bool = False
) -> AsyncIterator[bool]:
    """Yield one result per period, counted from the start of each probe. Errors yield nothing.

    With `eager`, a network probe that has not succeeded yet is also looked at between periods: success counts the
    moment it comes, failure counts by the period alone. So a server that opens its port 100 ms after its start is not
    unready for the rest of its first period.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    glance = GLANCE_FIRST_SECONDS if eager and not isinstance(probe.handler, ExecAction) else None
    while True:
        outcome = await _attempt(kind, probe, perform, listener)
        if outcome is not None:
            if not outcome.success or outcome.warning:
                listener.result(kind, outcome)
            yield outcome.success
        due = max(due + probe.period, loop.time())
        if outcome is not None and outcome.success:
            glance = None
        while glance is not None and loop.time() + glance < due:
            await asyncio.sleep(glance)
            if await _glance(probe, perform):
                glance = None
                yield True
            else:
                glance *= 2
        await asyncio.sleep(max(0.0, due - loop.time()))


async def _glance(probe: Probe, perform: Perform) -> bool:
    try:
        return (await perform(probe)).success
    except HandlerError:
        return False


async def _attempt(kind: ProbeKind, probe: Probe, perform: Perform, listener: Listener) -> Outcome | None:
    message = ""
    for _ in range(ATTEMPTS):
        try:
            return await perform(probe)
        except HandlerError as error:
            message = str(error)
    listener.errored(kind, message)
    return None
