"""Why a pod is not ready, or not there."""

from collections.abc import Iterator

from homeport.client.readiness import pod_trouble
from homeport.explain.model import Evidence, Explanation, Object, Snapshot, near

__all__ = ["explain_pod", "ordinal_of", "pod_clause", "pod_missing", "set_ordinals"]

SHOWN_EVENTS = 3


def explain_pod(seen: Snapshot, name: str) -> Explanation:
    """Explain the pod `name`, whether or not it exists."""
    subject = f"Pod {name}"
    pod = seen.find("Pod", name)
    if pod is None:
        clause, evidence = pod_missing(seen, name)
        return Explanation(subject, False, f"{subject} does not exist: {clause}.", tuple(evidence))
    trouble = pod_clause(seen, pod)
    evidence = list(_evidence(seen, pod)) if trouble else []
    if not trouble:
        done = pod.get("status", {}).get("phase") == "Succeeded"
        return Explanation(
            subject, True, f"{subject} {'has ended well' if done else 'is ready'}; it waits for nothing."
        )
    if pod["metadata"].get("deletionTimestamp"):
        return Explanation(subject, False, f"{subject} is {trouble}.", tuple(evidence))
    return Explanation(subject, False, f"{subject} is not ready: {trouble.rstrip('.')}.", tuple(evidence))


def pod_clause(seen: Snapshot, pod: Object) -> str:
    """Say in one clause what keeps a pod from being ready; empty when nothing does."""
    trouble = pod_trouble(pod)
    if not trouble:
        return ""
    if pod["metadata"].get("deletionTimestamp"):
        return _leaving(pod)
    gates = _closed_gates(pod)
    if gates and _condition(pod, "ContainersReady") == "True":
        return f"its readiness gates are not met: {', '.join(gates)}"
    warnings = seen.warnings(pod)
    unbound = _unbound(seen, pod)
    if trouble.startswith("not scheduled") and unbound:
        return f"{trouble.rstrip('.')} ({'; '.join(unbound)})"
    if warnings and (trouble == "starting" or "probe" in trouble):
        said = _words(warnings[-1].get("message", "")).rstrip(":")
        if said and said not in trouble:
            return f"{trouble}; last said: {said}"
    return trouble


def _leaving(pod: Object) -> str:
    metadata = pod["metadata"]
    finalizers = metadata.get("finalizers")
    running = [
        one["name"]
        for one in pod.get("status", {}).get("containerStatuses") or ()
        if "running" in (one.get("state") or {})
    ]
    text = f"terminating: its containers have until {metadata['deletionTimestamp']} to end"
    if running:
        return f"{text}, and {', '.join(running)} still run" + ("s" if len(running) == 1 else "")
    if finalizers:
        return f"terminating: its finalizers keep it ({', '.join(finalizers)})"
    return text


def _condition(pod: Object, kind: str) -> str:
    found = (one["status"] for one in pod.get("status", {}).get("conditions") or () if one["type"] == kind)
    return str(next(found, ""))


def _closed_gates(pod: Object) -> list[str]:
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    return [gate for gate in gates if _condition(pod, gate) != "True"]


def _unbound(seen: Snapshot, pod: Object) -> list[str]:
    found = []
    for volume in pod["spec"].get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name:
            continue
        claim = seen.find("PersistentVolumeClaim", name)
        if claim is None:
            found.append(f"claim {name} does not exist")
        elif claim.get("status", {}).get("phase") != "Bound":
            warnings = seen.warnings(claim)
            found.append(
                f"claim {name}: {_words(warnings[-1].get('message', ''))}" if warnings else f"claim {name} is unbound"
            )
    return found


def _evidence(seen: Snapshot, pod: Object) -> Iterator[Evidence]:
    subject = f"Pod {pod['metadata']['name']}"
    status = pod.get("status", {})
    for condition in status.get("conditions") or ():
        if condition["status"] != "True":
            since = condition.get("lastTransitionTime", "")
            words = ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
            yield Evidence(
                subject,
                f"condition {condition['type']} is {condition['status']} since {since}"
                + (f" ({words})" if words else ""),
            )
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        yield Evidence(subject, f"container {one['name']}: {_state(one)}")
    for text in _unbound(seen, pod):
        yield Evidence(subject, text)
    for event in seen.warnings(pod)[-SHOWN_EVENTS:]:
        times = f" ×{event['count']}" if event.get("count", 1) > 1 else ""
        yield Evidence(f"Event {event.get('reason', '')}{times}", _words(event.get("message", "")))


def _state(container: Object) -> str:
    state = container.get("state") or {}
    restarts = f", {container['restartCount']} restarts" if container.get("restartCount") else ""
    if waiting := state.get("waiting"):
        return f"waiting ({waiting.get('reason', '')}){restarts}"
    if ended := state.get("terminated"):
        return f"ended with exit code {ended.get('exitCode')} ({ended.get('reason', '')}){restarts}"
    ready = "ready" if container.get("ready") else "not ready"
    return f"running since {(state.get('running') or {}).get('startedAt', '?')}, {ready}{restarts}"


def _words(text: str) -> str:
    return " ".join(text.split())


def ordinal_of(pod_name: str, set_name: str) -> int | None:
    """Return the ordinal in `web-3` of the set `web`, None for another's name."""
    head, _, tail = pod_name.rpartition("-")
    return int(tail) if head == set_name and tail.isdigit() and str(int(tail)) == tail else None


def set_ordinals(statefulset: Object) -> range:
    """Return the ordinals a StatefulSet wants."""
    spec = statefulset["spec"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    return range(start, start + spec.get("replicas", 1))


def pod_missing(seen: Snapshot, name: str) -> tuple[str, list[Evidence]]:
    """Say in one clause why there is no pod of a name, and what shows it."""
    for owner in seen.of("StatefulSet"):
        set_name = owner["metadata"]["name"]
        ordinal = ordinal_of(name, set_name)
        if ordinal is None:
            continue
        ordinals = set_ordinals(owner)
        about = f"StatefulSet {set_name}"
        if ordinal not in ordinals:
            wanted = f"{len(ordinals)} replica{'' if len(ordinals) == 1 else 's'}"
            return f"{about} wants {wanted}, {_range(set_name, ordinals)}", [
                Evidence(about, f"spec.replicas {len(ordinals)}")
            ]
        if owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady":
            for earlier in range(ordinals.start, ordinal):
                pod = seen.find("Pod", f"{set_name}-{earlier}")
                if pod is None:
                    break
                if clause := pod_clause(seen, pod):
                    evidence = [
                        Evidence(about, "podManagementPolicy OrderedReady: one after the other"),
                        *_evidence(seen, pod),
                    ]
                    return f"{about} waits for {set_name}-{earlier} first ({clause})", evidence
        warnings = seen.warnings(owner)
        if warnings:
            said = _words(warnings[-1].get("message", ""))
            return f"{about} could not make it: {said}", [Evidence(f"Event {warnings[-1].get('reason', '')}", said)]
        return f"{about} has not made it yet", [
            Evidence(about, f"status.replicas {owner.get('status', {}).get('replicas', 0)}")
        ]
    return f"namespace {seen.namespace} has no such pod" + near(name, seen.of("Pod")), []


def _range(name: str, ordinals: range) -> str:
    if not ordinals:
        return "so no pods"
    return f"{name}-{ordinals[0]}" + (f" to {name}-{ordinals[-1]}" if len(ordinals) > 1 else "")
