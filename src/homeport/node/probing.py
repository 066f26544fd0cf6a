"""The probe tasks of one pod: one per running instance, begun after its hook, ended with it."""

import asyncio
from collections.abc import Callable
from typing import Final

from homeport.node.context import NodeContext
from homeport.node.environment import literal_environment
from homeport.node.events import PodEvents
from homeport.node.handlers import Outcome, Target
from homeport.node.lifecycle import Running
from homeport.node.pod import ContainerDef, Pod, Probe, ProbeKind
from homeport.node.probes import Instance, probe_instance
from homeport.node.records import ContainerRecords

__all__ = ["Probing"]

STATE_WORDS: Final = {ProbeKind.STARTUP: "unknown", ProbeKind.LIVENESS: "success", ProbeKind.READINESS: "failure"}


class Probing:
    """Keeps `records` told. `ending` is set when the pod is being ended: only readiness goes on then."""

    def __init__(
        self, context: NodeContext, pod: Callable[[], Pod], records: ContainerRecords, events: PodEvents,
        addresses: Callable[[], tuple[str, ...]], ending: asyncio.Event,
    ) -> None:  # fmt: skip
        self._context, self._pod, self._records, self._events = context, pod, records, events
        self._addresses, self._ending = addresses, ending
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def tend(self, group: asyncio.TaskGroup) -> None:
        """Begin probing what runs and is not probed, stop probing what ended."""
        running: set[str] = set()
        for name, state in self._records.states.items():
            instance = state.running
            if instance is None or not instance.hooked:
                continue
            running.add(instance.container_id)
            container = self._pod().find(name)
            if instance.container_id not in self._tasks and container is not None:
                self._tasks[instance.container_id] = group.create_task(self._probe(container, instance))
        for container_id in [known for known in self._tasks if known not in running]:
            self._tasks.pop(container_id).cancel()

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _probe(self, container: ContainerDef, running: Running) -> None:
        context = self._context
        jitter = 0.0
        if running.started_at < context.started_at and container.probes:
            period = max(probe.period for probe in container.probes.values())
            jitter = context.rng.uniform(0, period)
        instance = Instance(container, running.started_at, running.started, running.ready, jitter)
        environment = literal_environment(container)

        async def perform(probe: Probe) -> Outcome:
            addresses = self._addresses()
            target = Target(
                context.runtime,
                context.reach,
                container,
                running.container_id,
                addresses[0] if addresses else "",
                context.settings.short_version,
                environment,
            )
            return await context.prober(self._pod(), probe, target)

        told = _Told(container, running.container_id, self._records, self._events)
        await probe_instance(instance, perform, told, context.clock, self._ending)


class _Told:
    """The `probes.Listener` of one instance."""

    def __init__(
        self, container: ContainerDef, container_id: str, records: ContainerRecords, events: PodEvents
    ) -> None:
        self._container, self._id, self._records, self._events = container, container_id, records, events

    def started(self) -> None:
        self._records.probe_started(self._id)

    def ready(self, ready: bool) -> None:
        self._records.probe_ready(self._id, ready)

    def failed(self, kind: ProbeKind) -> None:
        self._records.probe_failed(self._id, kind)

    def result(self, kind: ProbeKind, outcome: Outcome) -> None:
        if outcome.warning:
            self._events.warning("ProbeWarning", f"{kind.value} probe warning: {outcome.output}", self._container)
        else:
            self._events.warning("Unhealthy", f"{kind.value} probe failed: {outcome.output}", self._container)

    def errored(self, kind: ProbeKind, message: str) -> None:
        text = f"{kind.value} probe errored and resulted in {STATE_WORDS[kind]} state: {message}"
        self._events.warning("Unhealthy", text, self._container)
