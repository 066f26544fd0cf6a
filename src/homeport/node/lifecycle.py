"""What a pod's containers should do next: a function of the spec, what is observed, and the time.

`plan` decides and touches nothing; the worker performs the answer and asks again when anything changed. Start order
is `node` section 3.1, restarts are section 2, terminal outcomes section 1.2. Stopping, once begun, is a
procedure of its own (`stopping`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from homeport.durations import format_duration
from homeport.node.backoff import Backoff
from homeport.node.pod import RESTART_ALL, ContainerDef, Kind, Pod, ProbeKind, RestartPolicy

__all__ = ["ContainerState", "Ended", "Plan", "Running", "Stop", "Waiting", "may_restart", "plan"]


NO_BACKOFF: Final = Backoff()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run: a CamelCase word and a text."""

    reason: str
    message: str = ""


class Running(NamedTuple):
    """The instance that runs. `started`: hook done and startup probe passed. `failed_probe` asks for its end."""

    container_id: str
    started_at: float
    hash: str
    pid: int = 0
    hooked: bool = False
    started: bool = False
    ready: bool = False
    failed_probe: ProbeKind | None = None


class Ended(NamedTuple):
    """An instance that ended. Times in epoch seconds; `started_at` 0 when it never ran."""

    container_id: str
    code: int
    reason: str
    finished_at: float
    started_at: float = 0.0
    message: str = ""
    hash: str = ""


class ContainerState(NamedTuple):
    """What is known of one container of the pod. A tuple: it is replaced with every step of every container.

    running   the live instance
    ended     the newest instance, once it ended
    previous  the one before the newest instance
    waiting   why the newest attempt to start one failed, or is delayed
    retry_at  when a start that failed without leaving an instance may be tried again, epoch seconds
    forced    the newest instance was ended for a changed definition: it starts again whatever the policy
    busy      the worker is starting or stopping it
    """

    running: Running | None = None
    ended: Ended | None = None
    previous: Ended | None = None
    waiting: Waiting | None = None
    retry_at: float | None = None
    restart_count: int = 0
    backoff: Backoff = NO_BACKOFF
    forced: bool = False
    busy: bool = False
    image: str = ""
    image_id: str = ""

    @property
    def ever_created(self) -> bool:
        return self.running is not None or self.ended is not None


NEW: Final = ContainerState()


