"""The simulated side of `hands.Hands`: everything can be done, at once and in no time."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from homeport.node.pod import ProbeKind
from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.simulated import SimulatedRuntime
from homeport.testing.commands import Answer, ExecResult, converse
from homeport.testing.fleet import unanswered

if TYPE_CHECKING:
    from homeport.testing.cluster import SimulatedCluster

__all__ = ["SimulatedHands"]


class SimulatedHands:
    """Acts on the simulation behind a cluster."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self._cluster = cluster

    def _act(self, action: Callable[[], object]) -> None:
        self._cluster.act(action)

    def end_containers(self, namespace: str, pod: str, container: str, code: int | None, *, oom: bool) -> bool:
        crash = self._cluster.simulation.crash(
            namespace, pod, 1 if code is None else code, container=container, oom=oom
        )
        return self._cluster.run(crash)

    def set_probe(self, namespace: str, pod: str, kind: ProbeKind, *, fails: bool) -> None:
        self._act(lambda: self._cluster.simulation.fail_probe(namespace, pod, kind, fails=fails))

    def slow_start(self, namespace: str, pod: str, seconds: float) -> None:
        self._act(lambda: self._cluster.simulation.slow_start(namespace, pod, seconds))

    def print_lines(self, namespace: str, pod: str, lines: Sequence[str]) -> None:
        self._act(lambda: self._cluster.simulation.behaviours.print_lines(namespace, pod, tuple(lines)))

    def use(self, namespace: str, pod: str, container: str, cpu: int, memory: int) -> None:
        self._act(lambda: self._cluster.simulation.use(namespace, pod, cpu, memory, container=container))

    def answer_command(self, namespace: str, pod: str, answer: Answer) -> None:
        self._act(lambda: self._cluster.simulation.behaviours.answer_command(namespace, pod, answer))

    def listen(self, namespace: str, pod: str, port: int, server: tuple[str, int]) -> None:
        self._act(lambda: self._cluster.simulation.behaviours.listen(namespace, pod, port, server))

    def exec(self, namespace: str, pod: str, container: str, argv: Sequence[str], stdin: bytes) -> ExecResult:
        async def run() -> ExecResult:
            runtime, spec = self._running(namespace, pod, container)
            words = tuple(argv)
            if self._cluster.simulation.behaviours.answer(spec, words) is None:
                raise ValueError(unanswered(words, pod))
            return await converse(runtime, spec, ExecSpec(words, stdin=True), stdin)

        return self._cluster.run(run())

    def _running(self, namespace: str, pod: str, container: str) -> tuple[SimulatedRuntime, ContainerSpec]:
        for machine in self._cluster.simulation.machines.values():
            for spec in machine.runtime.specs():
                labels = spec.labels
                here = (labels["pod-namespace"], labels["pod-name"], labels["container"]) == (namespace, pod, container)
                if here and machine.runtime.is_running(spec.id):
                    return machine.runtime, spec
        raise ValueError(f"container {container} of pod {pod} does not run")

    def logs(self, namespace: str, pod: str, container: str) -> str:
        return self._cluster.look(lambda: "".join(_log(one) for one in self._newest(namespace, pod, container)))

    def _newest(self, namespace: str, pod: str, container: str) -> Sequence[ContainerSpec]:
        """Return the last instance of each container of the pod that has this name now."""
        uid = self._cluster.pods[f"{namespace}/{pod}"].uid
        newest: dict[str, ContainerSpec] = {}
        for machine in self._cluster.simulation.machines.values():
            for spec in machine.runtime.specs():
                if spec.labels["pod-uid"] == uid and container in ("", spec.labels["container"]):
                    newest[spec.labels["container"]] = spec
        return list(newest.values())

    def nodes(self) -> Sequence[str]:
        return tuple(self._cluster.simulation.machines)

    def lose_node(self, name: str) -> None:
        self._cluster.run(self._cluster.simulation.lose_node(name))

    def kill_agent(self, name: str) -> None:
        self._cluster.run(self._cluster.simulation.kill_agent(name))

    def start_node(self, name: str) -> None:
        self._act(lambda: self._cluster.simulation.return_node(name))

    def cut_node(self, name: str) -> None:
        self._act(lambda: self._cluster.simulation.cut(name))

    def join_node(self, name: str) -> None:
        self._act(lambda: self._cluster.simulation.join(name))


def _log(spec: ContainerSpec) -> str:
    if not spec.log_path.exists():
        return ""
    return "".join(line.split(" ", 3)[3] for line in spec.log_path.read_text().splitlines(keepends=True))
