"""What the worker of a pod knows of its containers, and how facts change it.

The one mutable place between the pure parts: every change goes through a method named after the fact, and tells
`changed`. Source: `node` sections 1.4 and 2.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from homeport.node.backoff import Backoff
from homeport.node.lifecycle import NEW, ContainerState, Ended, Running, Waiting
from homeport.node.pod import ContainerDef, ProbeKind
from homeport.node.runtime.contract import Container, Exit

__all__ = ["ContainerRecords", "Live", "exit_reason"]

KILLED_CODE = 137
START_ERROR_CODE = 128
LOST_MESSAGE = "The container could not be located when the pod was terminated"


def exit_reason(exit: Exit) -> str:
    """Return the word of a termination."""
    if not exit.known:
        return "ContainerStatusUnknown"
    if exit.oom_killed:
        return "OOMKilled"
    return "Completed" if exit.code == 0 else "Error"


@dataclass(slots=True)
class Live:
    """One instance the runtime has: `ended` is set when it has ended; `attempt` names its log."""

    container: ContainerDef
    container_id: str
    attempt: int
    ended: asyncio.Event
    stop_signal: str = ""


Message = Callable[[ContainerDef, str, Exit], str]
"""Reads the termination message of an instance."""


class ContainerRecords:
    """States by container name.

    changed  called after every change, with whether a status shows it
    """

    def __init__(self, changed: Callable[[bool], None], message: Message) -> None:
        self.states: dict[str, ContainerState] = {}
        self.live: dict[str, Live] = {}
        self._early: dict[str, Exit] = {}
        self._changed, self._message = changed, message

    def get(self, name: str) -> ContainerState:
        return self.states.get(name, NEW)

    def _set(self, name: str, state: ContainerState, *, shown: bool = True) -> None:
        if self.states.get(name) != state:
            self.states[name] = state
            self._changed(shown)

    def next_attempt(self, name: str) -> int:
        """Return the number of the next instance: 0 for the first."""
        state = self.get(name)
        return state.restart_count + 1 if state.ever_created or state.previous is not None else 0

    def busy(self, name: str, busy: bool) -> None:
        self._set(name, self.get(name)._replace(busy=busy), shown=False)

    def unavailable(self, name: str, waiting: Waiting, retry_at: float | None) -> None:
        """A start failed before there was an instance: it is shown as waiting, and tried again at `retry_at`."""
        self._set(name, self.get(name)._replace(waiting=waiting, retry_at=retry_at, busy=False))

    def retry_configuration(self) -> None:
        """Something a container refers to changed: what could not be configured may be tried at once."""
        for name, state in list(self.states.items()):
            if state.waiting is not None and state.waiting.reason == "CreateContainerConfigError":
                self._set(name, state._replace(retry_at=None))

    def expect(self, container: ContainerDef, container_id: str, attempt: int) -> Live:
        """An instance is about to be made: its exit may be heard of before its start has returned."""
        live = self.live[container_id] = Live(container, container_id, attempt, asyncio.Event())
        return live

    def never_created(self, container_id: str) -> None:
        """The runtime refused before there was an instance."""
        live = self.live.pop(container_id)
        live.ended.set()

    def begin(self, container: ContainerDef, now: float) -> None:
        """Count an attempt for the restart delay."""
        state = self.get(container.name)
        failed = state.ended
        backoff = state.backoff
        if failed is not None:
            backoff = backoff.next(failed.finished_at, now, container.backoff_key)
        elif backoff.key != container.backoff_key:
            backoff = Backoff(key=container.backoff_key)
        self._set(container.name, state._replace(backoff=backoff, retry_at=None), shown=False)

    def started(self, live: Live, container: Container, image: str, image_id: str) -> None:
        """An instance runs; if it has ended already, that follows at once."""
        name = live.container.name
        state = self.get(name)
        running = Running(live.container_id, container.started_at, live.container.hash, container.pid)
        self._set(
            name,
            state._replace(
                running=running,
                ended=None,
                previous=state.ended or state.previous,
                waiting=None,
                forced=False,
                restart_count=live.attempt,
                image=image,
                image_id=image_id,
            ),
        )
        if (exit := self._early.pop(live.container_id, None)) is not None:
            self.exited(exit)

    def start_failed(self, live: Live, waiting: Waiting, now: float) -> None:
        """An instance died before its program began: reason StartError, exit code 128 (`node` 1.4)."""
        name = live.container.name
        state = self.get(name)
        ended = Ended(live.container_id, START_ERROR_CODE, "StartError", now, 0.0, waiting.message, live.container.hash)
        live.ended.set()
        self._set(
            name,
            state._replace(
                running=None,
                ended=ended,
                previous=state.ended or state.previous,
                waiting=waiting,
                restart_count=live.attempt,
                busy=False,
            ),
        )

    def exited(self, exit: Exit) -> None:
        """An instance ended."""
        live = self.live.get(exit.container_id)
        if live is None or live.ended.is_set():
            return
        state = self.get(live.container.name)
        if state.running is None or state.running.container_id != exit.container_id:
            self._early[exit.container_id] = exit
            return
        ended = Ended(
            exit.container_id,
            exit.code,
            exit_reason(exit),
            exit.finished_at,
            state.running.started_at,
            self._message(live.container, exit.container_id, exit) if exit.known else LOST_MESSAGE,
            state.running.hash,
        )
        live.ended.set()
        self._set(live.container.name, state._replace(running=None, ended=ended))

    def force_restart(self, name: str) -> None:
        self._set(name, self.get(name)._replace(forced=True))

    def hooked(self, container_id: str) -> None:
        """Its postStart hook, if any, is done: without probes it is started and ready from this moment."""
        container = self.live[container_id].container
        started = container.probe(ProbeKind.STARTUP) is None
        ready = started and container.probe(ProbeKind.READINESS) is None
        self._update_running(container_id, hooked=True, started=started, ready=ready)

    def probe_started(self, container_id: str) -> None:
        self._update_running(container_id, started=True)

    def probe_ready(self, container_id: str, ready: bool) -> None:
        self._update_running(container_id, ready=ready)

    def probe_failed(self, container_id: str, kind: ProbeKind) -> None:
        self._update_running(container_id, failed_probe=kind)

    def _update_running(self, container_id: str, **changes: object) -> None:
        live = self.live.get(container_id)
        state = self.get(live.container.name) if live else NEW
        if live is None or state.running is None or state.running.container_id != container_id:
            return
        running = state.running._replace(**changes)  # type: ignore[arg-type]
        self._set(live.container.name, state._replace(running=running))

    def hook_failed(self, name: str, waiting: Waiting) -> None:
        """The instance that failed its postStart hook was ended: say so until it is started again."""
        self._set(name, self.get(name)._replace(waiting=waiting))

    def begin_anew(self, keep: Callable[[str, ContainerState], bool], now: float) -> None:
        """All instances are dead, or died with their sandbox: everything begins anew, counted as a restart.

        `keep` tells which ended ones need not run again.
        """
        for name, state in list(self.states.items()):
            if keep(name, state):
                continue
            ended = state.ended
            if state.running is not None:
                running = state.running
                ended = Ended(running.container_id, KILLED_CODE, "Error", now, running.started_at, "", running.hash)
                self.live[running.container_id].ended.set()
            fresh = state._replace(running=None, ended=None, previous=ended or state.previous, waiting=None, busy=False)
            self._set(name, fresh)

    def adopt(self, states: Mapping[str, ContainerState], live: Mapping[str, Live]) -> None:
        """Take over what an earlier agent left."""
        self.states.update(states)
        self.live.update(live)

    def dead_ids(self, name: str, keep: int = 1) -> list[str]:
        """Return ended instances beyond the newest `keep`, which the runtime may forget."""
        ended = [live for live in self.live.values() if live.container.name == name and live.ended.is_set()]
        ended.sort(key=lambda live: live.attempt)
        return [live.container_id for live in ended[: max(0, len(ended) - keep)]]

    def forget(self, container_id: str) -> None:
        self.live.pop(container_id, None)
