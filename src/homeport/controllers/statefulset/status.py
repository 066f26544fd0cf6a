"""What a set reports about its pods. Source: `workloads` 7.1."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from homeport.controllers.statefulset.model import Pod, StatefulSet, Status

__all__ = ["completed", "count", "differs", "encode"]


def count(status: Status, pods: Iterable[Pod], now: float) -> Status:
    """Return `status` with the counters of `pods`; a planned pod counts nowhere."""
    replicas = ready = available = current = updated = 0
    for pod in pods:
        if not pod.created:
            continue
        replicas += 1
        if pod.running_and_ready:
            ready += 1
            available += pod.available(now)
        if not pod.terminating:
            current += pod.revision == status.current_revision
            updated += pod.revision == status.update_revision
    return replace(
        status,
        replicas=replicas,
        ready_replicas=ready,
        available_replicas=available,
        current_replicas=current,
        updated_replicas=updated,
    )


def completed(desired: StatefulSet, status: Status) -> Status:
    """Return `status` with the update declared done once every replica is updated and ready."""
    done = desired.replicas == status.replicas == status.ready_replicas == status.updated_replicas
    if desired.on_delete or not done:
        return status
    return replace(status, current_revision=status.update_revision, current_replicas=status.updated_replicas)


def differs(old: Status, new: Status) -> bool:
    """Whether the new status is worth a write; a collision count alone is not."""
    if new.observed_generation > old.observed_generation:
        return True
    neutral = {"observed_generation": 0, "collision_count": None}
    return replace(old, **neutral) != replace(new, **neutral)  # type: ignore[arg-type]


def encode(status: Status) -> dict[str, Any]:
    """Return the whole `status` object: zero counters are left out where upstream leaves them out."""
    out: dict[str, Any] = {"observedGeneration": status.observed_generation, "replicas": status.replicas}
    optional = (
        ("readyReplicas", status.ready_replicas),
        ("currentReplicas", status.current_replicas),
        ("updatedReplicas", status.updated_replicas),
        ("currentRevision", status.current_revision),
        ("updateRevision", status.update_revision),
    )
    out |= {name: value for name, value in optional if value}
    if status.collision_count is not None:
        out["collisionCount"] = status.collision_count
    out["availableReplicas"] = status.available_replicas
    return out
