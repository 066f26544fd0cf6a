"""What simulated programs do: by pod name, so that a pod created anew behaves as the one before it; or by image, for
programs that end by themselves, as those of Jobs do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from homeport.clock import Clock
from homeport.node.handlers import Outcome, Target
from homeport.node.pod import ExecAction, HttpAction, Pod, Probe, ProbeKind
from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.simulated import Script, SimulatedExec
from homeport.testing.commands import Answer, chosen, perform

__all__ = ["Behaviour", "Behaviours", "Ending", "Program", "Start"]


@dataclass(frozen=True, slots=True)
class Start:
    """A container that starts.

    command      its complete words: entrypoint, command and args combined and expanded
    environment  its variables
    attempt      how often it was restarted in its pod before
    """

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    attempt: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How a program ends: by itself so many seconds after its start, and when it is told to stop.

    after        None: it runs until it is stopped
    stops_after  seconds from SIGTERM to its end with `stop_code`; None: it takes no notice
    """

    after: float | None = None
    code: int = 0
    stops_after: float | None = 0.0
    stop_code: int = 0


Program: TypeAlias = Callable[[Start], Ending | None]
"""Says how a start of it ends; None: it runs until it is stopped, at once when it is told."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the programs of one pod fare.

    failing        the kinds of probe that fail
    slow_seconds   how long after its start a program answers probes; without probes, how long its start takes
    script         what its containers do besides
    answers        what commands in its containers print, and how they end
    loads          what its containers use by name, "" for those not named: thousandths of a processor, and bytes
    listeners      who answers at its ports: address and port of a server of the test, by the pod's port
    """

    failing: frozenset[ProbeKind] = frozenset()
    slow_seconds: float = 0.0
    script: Script = field(default_factory=Script)
    answers: tuple[Answer, ...] = ()
    loads: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    listeners: Mapping[int, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Behaviours:
    """The behaviour of every pod, by namespace and name; those not named do as `default` says.

    programs  how the programs of images end, by the image's reference
    probed    whether a container, by namespace, pod and name, has a probe that tells when it has come up
    hears     whether a pod, by namespace and name, reaches enough others of its kind to call itself ready
    """

    clock: Clock
    probed: Callable[[str, str, str], bool]
    default: Behaviour = Behaviour()
    by_pod: dict[tuple[str, str], Behaviour] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    hears: Callable[[str, str], bool] = lambda namespace, name: True

    def of(self, namespace: str, name: str) -> Behaviour:
        return self.by_pod.get((namespace, name), self.default)

    def set(self, namespace: str, name: str, behaviour: Behaviour) -> None:
        self.by_pod[namespace, name] = behaviour

    def print_lines(self, namespace: str, name: str, lines: tuple[str, ...]) -> None:
        """Let the containers of a pod print these lines from their next start on."""
        before = self.of(namespace, name)
        self.set(namespace, name, replace(before, script=replace(before.script, output=lines)))

    def use(self, namespace: str, name: str, container: str, cpu: int, memory: int) -> None:
        """Let containers of a pod use so much from their next start on."""
        before = self.of(namespace, name)
        loads = {**(before.loads if container else {}), container: (cpu, memory)}
        self.set(namespace, name, replace(before, loads=loads))

    def script(self, spec: ContainerSpec) -> Script:
        """Return what a container that starts now will do."""
        namespace, name = spec.labels["pod-namespace"], spec.labels["pod-name"]
        behaviour = self.of(namespace, name)
        self.started[spec.id] = self.clock.now()
        loads = behaviour.loads
        cpu, memory = loads.get(spec.labels["container"]) or loads.get("") or (0, 0)
        script = replace(self._played(spec, behaviour.script), cpu=cpu, memory=memory)
        if behaviour.slow_seconds and not self.probed(namespace, name, spec.labels["container"]):
            return replace(script, starts_in=behaviour.slow_seconds)
        return script

    def _played(self, spec: ContainerSpec, script: Script) -> Script:
        program = self.programs.get(spec.labels["image"])
        ending = program(_start(spec)) if program is not None else None
        if ending is None:
            return script
        return replace(
            script, runs_for=ending.after, code=ending.code, stop_after=ending.stops_after, stop_code=ending.stop_code
        )

    def answer_command(self, namespace: str, name: str, answer: Answer) -> None:
        """Let commands in containers of a pod be answered so from now on."""
        before = self.of(namespace, name)
        kept = tuple(one for one in before.answers if (one.words, one.container) != (answer.words, answer.container))
        self.set(namespace, name, replace(before, answers=(*kept, answer)))

    def listen(self, namespace: str, name: str, port: int, server: tuple[str, int]) -> None:
        """Let a server of the test answer at a port of a pod from now on."""
        before = self.of(namespace, name)
        self.set(namespace, name, replace(before, listeners={**before.listeners, port: server}))

    def answer(self, spec: ContainerSpec, argv: Sequence[str]) -> Answer | None:
        """Return what a command in a container is answered with, if anything was said about it."""
        labels = spec.labels
        return chosen(self.of(labels["pod-namespace"], labels["pod-name"]).answers, labels["container"], argv)

    async def command(self, container: ContainerSpec, spec: ExecSpec, streams: SimulatedExec) -> int:
        """Play a command (`ExecHandler`). One that nothing was said about, such as a hook, just succeeds."""
        answer = self.answer(container, spec.argv)
        return await perform(answer, spec, streams) if answer is not None else 0

    async def probe(self, pod: Pod, probe: Probe, target: Target) -> Outcome:
        """Answer a probe (`handlers.Prober`)."""
        behaviour = self.of(pod.namespace, pod.name)
        kinds = [kind for kind, one in (target.container.probes or {}).items() if one is probe]
        slow = self.clock.now() - self.started.get(target.container_id, 0.0) < behaviour.slow_seconds
        alone = ProbeKind.READINESS in kinds and not self.hears(pod.namespace, pod.name)
        if slow or alone or any(kind in behaviour.failing for kind in kinds):
            return Outcome(False, _complaint(probe, target))
        if isinstance(probe.handler, ExecAction):
            answer = chosen(behaviour.answers, target.container.name, probe.handler.command)
            return Outcome(answer is None or answer.code == 0)
        return Outcome(True)


def _start(spec: ContainerSpec) -> Start:
    labels = spec.labels
    return Start(
        labels["pod-namespace"], labels["pod-name"], labels["container"], spec.argv, dict(spec.environment),
        int(labels["attempt"]),
    )  # fmt: skip


def _complaint(probe: Probe, target: Target) -> str:
    match probe.handler:
        case HttpAction():
            return "HTTP probe failed with statuscode: 503"
        case ExecAction(command):
            return f"{command[0]}: exit code 1"
        case _:
            return f"dial tcp {target.address}: connect: connection refused"
