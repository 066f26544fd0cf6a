"""Finding again what an earlier agent started: the runtime's labels, and the pod's checkpoint beside them.

Source: `node` 15.4.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homeport.node.checkpoint import Saved
from homeport.node.lifecycle import NEW, ContainerState, Ended, Running
from homeport.node.pod import Pod
from homeport.node.records import KILLED_CODE, LOST_MESSAGE, Live
from homeport.node.runtime.contract import Container, Exit
from homeport.node.sandboxes import PodSandbox

__all__ = ["Adopted", "adopt"]


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a worker begins with.

    exits         ends nobody has recorded yet
    sandbox_lost  the pod had a sandbox, and it is no more
    """

    states: Mapping[str, ContainerState] = field(default_factory=dict)
    live: Mapping[str, Live] = field(default_factory=dict)
    exits: Sequence[Exit] = ()
    sandbox: PodSandbox | None = None
    next_sandbox_attempt: int = 0
    sandbox_lost: bool = False


def adopt(
    pod: Pod, containers: Sequence[Container], sandbox: PodSandbox | None, attempts: int, saved: Saved, now: float
) -> Adopted:
    """Return what there is of a pod: `containers` are the runtime's of this pod, `saved` its checkpoint."""
    states: dict[str, ContainerState] = {}
    live: dict[str, Live] = {}
    exits: list[Exit] = []
    for definition in pod.all():
        name = definition.name
        known = saved.get(name, NEW)
        instances = sorted(
            (one for one in containers if one.labels.get("container") == name),
            key=lambda one: int(one.labels.get("attempt", "0")),
        )
        if not instances:
            if known.ever_created or known.previous:
                states[name] = _vanished(known, now)
            continue
        for one in instances:
            attempt = int(one.labels.get("attempt", "0"))
            live[one.id] = Live(definition, one.id, attempt, asyncio.Event(), one.labels.get("stop-signal", ""))
            if one is not instances[-1]:
                live[one.id].ended.set()
        newest = instances[-1]
        states[name] = _adopted(newest, known, pod)
        if states[name].running is None:
            live[newest.id].ended.set()
        elif newest.exit is not None:
            exits.append(newest.exit)
    return Adopted(states, live, exits, sandbox, attempts, sandbox is None and bool(states))


def _adopted(newest: Container, known: ContainerState, pod: Pod) -> ContainerState:
    labels = newest.labels
    if known.ended is not None and known.ended.container_id == newest.id:
        return known
    same = known.running is not None and known.running.container_id == newest.id
    running = Running(
        newest.id,
        newest.started_at,
        labels.get("hash", ""),
        newest.pid,
        hooked=True,
        started=known.running.started if same and known.running else _reported(pod, newest.id, "started"),
        ready=known.running.ready if same and known.running else _reported(pod, newest.id, "ready"),
    )
    return ContainerState(
        running=running,
        previous=known.previous if same else known.ended or known.previous,
        restart_count=int(labels.get("attempt", "0")),
        image=labels.get("image", ""),
        image_id=labels.get("image-id", ""),
    )


def _reported(pod: Pod, container_id: str, what: str) -> bool:
    """What the API last heard of an instance, for one the checkpoint does not know."""
    for key in ("containerStatuses", "initContainerStatuses"):
        for entry in pod.status.get(key) or ():
            if str(entry.get("containerID") or "").endswith(f"://{container_id}"):
                return bool(entry.get(what))
    return False


def _vanished(known: ContainerState, now: float) -> ContainerState:
    """An instance the runtime no longer has: it ended, and nobody saw how (`node` 1.4)."""
    running = known.running
    if running is None:
        return known
    ended = Ended(
        running.container_id, KILLED_CODE, "ContainerStatusUnknown", now, running.started_at, LOST_MESSAGE, running.hash
    )
    return ContainerState(
        ended=ended,
        previous=known.previous,
        restart_count=known.restart_count,
        image=known.image,
        image_id=known.image_id,
    )
