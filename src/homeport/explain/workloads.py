"""What a workload waits for: its slowest pod, its controller, or somebody to delete a pod no controller may touch."""

from collections.abc import Iterator

from homeport.client.readiness import pod_trouble, verdict
from homeport.explain.model import Evidence, Explanation, Object, Snapshot, near
from homeport.explain.pods import explain_pod, ordinal_of, pod_clause, set_ordinals

__all__ = ["WORKLOADS", "broken_rollout", "explain_workload", "left_claims"]

WORKLOADS = ("StatefulSet", "Deployment", "ReplicaSet", "DaemonSet", "ReplicationController")
REVISION_LABEL = "controller-revision-hash"


def explain_workload(seen: Snapshot, kind: str, name: str) -> Explanation:
    """Explain a workload, whether or not it exists."""
    subject = f"{kind} {name}"
    obj = seen.find(kind, name)
    if obj is None:
        there = near(name, seen.of(kind))
        return Explanation(subject, False, f"{subject} does not exist in namespace {seen.namespace}{there}.")
    pods = sorted(
        _pods(seen, obj), key=lambda pod: (ordinal_of(pod["metadata"]["name"], name) or 0, pod["metadata"]["name"])
    )
    evidence = [*_own(seen, obj), *_status(obj)]
    if obj["metadata"].get("deletionTimestamp"):
        held = ", ".join(obj["metadata"].get("finalizers") or ()) or "nothing any more"
        return Explanation(subject, False, f"{subject} is being deleted; what keeps it: {held}.", tuple(evidence))
    judged = verdict(obj, pods)
    if judged.ready:
        shown = f" ({judged.progress} pods)" if judged.progress else ""
        return Explanation(subject, True, f"{subject} is ready{shown}; it waits for nothing.", tuple(evidence))
    if broken := broken_rollout(obj, pods):
        clause = pod_clause(seen, broken)
        pod = broken["metadata"]["name"]
        evidence = [*_trap(obj, broken), *explain_pod(seen, pod).evidence, *evidence]
        sentence = (
            f"{subject} is stuck while {pod}, of another revision, is not ready ({clause}): in order, "
            "nothing is replaced"
            f" before it is; delete {pod}, and it comes back at the wanted revision."
        )
        return Explanation(subject, False, sentence, tuple(evidence))
    progress = f" ({judged.progress} ready)" if judged.progress else ""
    if held := _held(seen, obj, pods):
        return Explanation(subject, False, f"{subject} {held}{progress}.", tuple(evidence))
    waits_for = judged.waits_for
    for pod in pods:
        if judged.waits_for.startswith(f"pod {pod['metadata']['name']}: "):
            waits_for = f"pod {pod['metadata']['name']}: {pod_clause(seen, pod)}"
            evidence = [*explain_pod(seen, pod["metadata"]["name"]).evidence, *evidence]
            break
    else:
        if warnings := [event for owner in (obj, *_sets(seen, obj)) for event in seen.warnings(owner)]:
            said = " ".join(warnings[-1].get("message", "").split())
            waits_for += f"; last said: {said}"
    missed = "has missed its progress deadline and " if _missed_deadline(obj) else ""
    sentence = f"{subject} {missed}waits for {waits_for.rstrip('.')}{progress}."
    return Explanation(subject, False, sentence, tuple(evidence))


def _held(seen: Snapshot, obj: Object, pods: list[Object]) -> str:
    """Say what keeps a controller from acting at all, and what would free it; empty when nothing does."""
    for owner in (obj, *_sets(seen, obj)):
        failure = _condition(owner, "ReplicaFailure")
        if failure.get("status") == "True":
            said = " ".join(str(failure.get("message", "")).split()).rstrip(".")
            remedy = "; raise the quota, or delete what uses it up" if "exceeded quota" in said else ""
            return f"may not make its pods: {said}{remedy}"
    status = obj.get("status") or {}
    if obj["spec"].get("paused") and status.get("updatedReplicas", 0) < obj["spec"].get("replicas", 1):
        return "is paused and rolls nothing out; `kubectl rollout resume` lets it go on"
    for claim in former_claims(seen, obj, pods):
        name = claim["metadata"]["name"]
        return f"waits for claim {name}, which belongs to a former pod of that name, to be collected; then it goes on"
    return ""


def _condition(obj: Object, kind: str) -> Object:
    listed = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in listed if each["type"] == kind), {})


def _missed_deadline(obj: Object) -> bool:
    return _condition(obj, "Progressing").get("reason") == "ProgressDeadlineExceeded"


