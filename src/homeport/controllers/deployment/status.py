"""What a Deployment reports: counters, and whether it is available, progressing or failing.

Source: `workloads` 9.4 (pause) and 9.7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from homeport.clock import rfc3339
from homeport.controllers.deployment.model import Condition, Deployment, ReplicaSet, Status
from homeport.controllers.deployment.scaling import total

__all__ = [
    "AVAILABLE",
    "FAILURE",
    "PROGRESSING",
    "complete",
    "condition",
    "count",
    "deadline",
    "encode",
    "judge",
    "note_pause",
    "with_condition",
]

AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
FAILURE: Final = "ReplicaFailure"
TIMED_OUT: Final = "ProgressDeadlineExceeded"
DONE: Final = "NewReplicaSetAvailable"


def condition(status: Status, kind: str) -> Condition | None:
    return next((each for each in status.conditions if each.kind == kind), None)


def with_condition(status: Status, new: Condition) -> Status:
    """Return `status` with a condition set; the same status and reason leave the one that is there untouched."""
    old = condition(status, new.kind)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return status
    if old is not None and old.status == new.status:
        new = replace(new, since=old.since)
    return replace(_without(status, new.kind), conditions=(*_without(status, new.kind).conditions, new))


def _without(status: Status, kind: str) -> Status:
    return replace(status, conditions=tuple(each for each in status.conditions if each.kind != kind))


def note_pause(desired: Deployment, now: float) -> Status:
    """Return the Deployment's status with the flip of `paused` noted, which restarts the deadline."""
    current = condition(desired.status, PROGRESSING)
    if desired.progress_deadline is None or (current is not None and current.reason == TIMED_OUT):
        return desired.status
    noted = current is not None and current.reason == "DeploymentPaused"
    if desired.paused == noted:
        return desired.status
    reason, message = (
        ("DeploymentPaused", "Deployment is paused")
        if desired.paused
        else ("DeploymentResumed", "Deployment is resumed")
    )
    return with_condition(desired.status, Condition(PROGRESSING, "Unknown", reason, message, now, now))


def count(desired: Deployment, new: ReplicaSet | None, everyone: Sequence[ReplicaSet], now: float) -> Status:
    """Return the counters and the condition Available; other conditions are carried over."""
    available = sum(each.available for each in everyone)
    untold = any(each.reported and each.terminating is None for each in everyone)
    status = replace(
        desired.status,
        observed_generation=desired.generation,
        replicas=sum(each.actual for each in everyone),
        updated_replicas=new.actual if new is not None else 0,
        ready_replicas=sum(each.ready for each in everyone),
        available_replicas=available,
        unavailable_replicas=max(0, total(everyone) - available),
        terminating_replicas=None if untold else sum(each.terminating or 0 for each in everyone),
    )
    if available >= desired.fewest:
        verdict = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        verdict = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    return with_condition(status, Condition(AVAILABLE, *verdict, now, now))


def complete(desired: Deployment, status: Status) -> bool:
    """Whether every pod is of the new template and available, and the status speaks of this generation."""
    return (
        desired.replicas == status.updated_replicas == status.replicas == status.available_replicas
        and status.observed_generation >= desired.generation
    )


def judge(
    desired: Deployment, new: ReplicaSet | None, everyone: Iterable[ReplicaSet], status: Status, now: float
) -> Status:
    """Return `status` with progress and failures judged against what was reported before."""
    before = desired.status
    current = condition(before, PROGRESSING)
    about = f'ReplicaSet "{new.name}"' if new is not None else f'Deployment "{desired.name}"'
    settled = current is not None and current.reason == DONE and status.replicas == status.updated_replicas
    if desired.progress_deadline is None:
        status = _without(status, PROGRESSING)
    elif not settled:
        if complete(desired, status):
            message = f"{about} has successfully progressed."
            status = with_condition(status, Condition(PROGRESSING, "True", DONE, message, now, now))
        elif _progressed(before, status):
            since = current.since if current is not None and current.status == "True" else now
            made = Condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{about} is progressing.", now, since)
            status = with_condition(_without(status, PROGRESSING), made)
        elif _timed_out(desired, status, now):
            message = f"{about} has timed out progressing."
            status = with_condition(status, Condition(PROGRESSING, "False", TIMED_OUT, message, now, now))
    failures = (new.failures if new is not None else ()) or tuple(f for each in everyone for f in each.failures)
    if failures:
        return with_condition(status, failures[0])
    return _without(status, FAILURE)


def deadline(desired: Deployment, status: Status) -> float | None:
    """Return the epoch second at which a stuck rollout counts as timed out; None when nothing is waited for."""
    current = condition(status, PROGRESSING)
    if desired.progress_deadline is None or current is None or current.reason in (TIMED_OUT, DONE):
        return None
    return None if complete(desired, status) else current.updated + desired.progress_deadline + 1.0


def _progressed(before: Status, now: Status) -> bool:
    return (
        now.updated_replicas > before.updated_replicas
        or now.replicas - now.updated_replicas < before.replicas - before.updated_replicas
        or now.ready_replicas > before.ready_replicas
        or now.available_replicas > before.available_replicas
    )


def _timed_out(desired: Deployment, status: Status, now: float) -> bool:
    current = condition(status, PROGRESSING)
    if current is None or current.reason == DONE or desired.progress_deadline is None:
        return False
    return current.reason == TIMED_OUT or current.updated + desired.progress_deadline < now


def encode(status: Status) -> dict[str, Any]:
    """Return the whole `status` object."""
    optional = (
        ("observedGeneration", status.observed_generation),
        ("replicas", status.replicas),
        ("updatedReplicas", status.updated_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("unavailableReplicas", status.unavailable_replicas),
    )
    out: dict[str, Any] = {name: value for name, value in optional if value}
    if status.terminating_replicas is not None:
        out["terminatingReplicas"] = status.terminating_replicas
    if status.conditions:
        out["conditions"] = [
            {
                "type": each.kind,
                "status": each.status,
                "lastUpdateTime": rfc3339(each.updated),
                "lastTransitionTime": rfc3339(each.since),
                "reason": each.reason,
                "message": each.message,
            }
            for each in status.conditions
        ]
    if status.collision_count is not None:
        out["collisionCount"] = status.collision_count
    return out
