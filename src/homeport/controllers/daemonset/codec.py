"""JSON trees to the values DaemonSet decisions are made on, and what it makes."""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_reference
from homeport.client.contract import Object
from homeport.controllers import history
from homeport.controllers.daemonset.model import DaemonSet, Node, Pod, Status
from homeport.controllers.daemonset.placement import affinity_to, target_of, tolerations_of
from homeport.controllers.pod_template import pod_metadata

__all__ = [
    "HASH_LABEL",
    "decode_node",
    "decode_pod",
    "decode_set",
    "encode_status",
    "new_pod",
    "new_revision",
]

HASH_LABEL: Final = "controller-revision-hash"
GENERATION_LABEL: Final = "pod-template-generation"
GENERATION_ANNOTATION: Final = "deprecated.daemonset.template.generation"


def decode_set(obj: Object) -> DaemonSet:
    metadata, spec = obj["metadata"], obj["spec"]
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    limit = spec.get("revisionHistoryLimit")
    return DaemonSet(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        template=spec["template"],
        template_generation=(metadata.get("annotations") or {}).get(GENERATION_ANNOTATION, ""),
        on_delete=strategy.get("type") == "OnDelete",
        max_surge=rolling.get("maxSurge", 0),
        max_unavailable=rolling.get("maxUnavailable", 1),
        min_ready_seconds=spec.get("minReadySeconds") or 0,
        history_limit=10 if limit is None else limit,
        deleting="deletionTimestamp" in metadata,
        status=_status(obj.get("status") or {}),
    )


def decode_pod(pod: Object, min_ready_seconds: int) -> Pod:
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        target=target_of(pod["spec"]),
        bound=bool(pod["spec"].get("nodeName")),
        digest=labels.get(HASH_LABEL, ""),
        template_generation=labels.get(GENERATION_LABEL, ""),
        phase=pod_rules.phase(pod),
        ready=pod_rules.is_ready(pod),
        available_after=pod_rules.available_after(pod, min_ready_seconds),
        terminating=pod_rules.is_terminating(pod),
        created=metadata.get("creationTimestamp") or "",
    )


def decode_node(node: Object) -> Node:
    metadata = node["metadata"]
    return Node(metadata["name"], metadata.get("labels") or {}, tuple((node.get("spec") or {}).get("taints") or ()))


def new_pod(owner: Object, node: str, digest: str, template_generation: str) -> dict[str, Any]:
    """Return the pod for a node: the scheduler puts it there, because its affinity names no other."""
    template, about = owner["spec"]["template"], owner["metadata"]
    spec = template["spec"]
    labels = {HASH_LABEL: digest}
    if template_generation:
        labels[GENERATION_LABEL] = template_generation
    metadata = pod_metadata(template, about["namespace"], controller_reference(owner), labels)
    metadata["generateName"] = about["name"] + "-"
    placed = {
        **spec,
        "affinity": affinity_to(spec.get("affinity"), node),
        "tolerations": list(tolerations_of(spec)),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": placed}


def new_revision(owner: Object, number: int, digest: str) -> dict[str, Any]:
    template = owner["spec"]["template"]
    labels: Mapping[str, str] = (template.get("metadata") or {}).get("labels") or {}
    metadata: dict[str, Any] = {
        "name": f"{owner['metadata']['name']}-{digest}",
        "namespace": owner["metadata"]["namespace"],
        "labels": {**labels, HASH_LABEL: digest},
        "ownerReferences": [controller_reference(owner).as_json()],
    }
    if owner["metadata"].get("annotations"):
        metadata["annotations"] = owner["metadata"]["annotations"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": history.template_data(template),
        "revision": number,
    }


def encode_status(status: Status) -> dict[str, Any]:
    """Return the whole `status` object."""
    out: dict[str, Any] = {
        "currentNumberScheduled": status.current,
        "numberMisscheduled": status.misscheduled,
        "desiredNumberScheduled": status.desired,
        "numberReady": status.ready,
    }
    optional = (
        ("observedGeneration", status.observed_generation),
        ("updatedNumberScheduled", status.updated),
        ("numberAvailable", status.available),
        ("numberUnavailable", status.unavailable),
    )
    out |= {name: value for name, value in optional if value}
    if status.collision_count is not None:
        out["collisionCount"] = status.collision_count
    return out


def _status(status: Mapping[str, Any]) -> Status:
    return Status(
        current=status.get("currentNumberScheduled", 0),
        misscheduled=status.get("numberMisscheduled", 0),
        desired=status.get("desiredNumberScheduled", 0),
        ready=status.get("numberReady", 0),
        observed_generation=status.get("observedGeneration", 0),
        updated=status.get("updatedNumberScheduled", 0),
        available=status.get("numberAvailable", 0),
        unavailable=status.get("numberUnavailable", 0),
        collision_count=status.get("collisionCount"),
    )