def former_claims(seen: Snapshot, obj: Object, pods: list[Object]) -> list[Object]:
    """Return claims that go with a pod that is gone, and that the next pod of that name waits for (workloads 6.3)."""
    policy = obj["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if obj["kind"] != "StatefulSet" or policy.get("whenScaled") != "Delete":
        return []
    templates = [each["metadata"]["name"] for each in obj["spec"].get("volumeClaimTemplates") or ()]
    uids = {pod["metadata"]["name"]: pod["metadata"].get("uid") for pod in pods}
    found = []
    for ordinal in set_ordinals(obj):
        pod = f"{obj['metadata']['name']}-{ordinal}"
        for claim in (seen.find("PersistentVolumeClaim", f"{template}-{pod}") for template in templates):
            owners = claim["metadata"].get("ownerReferences") or () if claim is not None else ()
            if claim is not None and any(
                each.get("kind") == "Pod" and each.get("name") == pod and each.get("uid") != uids.get(pod)
                for each in owners
            ):
                found.append(claim)
    return found


def _sets(seen: Snapshot, obj: Object) -> list[Object]:
    return seen.owned("ReplicaSet", obj) if obj["kind"] == "Deployment" else []


def _pods(seen: Snapshot, obj: Object) -> list[Object]:
    return [pod for owner in (obj, *_sets(seen, obj)) for pod in seen.owned("Pod", owner)]


def broken_rollout(obj: Object, pods: list[Object]) -> Object | None:
    """Return the pod that blocks an ordered set for good: unready, of a revision no longer wanted (workloads 7.3).

    The controller goes on waiting for it after the template was put right, since in order it replaces nothing before
    every pod is ready.
    """
    spec, status = obj["spec"], obj.get("status", {})
    if obj["kind"] != "StatefulSet" or spec.get("podManagementPolicy", "OrderedReady") != "OrderedReady":
        return None
    if spec.get("updateStrategy", {}).get("type", "RollingUpdate") != "RollingUpdate":
        return None
    wanted = status.get("updateRevision")
    for pod in pods:
        revision = (pod["metadata"].get("labels") or {}).get(REVISION_LABEL)
        leaving = pod["metadata"].get("deletionTimestamp")
        if wanted and revision and revision != wanted and not leaving and pod_trouble(pod):
            return pod
    return None


def _trap(obj: Object, pod: Object) -> Iterator[Evidence]:
    name = obj["metadata"]["name"]
    yield Evidence(
        f"StatefulSet {name}", f"updateRevision {obj['status']['updateRevision']}, podManagementPolicy OrderedReady"
    )
    yield Evidence(f"Pod {pod['metadata']['name']}", f"revision {pod['metadata']['labels'][REVISION_LABEL]}")


def _own(seen: Snapshot, obj: Object) -> Iterator[Evidence]:
    """What a StatefulSet alone has: a governing Service, a partition, claims of pods it no longer wants."""
    if obj["kind"] != "StatefulSet":
        return
    subject, spec = f"StatefulSet {obj['metadata']['name']}", obj["spec"]
    service = spec.get("serviceName")
    found = seen.find("Service", service) if service else None
    if service and found is None:
        yield Evidence(
            subject, f"serviceName {service}: there is no such Service, so its pods have no names of their own"
        )
    elif found is not None and found["spec"].get("clusterIP") != "None":
        yield Evidence(subject, f"serviceName {service}: a Service with an address of its own, not a headless one")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        yield Evidence(subject, "updateStrategy OnDelete: a pod gets the newest template when somebody deletes it")
    if partition := (strategy.get("rollingUpdate") or {}).get("partition"):
        yield Evidence(subject, f"partition {partition}: pods below keep the older revision")
    for claim in left_claims(seen, obj):
        yield Evidence(
            f"PersistentVolumeClaim {claim['metadata']['name']}",
            "left by a pod no longer wanted; kept, and used again when it is",
        )


def left_claims(seen: Snapshot, obj: Object) -> list[Object]:
    """Return the claims of a set's pods beyond its replicas."""
    templates = [one["metadata"]["name"] for one in obj["spec"].get("volumeClaimTemplates") or ()]
    wanted, name = set_ordinals(obj), obj["metadata"]["name"]
    return [
        claim
        for claim in seen.of("PersistentVolumeClaim")
        for template in templates
        if (ordinal := ordinal_of(claim["metadata"]["name"], f"{template}-{name}")) is not None
        and ordinal not in wanted
    ]


def _status(obj: Object) -> Iterator[Evidence]:
    subject = f"{obj['kind']} {obj['metadata']['name']}"
    if obj["spec"].get("paused"):
        yield Evidence(subject, "paused: changes of its template are not rolled out")
    for condition in obj.get("status", {}).get("conditions") or ():
        bad = condition["status"] == ("True" if condition["type"].endswith("Failure") else "False")
        if bad:
            words = f"{condition.get('reason', '')}: {condition.get('message', '')}"
            yield Evidence(subject, f"condition {condition['type']} is {condition['status']} ({words})")
