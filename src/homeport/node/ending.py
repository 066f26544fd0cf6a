"""Ending containers of one pod: a single one to be restarted, or all of them in order. Source: `node` 3.3 and 4.3."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from homeport.node.context import NodeContext
from homeport.node.events import PodEvents
from homeport.node.handlers import Target, run_hook
from homeport.node.pod import Kind, Pod
from homeport.node.records import ContainerRecords, Live
from homeport.node.stopping import Deadline, stop_container, stop_signal

__all__ = ["Ending"]

DEPARTURE_SECONDS: Final = 1.0
"""How long a container is spared until new connections are led elsewhere; milliseconds unless the API is away."""


class Ending:
    """Stops what `records` says runs."""

    def __init__(
        self, context: NodeContext, pod: Callable[[], Pod], records: ContainerRecords, events: PodEvents,
        addresses: Callable[[], tuple[str, ...]],
    ) -> None:  # fmt: skip
        self._context, self._pod, self._records, self._events = context, pod, records, events
        self._addresses = addresses
        self._deadlines: set[Deadline] = set()

    def shorten(self, grace: float) -> None:
        """Let nothing that is being stopped take longer than `grace` seconds from now on."""
        for deadline in self._deadlines:
            deadline.shorten(grace)

    def running(self) -> list[Live]:
        """Return the instances that run, in no particular order."""
        ids = [state.running.container_id for state in self._records.states.values() if state.running]
        return [self._records.live[container_id] for container_id in ids]

    async def stop(self, live: Live, message: str, grace: int | None) -> None:
        """Stop one instance; without `grace` the pod's is used."""
        await self._stop(live, message, float(self._pod().grace if grace is None else grace), None)

    async def stop_all(self, grace: float) -> None:
        """Stop everything: regular containers side by side, then sidecars in reverse, all within the grace.

        A deleted pod is told to end when no new connection is led to it (`services-dns` 18.4). Hooks run meanwhile.
        """
        running = self.running()
        order = [container.name for container in self._pod().init if container.kind is Kind.SIDECAR]
        departure = asyncio.ensure_future(self._departure())
        try:
            async with asyncio.TaskGroup() as group:
                for live in running:
                    sidecar = live.container.kind is Kind.SIDECAR
                    turn = self._turn(live, running, order) if sidecar else lambda: asyncio.wait((departure,))
                    group.create_task(self._stop(live, f"Stopping container {live.container.name}", grace, turn))
        finally:
            departure.cancel()

    async def _departure(self) -> None:
        pod = self._pod()
        if pod.deleting:
            with suppress(TimeoutError):
                async with asyncio.timeout(DEPARTURE_SECONDS):
                    await self._context.departed(pod.uid)

    async def kill_all(self) -> None:
        """Kill everything at once: no hooks, no grace."""
        running = self.running()
        for live in running:
            await self._context.runtime.signal(live.container_id, signal.SIGKILL)
        for live in running:
            await live.ended.wait()

    def _turn(self, live: Live, running: list[Live], order: list[str]) -> Callable[[], Awaitable[None]]:
        """A sidecar waits for every regular container, and for the sidecars after it in the list."""
        own = order.index(live.container.name)
        before = [
            other.ended
            for other in running
            if other.container.kind is Kind.REGULAR
            or (other.container.kind is Kind.SIDECAR and order.index(other.container.name) > own)
        ]

        async def wait() -> None:
            for ended in before:
                await ended.wait()

        return wait

    async def _stop(self, live: Live, message: str, grace: float, turn: Callable[[], Awaitable[object]] | None) -> None:
        self._events.normal("Killing", message, live.container)
        deadline = Deadline(grace)
        self._deadlines.add(deadline)
        try:
            await stop_container(
                self._context.runtime,
                live.container_id,
                stop_signal(live.stop_signal),
                deadline,
                live.ended,
                None if live.container.pre_stop is None else lambda: self._pre_stop(live),
                turn,
            )
        finally:
            self._deadlines.discard(deadline)

    async def _pre_stop(self, live: Live) -> None:
        hook = live.container.pre_stop
        assert hook is not None
        addresses = self._addresses()
        context = self._context
        target = Target(
            context.runtime,
            context.reach,
            live.container,
            live.container_id,
            addresses[0] if addresses else "",
            context.settings.short_version,
            {},
        )
        if not await run_hook(hook, target):
            self._events.warning("FailedPreStopHook", "PreStopHook failed", live.container)
