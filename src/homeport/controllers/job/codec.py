"""JSON trees to the values Job decisions are made on, the pods it makes, and the status it writes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_reference
from homeport.client.contract import Object
from homeport.clock import parse_time
from homeport.controllers.job.model import Condition, Job, NewPod, Pod, Status
from homeport.controllers.pod_template import pod_metadata

__all__ = [
    "FINALIZER",
    "decode_job",
    "decode_pod",
    "encode_status",
    "is_tracked",
    "managed_here",
    "new_pod",
    "untracked",
]

FINALIZER: Final = "batch.kubernetes.io/job-tracking"
INDEX: Final = "batch.kubernetes.io/job-completion-index"
FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES: Final = "batch.kubernetes.io/job-index-ignored-failure-count"
MANAGER: Final = "kubernetes.io/job-controller"
NAME_LIMIT: Final = 58
_INT32: Final = 2**31


def managed_here(job: Object) -> bool:
    """Whether no other controller looks after the Job."""
    return bool(job["spec"].get("managedBy", MANAGER) == MANAGER)


def is_tracked(pod: Object) -> bool:
    """Whether a pod has the finalizer that keeps it until it is counted."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def untracked() -> dict[str, Any]:
    """Return the strategic merge patch that takes the finalizer away."""
    return {"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}}


def decode_job(obj: Object) -> Job:
    metadata, spec = obj["metadata"], obj["spec"]
    return Job(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        parallelism=spec.get("parallelism", 1),
        completions=spec.get("completions"),
        backoff_limit=spec.get("backoffLimit", 6),
        per_index=spec.get("backoffLimitPerIndex"),
        most_failed_indexes=spec.get("maxFailedIndexes"),
        deadline_seconds=spec.get("activeDeadlineSeconds"),
        indexed=spec.get("completionMode") == "Indexed",
        suspended=bool(spec.get("suspend")),
        replace_when_failed=spec.get("podReplacementPolicy") == "Failed" or "podFailurePolicy" in spec,
        restarts_in_place=spec["template"]["spec"].get("restartPolicy") == "OnFailure",
        failure_policy=(spec.get("podFailurePolicy") or {}).get("rules") or (),
        success_policy=(spec.get("successPolicy") or {}).get("rules") or (),
        deleting="deletionTimestamp" in metadata,
        status=_status(obj.get("status") or {}),
    )


def decode_pod(pod: Object, _: int = 0) -> Pod:
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations = metadata.get("annotations") or {}
    statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        node=pod["spec"].get("nodeName") or "",
        phase=pod_rules.phase(pod),
        ready=pod_rules.is_ready(pod),
        ready_since=pod_rules.ready_since(pod),
        terminating=pod_rules.is_terminating(pod),
        created=parse_time(metadata["creationTimestamp"]) if metadata.get("creationTimestamp") else 0.0,
        ended=_ended(pod),
        tracked=is_tracked(pod),
        index=_number(annotations.get(INDEX)),
        failures=(_number(annotations.get(FAILURES)) or 0, _number(annotations.get(IGNORED_FAILURES)) or 0),
        restarts=sum(each.get("restartCount", 0) for each in statuses),
        containers=tuple(_exits(statuses)),
        conditions=tuple((each.get("type", ""), each.get("status", "")) for each in status.get("conditions") or ()),
    )


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return int(text) if int(text) < _INT32 else None