@dataclass(frozen=True, slots=True)
class Stop:
    """End one container; `message` is the event's text, `grace` overrides the pod's, in seconds."""

    name: str
    message: str
    grace: int | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    start     the containers to start now: at most one of the ordered ones, and any ephemeral ones
    stop      the containers to stop
    waiting   names whose next start is delayed, with the word and text to show
    wake_at   when time alone changes the answer, epoch seconds
    restart_all  the container whose end restarts the whole pod in place; then nothing else is to be done
    finished  nothing will ever run again for the pod's sake: stop what still runs and publish the end
    """

    start: tuple[str, ...] = ()
    stop: tuple[Stop, ...] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    wake_at: float | None = None
    restart_all: str = ""
    finished: bool = False


def may_restart(pod: Pod, container: ContainerDef, code: int | None) -> bool:
    """Return whether an instance that ended with `code` (None: no instance yet) may be followed by another."""
    if pod.deleting:
        return False
    if code is None:
        return True
    if container.kind is Kind.EPHEMERAL:
        return False
    for rule in container.restart_rules:
        if rule.matches(code):
            return True
    policy = container.restart_policy or pod.restart_policy
    if container.kind is Kind.INIT and policy is RestartPolicy.ALWAYS:
        policy = RestartPolicy.ON_FAILURE
    if policy is RestartPolicy.ON_FAILURE:
        return code != 0
    return policy is RestartPolicy.ALWAYS


def _restartable(pod: Pod, container: ContainerDef, state: ContainerState) -> bool:
    if state.ended is None:
        return may_restart(pod, container, None)
    return may_restart(pod, container, state.ended.code) or (state.forced and not pod.deleting)


def initialised(pod: Pod, states: Mapping[str, ContainerState]) -> bool:
    """Return whether the init containers are behind us: all done, or a regular container has already been."""
    if any(states.get(container.name, NEW).ever_created for container in pod.containers):
        return True
    return all(_init_done(container, states.get(container.name, NEW)) for container in pod.init)


def _init_done(container: ContainerDef, state: ContainerState) -> bool:
    if container.kind is Kind.SIDECAR:
        return state.running is not None and state.running.started
    return state.ended is not None and state.ended.code == 0 and state.running is None


def plan(pod: Pod, states: Mapping[str, ContainerState], now: float) -> Plan:
    """Return what to do for a pod that has its sandbox and volumes and is not being ended."""
    if source := _restart_source(pod, states):
        return Plan(restart_all=source)
    steps = _Steps(pod, states, now)
    done_initialising = initialised(pod, states)
    steps.consider_running()
    steps.consider_ephemeral()
    if done_initialising:
        steps.consider_sidecars_again()
        finished = steps.consider_regular()
    else:
        finished = steps.consider_init()
    return Plan(tuple(steps.start), tuple(steps.stop), steps.waiting, steps.wake_at, finished=finished)


def _restart_source(pod: Pod, states: Mapping[str, ContainerState]) -> str:
    """Return the name of a container that ended with a code whose rule restarts all, empty for none (`node` 2.4)."""
    if pod.deleting or not pod.may_restart_all:
        return ""
    for container in (*pod.init, *pod.containers):
        ended = states.get(container.name, NEW).ended
        if ended is None or states[container.name].running is not None:
            continue
        rule = next((rule for rule in container.restart_rules if rule.matches(ended.code)), None)
        if rule is not None and rule.action == RESTART_ALL:
            return container.name
    return ""


class _Steps:
    """The plan while it is being made."""

    def __init__(self, pod: Pod, states: Mapping[str, ContainerState], now: float) -> None:
        self.pod, self.states, self.now = pod, states, now
        self.start: list[str] = []
        self.stop: list[Stop] = []
        self.waiting: dict[str, Waiting] = {}
        self.wake_at: float | None = None
        self.taken = any(
            self.state(container).busy and self.state(container).running is None
            for container in (*pod.init, *pod.containers)
        ) or any(self._hooking(container) for container in (*pod.init, *pod.containers))

    def state(self, container: ContainerDef) -> ContainerState:
        return self.states.get(container.name, NEW)

    def _hooking(self, container: ContainerDef) -> bool:
        running = self.state(container).running
        return running is not None and not running.hooked

    def consider_running(self) -> None:
        """Stop what runs and must not: a failed probe, a changed image."""
        for container in (*self.pod.init, *self.pod.containers):
            state = self.state(container)
            if state.running is None or state.busy:
                continue
            prefix = "Init container" if container.kind is not Kind.REGULAR else "Container"
            if (failed := state.running.failed_probe) is not None:
                probe = container.probe(failed)
                text = f"{prefix} {container.name} failed {failed.value.lower()} probe, will be restarted"
                self.stop.append(Stop(container.name, text, probe.grace if probe else None))
            elif state.running.hash != container.hash:
                text = f"{prefix} {container.name} definition changed, will be restarted"
                self.stop.append(Stop(container.name, text, forced=True))

    def consider_ephemeral(self) -> None:
        for container in self.pod.ephemeral:
            state = self.state(container)
            if not state.ever_created and not state.busy and self._due(container, state):
                self.start.append(container.name)

    def consider_init(self) -> bool:
        """Walk the init containers in order; the first unfinished one is what is going on."""
        for container in self.pod.init:
            state = self.state(container)
            if _init_done(container, state):
                continue
            if state.running is None and not state.busy:
                if not _restartable(self.pod, container, state):
                    return True
                self._start(container, state)
            elif container.kind is Kind.SIDECAR or state.running is not None:
                self._restart_earlier_sidecars(container)
            return False
        return False

    def _restart_earlier_sidecars(self, current: ContainerDef) -> None:
        for container in self.pod.init:
            if container is current:
                return
            state = self.state(container)
            if container.kind is Kind.SIDECAR and state.running is None and not state.busy:
                self._start(container, state)

    def consider_sidecars_again(self) -> None:
        if self._regular_over():
            return
        for container in self.pod.init:
            state = self.state(container)
            if container.kind is Kind.SIDECAR and state.running is None and not state.busy:
                self._start(container, state)

    def _regular_over(self) -> bool:
        return all(
            state.running is None and not state.busy and not _restartable(self.pod, container, state)
            for container, state in ((c, self.state(c)) for c in self.pod.containers)
        )

    def consider_regular(self) -> bool:
        for container in self.pod.containers:
            state = self.state(container)
            if state.running is None and not state.busy and _restartable(self.pod, container, state):
                self._start(container, state)
        return self._regular_over()

    def _start(self, container: ContainerDef, state: ContainerState) -> None:
        """Start it unless another one is being started (it is asked again) or it must wait."""
        if self._due(container, state) and not self.taken:
            self.taken = True
            self.start.append(container.name)

    def _due(self, container: ContainerDef, state: ContainerState) -> bool:
        if state.retry_at is not None and state.retry_at > self.now:
            self._wake(state.retry_at)
            return False
        if state.ended is None:
            return True
        failed_at = state.ended.finished_at
        left = state.backoff.remaining(failed_at, self.now, container.backoff_key)
        if not left:
            return True
        self.waiting[container.name] = Waiting(
            "CrashLoopBackOff",
            f"back-off {format_duration(state.backoff.delay)} restarting failed"
            f" container={container.name} pod={self.pod}",
        )
        self._wake(self.now + left)
        return False

    def _wake(self, at: float) -> None:
        self.wake_at = at if self.wake_at is None else min(self.wake_at, at)
