"""JSON trees to the values ReplicaSet decisions are made on, and the pods it makes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_reference
from homeport.client.contract import Object
from homeport.clock import parse_time
from homeport.controllers.pod_template import pod_metadata
from homeport.controllers.replicaset.model import Condition, Pod, ReplicaSet, Status

__all__ = ["decode_pod", "decode_set", "new_pod"]

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_INT32: Final = range(-(2**31), 2**31)


def decode_set(obj: Object) -> ReplicaSet:
    metadata, spec = obj["metadata"], obj["spec"]
    replicas = spec.get("replicas")
    return ReplicaSet(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        replicas=1 if replicas is None else replicas,
        min_ready_seconds=spec.get("minReadySeconds") or 0,
        template=spec.get("template") or {},
        deleting="deletionTimestamp" in metadata,
        status=_status(obj.get("status") or {}),
    )


def decode_pod(pod: Object, min_ready_seconds: int) -> Pod:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    sidecars = {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    inits = status.get("initContainerStatuses") or ()
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels") or {},
        node=spec.get("nodeName") or "",
        phase=pod_rules.phase(pod),
        ready=pod_rules.is_ready(pod),
        ready_since=pod_rules.ready_since(pod),
        available_after=pod_rules.available_after(pod, min_ready_seconds),
        terminating=pod_rules.is_terminating(pod),
        deletion_cost=_deletion_cost(metadata.get("annotations") or {}),
        restarts=_most_restarts(status.get("containerStatuses") or ()),
        sidecar_restarts=_most_restarts(each for each in inits if each.get("name") in sidecars),
        created=parse_time(metadata["creationTimestamp"]) if metadata.get("creationTimestamp") else 0.0,
    )


def new_pod(owner: Object) -> dict[str, Any]:
    """Return the next pod of a ReplicaSet, its name left to the server."""
    template, about = owner["spec"]["template"], owner["metadata"]
    metadata = pod_metadata(template, about["namespace"], controller_reference(owner))
    metadata["generateName"] = about["name"] + "-"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _status(status: Mapping[str, Any]) -> Status:
    return Status(
        replicas=status.get("replicas", 0),
        fully_labeled_replicas=status.get("fullyLabeledReplicas", 0),
        ready_replicas=status.get("readyReplicas", 0),
        available_replicas=status.get("availableReplicas", 0),
        terminating_replicas=status.get("terminatingReplicas"),
        observed_generation=status.get("observedGeneration", 0),
        conditions=tuple(
            Condition(
                each["type"],
                each["status"],
                each.get("reason", ""),
                each.get("message", ""),
                each.get("lastTransitionTime", ""),
            )
            for each in status.get("conditions") or ()
        ),
    )


def _deletion_cost(annotations: Mapping[str, str]) -> int:
    try:
        cost = int(annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0  # the server refuses such a value; one that is there all the same says nothing
    return cost if cost in _INT32 else 0


def _most_restarts(statuses: Iterable[Mapping[str, Any]]) -> int:
    return max((each.get("restartCount", 0) for each in statuses), default=0)
