"""What a ReplicaSet reports. Source: `workloads` 8.4."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeport.controllers.replicaset.model import Condition, Pod, ReplicaSet, Status

__all__ = ["FAILURE", "encode", "report"]

FAILURE: Final = "ReplicaFailure"


def report(desired: ReplicaSet, pods: Iterable[Pod], failure: tuple[str, str] | None, now: float, stamp: str) -> Status:
    """Return the status of a ReplicaSet that controls `pods`.

    failure  reason and message when creating or deleting failed in this pass
    stamp    `now` as a timestamp
    """
    wanted: Mapping[str, str] = (desired.template.get("metadata") or {}).get("labels") or {}
    replicas = labelled = ready = available = terminating = 0
    for pod in pods:
        if pod.active:
            replicas += 1
            labelled += wanted.items() <= pod.labels.items()
            ready += pod.ready
            available += pod.ready and pod.available(now)
        elif pod.terminating and not pod.terminal:
            terminating += 1
    return Status(
        replicas=replicas,
        fully_labeled_replicas=labelled,
        ready_replicas=ready,
        available_replicas=available,
        terminating_replicas=terminating,
        observed_generation=desired.generation,
        conditions=_conditions(desired.status.conditions, failure, stamp),
    )


def _conditions(
    conditions: tuple[Condition, ...], failure: tuple[str, str] | None, stamp: str
) -> tuple[Condition, ...]:
    """Set the failure when there is none yet, take it away when all went well; it is not refreshed in between."""
    failing = any(condition.kind == FAILURE for condition in conditions)
    if failure is not None and not failing:
        return (*conditions, Condition(FAILURE, "True", failure[0], failure[1], stamp))
    if failure is None and failing:
        return tuple(condition for condition in conditions if condition.kind != FAILURE)
    return conditions


def encode(status: Status) -> dict[str, Any]:
    """Return the whole `status` object."""
    out: dict[str, Any] = {"replicas": status.replicas}
    optional = (
        ("fullyLabeledReplicas", status.fully_labeled_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("observedGeneration", status.observed_generation),
    )
    out |= {name: value for name, value in optional if value}
    if status.terminating_replicas is not None:
        out["terminatingReplicas"] = status.terminating_replicas
    if status.conditions:
        out["conditions"] = [
            {
                "type": condition.kind,
                "status": condition.status,
                "lastTransitionTime": condition.since,
                "reason": condition.reason,
                "message": condition.message,
            }
            for condition in status.conditions
        ]
    return out
