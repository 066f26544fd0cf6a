"""Is it ready, and if not: what does it wait for? Pure functions over objects as the API shows them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

__all__ = ["SERVICE_LABEL", "Verdict", "behind_service", "pod_trouble", "verdict"]

SERVICE_LABEL: Final = "kubernetes.io/service-name"
"""The label by which an EndpointSlice names its Service."""

Object: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`waits_for` is one short clause, empty when ready."""

    ready: bool
    waits_for: str = ""
    progress: str = ""


READY = Verdict(True)


def verdict(obj: Object, pods: Iterable[Object] = (), slices: Iterable[Object] = ()) -> Verdict:
    """Judge one object.

    pods    those it owns, directly or through a ReplicaSet; for a Service, those of its namespace
    slices  for a Service: its EndpointSlices
    """
    match obj["kind"]:
        case "StatefulSet":
            return _replicated(obj, sorted(pods, key=_ordinal), ("readyReplicas", "updatedReplicas"))
        case "Deployment":
            return _replicated(obj, pods, ("availableReplicas", "updatedReplicas"))
        case "DaemonSet":
            return _daemons(obj, pods)
        case "ReplicaSet" | "ReplicationController":
            return _replicated(obj, pods, ("readyReplicas",))
        case "Pod":
            trouble = pod_trouble(obj)
            return Verdict(False, trouble) if trouble else READY
        case "PersistentVolumeClaim":
            phase = obj.get("status", {}).get("phase", "Pending")
            return READY if phase == "Bound" else Verdict(False, f"a volume for it (phase {phase})")
        case "Service" if obj["spec"].get("type") == "LoadBalancer":
            given = obj.get("status", {}).get("loadBalancer", {}).get("ingress")
            listed = _listed(obj, pods, slices)
            return listed if given else replace(listed, ready=False, waits_for="an address from a load balancer")
        case "Service":
            return _listed(obj, pods, slices)
    return READY


def behind_service(service: Object, pods: Iterable[Object]) -> list[Object]:
    """Return the pods a Service selects; none for one without a selector, or that is an alias.

    Source: `services-dns` 10: whoever has no selector is looked after by others.
    """
    spec = service["spec"]
    selector = spec.get("selector") or {}
    if not selector or spec.get("type") == "ExternalName":
        return []
    namespace = service["metadata"].get("namespace")
    return [
        pod
        for pod in pods
        if pod["metadata"].get("namespace") == namespace
        and all((pod["metadata"].get("labels") or {}).get(key) == value for key, value in selector.items())
    ]


def _listed(service: Object, pods: Iterable[Object], slices: Iterable[Object]) -> Verdict:
    """Judge whether the slices of a Service name every pod that is ready by now; no ready pod at all is fine."""
    early = bool(service["spec"].get("publishNotReadyAddresses"))
    owed = [pod for pod in behind_service(service, pods) if _serves(pod, early)]
    if not owed:
        return READY
    families = service["spec"].get("ipFamilies") or []
    named = {
        ((entry.get("targetRef") or {}).get("uid"), address)
        for one in slices
        for entry in one.get("endpoints") or ()
        if (entry.get("conditions") or {}).get("ready") is not False
        for address in entry.get("addresses") or ()
    }
    late = [
        pod["metadata"]["name"]
        for pod in owed
        if any((pod["metadata"].get("uid"), address) not in named for address in _addresses(pod, families))
    ]
    progress = f"{len(owed) - len(late)}/{len(owed)}"
    return Verdict(not late, f"{', '.join(sorted(late))} in its EndpointSlices" if late else "", progress)


