"""The simulated side: virtual time, programs that are only timers."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from homeport.node.pod import ProbeKind
from homeport.testing.cluster import SimulatedCluster
from tests.conformance.world import World

__all__ = ["SimulatedWorld"]

T = TypeVar("T")


class SimulatedWorld(World):
    """A namespace of a simulated cluster; `cluster` offers what goes wrong with nodes, requests and controllers."""

    runs_programs = False
    images = ("example.org/web:1", "example.org/web:2")

    def __init__(self, cluster: SimulatedCluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.client = cluster.simulation.client("conformance")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.cluster.run(coroutine)

    def now(self) -> float:
        return self.cluster.now

    def _clear(self) -> None:
        self.cluster.simulation.changed.clear()

    def _change(self, seconds: float) -> None:
        changed = self.cluster.simulation.changed

        async def wait() -> None:
            try:
                async with asyncio.timeout(seconds):
                    await changed.wait()
            except TimeoutError:
                return

        self.run(wait())

    def break_http_probe(self, pod: str) -> None:
        self.cluster.hands.set_probe(self.namespace, pod, ProbeKind.READINESS, fails=True)

    def mend_http_probe(self, pod: str) -> None:
        self.cluster.hands.set_probe(self.namespace, pod, ProbeKind.READINESS, fails=False)

    def fail_image(self, reference: str) -> None:
        self.cluster.fail_image(reference)

    def stops_with(self, pod: str, code: int) -> None:
        """Let the programs of a pod end with an exit code when they are told to stop."""
        behaviours = self.cluster.simulation.behaviours
        before = behaviours.of(self.namespace, pod)
        script = replace(before.script, stop_code=code)
        self.cluster.act(lambda: behaviours.set(self.namespace, pod, replace(before, script=script)))

    def execute(self, pod: str, *command: str, container: str = "") -> str:
        raise AssertionError(f"nobody runs {command} here: ask `runs_programs` first")

    def resolve(self, name: str, kind: str = "A") -> set[str]:
        return set(self.cluster.resolve(name, kind, namespace=self.namespace))
