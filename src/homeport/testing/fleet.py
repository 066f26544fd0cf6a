"""The nodes of a simulated cluster behind one door: logs and streams of all their pods on one socket."""

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from homeport.node.runtime.contract import ExecSession, ExecSpec, RuntimeFailure
from homeport.node.runtime.simulated import SimulatedRuntime
from homeport.node.worker import PodWorker
from homeport.testing.simulation import Simulation

__all__ = ["Fleet", "unanswered"]

_REMEDY: Final = "say what it answers with on_exec"


def unanswered(argv: tuple[str, ...], pod: str) -> str:
    """Return what is said about a command nobody gave an answer for."""
    return f'exec: "{argv[0]}": executable file not found in $PATH: programs of {pod} are simulated; {_REMEDY}'


class Fleet:
    """All agents, runtimes and pods' ports as one (`node.server.Workers`, `Commands` and `Ports`)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    @property
    def workers(self) -> Mapping[str, PodWorker]:
        found: dict[str, PodWorker] = {}
        for machine in self._simulation.machines.values():
            if machine.agent is not None:
                found |= machine.agent.workers
        return found

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod on a node whose agent serves now."""
        for machine in self._simulation.machines.values():
            worker = machine.agent.find(namespace, name) if machine.agent is not None and machine.serving else None
            if worker is not None:
                return worker
        return None

    @asynccontextmanager
    async def exec(self, container_id: str, spec: ExecSpec) -> AsyncIterator[ExecSession]:
        """Run a command that something was said about. Raises RuntimeFailure for others."""
        runtime = self._runtime(container_id)
        container = next(one for one in runtime.specs() if one.id == container_id)
        if self._simulation.behaviours.answer(container, spec.argv) is None:
            raise RuntimeFailure("NotFound", unanswered(spec.argv, container.labels["pod-name"]))
        async with runtime.exec(container_id, spec) as session:
            yield session

    @asynccontextmanager
    async def attach(self, container_id: str) -> AsyncIterator[ExecSession]:
        async with self._runtime(container_id).attach(container_id) as session:
            yield session

    async def dial(self, pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to whoever answers at a port of the pod whose sandbox is `pid`. Raises OSError when nobody does."""
        for machine in self._simulation.machines.values():
            sandbox = machine.runtime.sandbox_of(pid)
            if sandbox is None:
                continue
            place = sandbox.labels["pod-namespace"], sandbox.labels["pod-name"]
            server = self._simulation.behaviours.of(*place).listeners.get(port)
            if server is not None:
                return await asyncio.open_connection(*server)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    def _runtime(self, container_id: str) -> SimulatedRuntime:
        for machine in self._simulation.machines.values():
            if machine.runtime.is_running(container_id):
                return machine.runtime
        raise RuntimeFailure("NotFound", f"container {container_id} is not running")