def _serves(pod: Object, early: bool) -> bool:
    """Tell whether a pod is to be named as ready: it is, or `early` says that it need not be."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") in ("Succeeded", "Failed"):
        return False
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    return bool(status.get("podIP")) and (ready or early)


def _addresses(pod: Object, families: Iterable[str]) -> list[str]:
    """Return the pod's address of each of the families that it has one of, as the slices show them."""
    status = pod["status"]
    found: dict[str, str] = {}
    for address in [one["ip"] for one in status.get("podIPs") or ()] or [status["podIP"]]:
        found.setdefault(f"IPv{ip_address(address).version}", address)
    return [found[family] for family in families or list(found)[:1] if family in found]


def _ordinal(pod: Object) -> tuple[int, str]:
    tail = pod["metadata"]["name"].rpartition("-")[2]
    return (int(tail) if tail.isdigit() else 0), pod["metadata"]["name"]


def _replicated(obj: Object, pods: Iterable[Object], counts: tuple[str, ...]) -> Verdict:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    wanted = spec.get("replicas", 1)
    have = status.get(counts[0], 0)
    progress = f"{have}/{wanted}"
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return Verdict(False, "its controller to look at it", progress)
    partition = spec.get("updateStrategy", {}).get("rollingUpdate", {}).get("partition", 0)
    on_delete = spec.get("updateStrategy", {}).get("type") == "OnDelete"
    needed = dict.fromkeys(counts, wanted)
    if "updatedReplicas" in needed:
        needed["updatedReplicas"] = 0 if on_delete else max(0, wanted - partition)
    troubles = {pod["metadata"]["name"]: pod_trouble(pod) for pod in pods}
    counted = all(status.get(name, 0) >= number for name, number in needed.items())
    fine = not troubles or list(troubles.values()).count("") >= wanted  # the count may be older than its pods
    if counted and status.get("replicas", 0) == wanted and fine:
        return Verdict(True, "", progress)
    for name, trouble in troubles.items():
        if trouble:
            return Verdict(False, f"pod {name}: {trouble}", progress)
    return Verdict(False, f"{wanted - have} more ready pods" if have < wanted else "old pods to go", progress)


def _daemons(obj: Object, pods: Iterable[Object]) -> Verdict:
    status = obj.get("status", {})
    wanted, have = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    progress = f"{have}/{wanted}"
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return Verdict(False, "its controller to look at it", progress)
    on_delete = obj["spec"].get("updateStrategy", {}).get("type") == "OnDelete"
    if have >= wanted and (on_delete or status.get("updatedNumberScheduled", 0) >= wanted):
        return Verdict(True, "", progress)
    for pod in pods:
        if trouble := pod_trouble(pod):
            return Verdict(False, f"pod {pod['metadata']['name']}: {trouble}", progress)
    return Verdict(False, "a pod on every node it belongs to", progress)


def pod_trouble(pod: Object) -> str:
    """Say what keeps a pod from being ready; empty when nothing does."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return ""
    if pod["metadata"].get("deletionTimestamp"):
        return "terminating"
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True":
        return ""
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"not scheduled: {scheduled.get('message', '')}"
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        trouble = _container_trouble(container)
        if trouble:
            return f"container {container['name']}: {trouble}"
    if status.get("phase") == "Failed":
        return f"failed: {status.get('message') or status.get('reason') or 'its containers ended'}"
    return conditions.get("Ready", {}).get("message") or "starting"


def _container_trouble(container: Object) -> str:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting:
        reason, message = waiting.get("reason", "waiting"), waiting.get("message", "")
        last = (container.get("lastState") or {}).get("terminated")
        if reason == "CrashLoopBackOff" and last:  # why it crashed says more than how long it must wait
            message = f"{_end(last)}, {container.get('restartCount', 0)} restarts"
        return f"{reason}: {message}" if message else reason
    if ended and ended.get("exitCode"):
        return _end(ended)
    if "running" in state and not container.get("ready"):
        return "running, its readiness probe has not succeeded yet"
    return ""


def _end(ended: Object) -> str:
    said = " ".join(str(ended.get("message", "")).split())
    return f"ended with exit code {ended['exitCode']} ({ended.get('reason', 'Error')})" + (f": {said}" if said else "")
