"""JSON trees to the values StatefulSet decisions are made on."""

from collections.abc import Mapping
from typing import Any

from homeport.api import pods as pod_rules
from homeport.api.gates import MAX_UNAVAILABLE_STATEFUL_SET
from homeport.api.owners import owners_of
from homeport.client.contract import Object
from homeport.controllers.statefulset import identity
from homeport.controllers.statefulset.model import Claim, ClaimTemplate, Pod, Retention, StatefulSet, Status

__all__ = ["decode_claim", "decode_pod", "decode_set"]


def decode_set(obj: Object, gates: frozenset[str] = frozenset()) -> StatefulSet:
    """Return a set as specified; `gates` are the feature gates that are open."""
    metadata, spec = obj["metadata"], obj["spec"]
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    return StatefulSet(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        replicas=_or(spec.get("replicas"), 1),
        template=spec["template"],
        service=spec.get("serviceName") or "",
        start=(spec.get("ordinals") or {}).get("start") or 0,
        ordered=spec.get("podManagementPolicy") != "Parallel",
        on_delete=strategy.get("type") == "OnDelete",
        partition=None if rolling is None else rolling.get("partition") or 0,
        max_unavailable=(
            _most(rolling, _or(spec.get("replicas"), 1)) if MAX_UNAVAILABLE_STATEFUL_SET in gates else None
        ),
        min_ready_seconds=spec.get("minReadySeconds") or 0,
        history_limit=_or(spec.get("revisionHistoryLimit"), 10),
        retention=Retention(
            delete_with_set=retention.get("whenDeleted") == "Delete",
            delete_when_scaled=retention.get("whenScaled") == "Delete",
        ),
        claim_templates=tuple(
            _claim_template(template, spec.get("selector") or {}) for template in spec.get("volumeClaimTemplates") or ()
        ),
        deleting="deletionTimestamp" in metadata,
        status=_status(obj.get("status") or {}),
    )


def _most(rolling: Mapping[str, Any] | None, replicas: int) -> int:
    """Return how many pods may be missing: percentages of all replicas round down, but never to none."""
    amount = _or((rolling or {}).get("maxUnavailable"), 1)
    number = int(amount.removesuffix("%")) * replicas // 100 if isinstance(amount, str) else int(amount)
    return max(1, number)


def decode_pod(pod: Object, min_ready_seconds: int) -> Pod:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    return Pod(
        name=metadata["name"],
        ordinal=identity.split_name(metadata["name"])[1],
        uid=metadata["uid"],
        revision=labels.get(identity.REVISION_LABEL, ""),
        phase=pod_rules.phase(pod),
        ready=pod_rules.is_ready(pod),
        available_after=pod_rules.available_after(pod, min_ready_seconds),
        terminating=pod_rules.is_terminating(pod),
        name_label=labels.get(identity.NAME_LABEL, ""),
        claims={
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"].get("volumes") or ()
            if volume.get("persistentVolumeClaim")
        },
    )


def decode_claim(claim: Object) -> Claim:
    metadata = claim["metadata"]
    version = metadata.get("resourceVersion", "")
    return Claim(metadata["name"], metadata["uid"], "deletionTimestamp" in metadata, tuple(owners_of(claim)), version)


def _claim_template(template: Mapping[str, Any], selector: Mapping[str, Any]) -> ClaimTemplate:
    metadata = template.get("metadata") or {}
    return ClaimTemplate(
        metadata["name"],
        {**(metadata.get("labels") or {}), **(selector.get("matchLabels") or {})},
        metadata.get("annotations") or {},
        template["spec"],
    )


def _status(status: Mapping[str, Any]) -> Status:
    return Status(
        observed_generation=status.get("observedGeneration", 0),
        replicas=status.get("replicas", 0),
        ready_replicas=status.get("readyReplicas", 0),
        current_replicas=status.get("currentReplicas", 0),
        updated_replicas=status.get("updatedReplicas", 0),
        available_replicas=status.get("availableReplicas", 0),
        current_revision=status.get("currentRevision", ""),
        update_revision=status.get("updateRevision", ""),
        collision_count=status.get("collisionCount"),
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