def _exits(statuses: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, int]]:
    for status in statuses:
        ended = (status.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            yield status.get("name", ""), ended["exitCode"]


def _ended(pod: Object) -> float:
    """Return when a pod ended: by its containers, its readiness, its deletion, or failing all these its creation."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    sidecars = {
        each["name"] for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always"
    }
    statuses = [
        *(status.get("containerStatuses") or ()),
        *(each for each in status.get("initContainerStatuses") or () if each.get("name") in sidecars),
    ]
    ends = [((each.get("state") or {}).get("terminated") or {}).get("finishedAt") for each in statuses]
    known = [parse_time(end) for end in ends if end]
    if known and len(known) == len(ends):
        return max(known)
    ready = pod_rules.condition(pod, "Ready")
    if ready is not None and ready.get("status") == "False" and ready.get("lastTransitionTime"):
        return parse_time(ready["lastTransitionTime"])
    if metadata.get("deletionTimestamp"):
        grace: int = metadata.get("deletionGracePeriodSeconds", 0)
        return parse_time(metadata["deletionTimestamp"]) - grace
    return parse_time(metadata["creationTimestamp"]) if metadata.get("creationTimestamp") else 0.0


def new_pod(owner: Object, wanted: NewPod) -> dict[str, Any]:
    """Return the next pod of a Job, the end of its name left to the server."""
    template, name = owner["spec"]["template"], owner["metadata"]["name"]
    index = wanted.index
    labels = {} if index is None else {INDEX: str(index)}
    metadata = pod_metadata(template, owner["metadata"]["namespace"], controller_reference(owner), labels)
    finalizers = list(metadata.get("finalizers") or ())
    metadata["finalizers"] = finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    if index is None:
        metadata["generateName"] = f"{name}-"
        return pod
    end = f"-{index}-"
    metadata["generateName"] = name[: NAME_LIMIT - len(end)] + end
    annotations = {**(metadata.get("annotations") or {}), INDEX: str(index)}
    if wanted.failures is not None:
        annotations[FAILURES] = str(wanted.failures[0])
        if wanted.failures[1]:
            annotations[IGNORED_FAILURES] = str(wanted.failures[1])
    metadata["annotations"] = annotations
    pod["spec"] = {**template["spec"], "hostname": f"{name}-{index}"}
    for group in ("initContainers", "containers"):
        if template["spec"].get(group):
            pod["spec"][group] = [_with_index(container) for container in template["spec"][group]]
    return pod


def _with_index(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tell a container its index, unless it has a variable of that name."""
    present = container.get("env") or []
    if any(each.get("name") == "JOB_COMPLETION_INDEX" for each in present):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*present, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]}


def _status(status: Mapping[str, Any]) -> Status:
    uncounted = status.get("uncountedTerminatedPods")
    return Status(
        active=status.get("active", 0),
        ready=status.get("ready"),
        terminating=status.get("terminating"),
        succeeded=status.get("succeeded", 0),
        failed=status.get("failed", 0),
        completed_indexes=status.get("completedIndexes", ""),
        failed_indexes=status.get("failedIndexes"),
        uncounted_succeeded=tuple((uncounted or {}).get("succeeded") or ()),
        uncounted_failed=tuple((uncounted or {}).get("failed") or ()),
        tracking=uncounted is not None,
        conditions=tuple(
            Condition(
                each["type"],
                each["status"],
                each.get("reason", ""),
                each.get("message", ""),
                each.get("lastProbeTime") or "",
                each.get("lastTransitionTime") or "",
            )
            for each in status.get("conditions") or ()
        ),
        started=status.get("startTime") or "",
        completed=status.get("completionTime") or "",
    )


def encode_status(status: Status) -> dict[str, Any]:
    """Return the whole `status` object."""
    optional = (
        ("conditions", [_condition(each) for each in status.conditions]),
        ("startTime", status.started),
        ("completionTime", status.completed),
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("completedIndexes", status.completed_indexes),
    )
    out: dict[str, Any] = {name: value for name, value in optional if value}
    pointers = (
        ("terminating", status.terminating),
        ("ready", status.ready),
        ("failedIndexes", status.failed_indexes),
    )
    out |= {name: value for name, value in pointers if value is not None}
    lists = (("succeeded", status.uncounted_succeeded), ("failed", status.uncounted_failed))
    out["uncountedTerminatedPods"] = {name: list(uids) for name, uids in lists if uids}
    return out


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.kind,
        "status": condition.status,
        "lastProbeTime": condition.probed or None,
        "lastTransitionTime": condition.since or None,
        "reason": condition.reason,
        "message": condition.message,
    }
