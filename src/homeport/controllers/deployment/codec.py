"""JSON trees to the values Deployment decisions are made on, and the ReplicaSets it makes."""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api.owners import controller_reference
from homeport.client.contract import Object
from homeport.clock import parse_time
from homeport.controllers.deployment.model import Condition, Create, Deployment, ReplicaSet, Status
from homeport.controllers.deployment.revisions import HASH_LABEL, ROLLBACK_TO
from homeport.controllers.deployment.scaling import resolve
from homeport.controllers.deployment.status import FAILURE

__all__ = ["decode_deployment", "decode_replica_set", "new_replica_set"]

NONE: Final = 2**31 - 1
"""What `progressDeadlineSeconds` and `revisionHistoryLimit` say for "none"."""


def decode_deployment(obj: Object) -> Deployment:
    metadata, spec = obj["metadata"], obj["spec"]
    replicas = 1 if spec.get("replicas") is None else spec["replicas"]
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
    limits = strategy.get("rollingUpdate") or {}
    surge, unavailable = (
        resolve(replicas, limits.get("maxSurge", 0), limits.get("maxUnavailable", 0)) if rolling else (0, 0)
    )
    annotations = metadata.get("annotations") or {}
    return Deployment(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        replicas=replicas,
        template=spec["template"],
        rolling=rolling,
        max_surge=surge,
        max_unavailable=unavailable,
        min_ready_seconds=spec.get("minReadySeconds") or 0,
        progress_deadline=_unless_none(spec.get("progressDeadlineSeconds")),
        history_limit=_unless_none(spec.get("revisionHistoryLimit")),
        paused=bool(spec.get("paused")),
        deleting="deletionTimestamp" in metadata,
        annotations=annotations,
        rollback_to=_rollback_to(annotations),
        status=_status(obj.get("status") or {}),
    )


def decode_replica_set(obj: Object) -> ReplicaSet:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    observed = status.get("observedGeneration", 0)
    return ReplicaSet(
        name=metadata["name"],
        uid=metadata["uid"],
        created=metadata.get("creationTimestamp") or "",
        replicas=1 if spec.get("replicas") is None else spec["replicas"],
        template=spec.get("template") or {},
        annotations=metadata.get("annotations") or {},
        min_ready_seconds=spec.get("minReadySeconds") or 0,
        actual=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        terminating=status.get("terminatingReplicas"),
        reported=observed > 0,
        observed=observed >= metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
        failures=tuple(
            Condition(
                FAILURE,
                each["status"],
                each.get("reason", ""),
                each.get("message", ""),
                _time(each.get("lastTransitionTime")),
                _time(each.get("lastTransitionTime")),
            )
            for each in status.get("conditions") or ()
            if each.get("type") == FAILURE
        ),
    )


def new_replica_set(owner: Object, step: Create) -> dict[str, Any]:
    """Return the ReplicaSet to create; the hash is in its name, its labels, its selector and its pods' labels."""
    spec, planned = owner["spec"], step.replica_set
    template, selector = spec["template"], spec["selector"]
    labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: step.digest}
    body: dict[str, Any] = {
        "replicas": planned.replicas,
        "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: step.digest}},
        "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
    }
    if planned.min_ready_seconds:
        body["minReadySeconds"] = planned.min_ready_seconds
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": planned.name,
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "annotations": dict(planned.annotations),
            "ownerReferences": [controller_reference(owner).as_json()],
        },
        "spec": body,
    }


def _status(status: Mapping[str, Any]) -> Status:
    return Status(
        observed_generation=status.get("observedGeneration", 0),
        replicas=status.get("replicas", 0),
        updated_replicas=status.get("updatedReplicas", 0),
        ready_replicas=status.get("readyReplicas", 0),
        available_replicas=status.get("availableReplicas", 0),
        unavailable_replicas=status.get("unavailableReplicas", 0),
        terminating_replicas=status.get("terminatingReplicas"),
        collision_count=status.get("collisionCount"),
        conditions=tuple(
            Condition(
                each["type"],
                each["status"],
                each.get("reason", ""),
                each.get("message", ""),
                _time(each.get("lastUpdateTime")),
                _time(each.get("lastTransitionTime")),
            )
            for each in status.get("conditions") or ()
        ),
    )


def _time(text: str | None) -> float:
    return parse_time(text) if text else 0.0


def _unless_none(value: int | None) -> int | None:
    return None if value == NONE else value


def _rollback_to(annotations: Mapping[str, str]) -> int | None:
    try:
        return int(annotations[ROLLBACK_TO])
    except (KeyError, ValueError):
        return None  # not asked for, or not in a way that can be read
