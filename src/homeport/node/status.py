"""Observations → PodStatus: phase, conditions, container statuses, and the smallest patch that publishes them.

Pure. Source: `node` section 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from homeport.clock import parse_time, rfc3339
from homeport.node.lifecycle import NEW, ContainerState, Ended, Waiting, initialised, may_restart
from homeport.node.pod import ContainerDef, Kind, Pod, RestartPolicy

__all__ = ["Observation", "compute_phase", "is_interim", "is_starting", "pod_status", "status_patch"]

TERMINAL: Final = ("Succeeded", "Failed")
DISRUPTIONS: Final = ("Evicted", "Terminated")
"""Verdicts that are no fault of the pod's program."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All that is known of a pod on this node at `now` (epoch seconds).

    terminated  every container has stopped for good, nothing can run any more
    verdict     reason and message the pod ends with (`Evicted`, `DeadlineExceeded`, …)
    rejected    the node refused it: Failed with the verdict and no container statuses
    restarting_all  the whole pod is being restarted in place
    """

    containers: Mapping[str, ContainerState] = field(default_factory=dict)
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    started_at: float = 0.0
    host_ips: Sequence[str] = ()
    pod_ips: Sequence[str] = ()
    sandbox_ready: bool = False
    terminated: bool = False
    verdict: Waiting | None = None
    rejected: bool = False
    restarting_all: bool = False
    runtime_name: str = ""


def compute_phase(pod: Pod, seen: Observation) -> str:
    """Return the phase by the algorithm of `node` 1.2, before stickiness and publication delay."""
    if seen.rejected or (seen.verdict is not None and seen.terminated):
        return "Failed"
    pending_init = failed_init = False
    waiting = running = unknown = 0
    stopped: list[tuple[ContainerDef, Ended]] = []
    has_initialised = initialised(pod, seen.containers)
    for container in pod.init:
        state = seen.containers.get(container.name, NEW)
        if container.kind is Kind.SIDECAR:
            if state.running is not None:
                running += 1
                if not state.running.started and not has_initialised:
                    pending_init = True
            elif state.ended is None:
                waiting += 1
            continue
        last = state.ended or state.previous
        if state.running is not None:
            pending_init = True
        elif last is None:
            pending_init = pending_init or not has_initialised
        elif last.code != 0:
            if not may_restart(pod, container, last.code):
                return "Failed"
            pending_init = failed_init = True
    for container in pod.containers:
        state = seen.containers.get(container.name, NEW)
        if state.running is not None:
            running += 1
        elif (last := state.ended or state.previous) is not None:
            stopped.append((container, last))
        else:
            waiting += 1
    all_succeeded = all(ended.code == 0 for _, ended in stopped)
    if seen.terminated and (waiting or pending_init or failed_init):
        return "Failed"  # never started, or never got through its init containers
    if pending_init or waiting:
        return "Pending"
    if running and not unknown and not (seen.terminated and stopped):
        return "Running"
    if stopped:
        if seen.terminated:
            return "Succeeded" if all_succeeded else "Failed"
        if any(
            may_restart(pod, container, ended.code) or seen.containers[container.name].forced
            for container, ended in stopped
        ):
            return "Running"
        return "Succeeded" if all_succeeded else "Failed"
    return "Pending"


def pod_status(pod: Pod, seen: Observation, previous: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the whole status the agent would write; `previous` is the last one known, foreign conditions and all."""
    phase = _published_phase(pod, seen, previous)
    out: dict[str, Any] = {}
    if pod.generation:
        out["observedGeneration"] = pod.generation
    out["phase"] = phase
    verdict = seen.verdict
    if verdict is not None and (phase == "Failed" or seen.rejected):
        out["reason"] = verdict.reason
        out["message"] = verdict.message
    out["startTime"] = previous.get("startTime") or rfc3339(seen.started_at or now)
    if qos := previous.get("qosClass"):
        out["qosClass"] = qos
    if seen.host_ips:
        out["hostIP"] = seen.host_ips[0]
        out["hostIPs"] = [{"ip": ip} for ip in seen.host_ips]
    if seen.pod_ips:
        out["podIP"] = seen.pod_ips[0]
        out["podIPs"] = [{"ip": ip} for ip in seen.pod_ips]
    elif previous.get("podIP"):
        out["podIP"], out["podIPs"] = previous["podIP"], previous.get("podIPs", [{"ip": previous["podIP"]}])
    if not seen.rejected:
        default = "PodInitializing" if pod.init else "ContainerCreating"
        for key, containers in (
            ("initContainerStatuses", pod.init),
            ("containerStatuses", sorted(pod.containers, key=lambda container: container.name)),
            ("ephemeralContainerStatuses", sorted(pod.ephemeral, key=lambda container: container.name)),
        ):
            if containers:
                before = {entry["name"]: entry for entry in previous.get(key) or ()}
                out[key] = [
                    _settled(
                        pod, container, before.get(container.name), _container_status(pod, container, seen, default)
                    )
                    for container in containers
                ]
    out["conditions"] = _conditions(pod, seen, phase, out, previous, now)
    return out


def _published_phase(pod: Pod, seen: Observation, previous: Mapping[str, Any]) -> str:
    """Terminal phases are sticky, and not published while anything could still run (`node` 1.2, 6 and 7)."""
    before: str = previous.get("phase") or "Pending"
    if before in TERMINAL:
        return before
    phase = compute_phase(pod, seen)
    if phase in TERMINAL and not seen.terminated and not seen.rejected:
        return before
    return phase


def _settled(
    pod: Pod, container: ContainerDef, before: Mapping[str, Any] | None, entry: dict[str, Any]
) -> Mapping[str, Any]:
    """Return the status to publish: one that says "terminated" for good is not taken back.

    The API server refuses that, though a container may run again after its sandbox was lost; its next end is told.
    """
    ended = (before or {}).get("state", {}).get("terminated")
    if before is None or ended is None or "terminated" in entry["state"] or container.kind is Kind.SIDECAR:
        return entry
    if pod.restart_policy is RestartPolicy.ALWAYS and container.restart_policy is None:
        return entry
    policy = container.restart_policy or pod.restart_policy
    by_rule = any(rule.matches(ended["exitCode"]) for rule in container.restart_rules)
    by_policy = policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and ended["exitCode"] != 0)
    return entry if by_rule or by_policy or pod.may_restart_all else before


def _container_status(pod: Pod, container: ContainerDef, seen: Observation, default_waiting: str) -> dict[str, Any]:
    state = seen.containers.get(container.name, NEW)
    running = state.running
    prefix = f"{seen.runtime_name}://"
    container_id = running.container_id if running else state.ended.container_id if state.ended else ""
    last = state.previous
    waiting = seen.waiting.get(container.name) or state.waiting
    if seen.restarting_all:
        waiting = Waiting("RestartingAllContainers")
    if running is not None:
        shown: dict[str, Any] = {"running": {"startedAt": rfc3339(running.started_at)}}
    elif state.ended is not None and (waiting is None or seen.terminated):
        shown = {"terminated": _terminated(state.ended, prefix)}
    else:
        last = state.ended or last
        waiting = waiting or Waiting(default_waiting)
        shown = {"waiting": {"reason": waiting.reason}}
        if waiting.message:
            shown["waiting"]["message"] = waiting.message
    ready = running is not None and running.started and running.ready
    if container.kind is Kind.INIT:
        ready = running is None and state.ended is not None and state.ended.code == 0
    out: dict[str, Any] = {
        "name": container.name,
        "state": shown,
        "lastState": {"terminated": _terminated(last, prefix)} if last else {},
        "ready": ready,
        "restartCount": state.restart_count,
        "image": state.image or container.image,
        "imageID": state.image_id,
    }
    if container_id:
        out["containerID"] = prefix + container_id
    out["started"] = running is not None and running.started
    resources = container.tree.get("resources") or {}
    if requests := resources.get("requests"):
        out["allocatedResources"] = requests
    if running is not None or resources:
        out["resources"] = resources
    if mounts := [_volume_mount(mount) for mount in container.tree.get("volumeMounts") or ()]:
        out["volumeMounts"] = mounts
    return out


def _volume_mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        out["readOnly"] = True
        out["recursiveReadOnly"] = "Enabled" if mount.get("recursiveReadOnly") == "Enabled" else "Disabled"
    return out


def _terminated(ended: Ended, prefix: str) -> dict[str, Any]:
    out: dict[str, Any] = {"exitCode": ended.code, "reason": ended.reason}
    if ended.message:
        out["message"] = ended.message
    out["startedAt"] = rfc3339(ended.started_at)
    out["finishedAt"] = rfc3339(ended.finished_at)
    if ended.container_id:
        out["containerID"] = prefix + ended.container_id
    return out


class _Condition(NamedTuple):
    type: str
    status: bool
    reason: str = ""
    message: str = ""


def _names(what: str, names: Sequence[str]) -> str:
    return f"containers with {what} status: [{' '.join(names)}]" if names else ""


def _initialized(pod: Pod, seen: Observation, phase: str, was_initialised: bool) -> _Condition:
    if phase == "Succeeded":
        return _Condition("Initialized", True, "PodCompleted")
    if initialised(pod, seen.containers) or (pod.may_restart_all and was_initialised):
        return _Condition("Initialized", True)
    incomplete = []
    for container in pod.init:
        state = seen.containers.get(container.name, NEW)
        if container.kind is Kind.SIDECAR:
            done = state.running is not None and state.running.started
        else:
            done = state.running is None and state.ended is not None and state.ended.code == 0
        if not done:
            incomplete.append(container.name)
    return _Condition("Initialized", False, "ContainersNotInitialized", _names("incomplete", incomplete))


def _containers_ready(pod: Pod, phase: str, status: Mapping[str, Any]) -> _Condition:
    if phase == "Succeeded":
        return _Condition("ContainersReady", False, "PodCompleted")
    if phase == "Failed":
        return _Condition("ContainersReady", False, "PodFailed")
    ready = {
        entry["name"]: entry["ready"]
        for key in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(key, ())
    }
    counted = [container for container in (*pod.init, *pod.containers) if container.kind is not Kind.INIT]
    unready = [container.name for container in counted if not ready.get(container.name)]
    if unready:
        return _Condition("ContainersReady", False, "ContainersNotReady", _names("unready", unready))
    return _Condition("ContainersReady", True)


def _ready(pod: Pod, containers_ready: _Condition, existing: Mapping[str, Mapping[str, Any]]) -> _Condition:
    if not containers_ready.status:
        return _Condition("Ready", False, containers_ready.reason, containers_ready.message)
    problems = []
    for gate in pod.spec.get("readinessGates") or ():
        kind = gate["conditionType"]
        found = existing.get(kind)
        if found is None:
            problems.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found.get("status") != "True":
            problems.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.get("status")}')
    if problems:
        return _Condition("Ready", False, "ReadinessGatesNotReady", ", ".join(problems))
    return _Condition("Ready", True)


def _conditions(
    pod: Pod,
    seen: Observation,
    phase: str,
    status: Mapping[str, Any],
    previous: Mapping[str, Any],
    now: float,
) -> list[dict[str, Any]]:
    existing = {entry["type"]: entry for entry in previous.get("conditions") or ()}
    containers_ready = _containers_ready(pod, phase, status)
    own: list[_Condition] = [
        _Condition("PodReadyToStartContainers", seen.sandbox_ready),
        _initialized(pod, seen, phase, existing.get("Initialized", {}).get("status") == "True"),
        _ready(pod, containers_ready, existing),
        containers_ready,
        _Condition("PodScheduled", True),
    ]
    if pod.may_restart_all:
        reason = "RestartAllContainersStarted" if seen.restarting_all else ""
        own.append(_Condition("AllContainersRestarting", seen.restarting_all, reason))
    if seen.verdict is not None and seen.verdict.reason in DISRUPTIONS:
        own.append(_Condition("DisruptionTarget", True, "TerminationByKubelet", seen.verdict.message))
    written = {condition.type for condition in own}
    out = [_written(condition, existing.get(condition.type), pod.generation, now) for condition in own]
    out += [dict(entry) for kind, entry in existing.items() if kind not in written]
    return out


def _written(condition: _Condition, before: Mapping[str, Any] | None, generation: int, now: float) -> dict[str, Any]:
    word = "True" if condition.status else "False"
    same = before is not None and before.get("status") == word
    moved = before.get("lastTransitionTime") if before is not None and same else None
    out: dict[str, Any] = {
        "type": condition.type,
        "status": word,
        "lastProbeTime": None,
        "lastTransitionTime": moved or rfc3339(now),
    }
    if generation:
        out["observedGeneration"] = generation
    if condition.reason:
        out["reason"] = condition.reason
    if condition.message:
        out["message"] = condition.message
    return out


_STARTING: Final = ("ContainerCreating", "PodInitializing")
_CONTAINER_STATUSES: Final = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def is_interim(status: Mapping[str, Any]) -> bool:
    """Whether a status tells of nothing but a start that goes as it should: no container ran, none is in trouble."""
    return (
        status.get("phase") in (None, "Pending")
        and not status.get("reason")
        and all(
            (entry["state"].get("waiting") or {}).get("reason") in _STARTING and not entry.get("lastState")
            for key in _CONTAINER_STATUSES
            for entry in status.get(key) or ()
        )
    )


def is_starting(pod: Pod, seen: Observation) -> bool:
    """Whether the status of a pod that was interim would still be, told without making it."""
    if seen.terminated or seen.rejected or seen.restarting_all:
        return False
    for container in pod.all():
        state = seen.containers.get(container.name, NEW)
        if state.running or state.ended or state.previous:
            return False
        waiting = seen.waiting.get(container.name) or state.waiting
        if waiting is not None and waiting.reason not in _STARTING:
            return False
    return True


_REPLACED_BY_KEY: Final = ("podIPs", "hostIPs")
"""Lists that a strategic merge would add to; they are sent whole, with a replace directive."""


def status_patch(uid: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the strategic merge patch from one status to another, None when nothing differs.

    Holds the pod's uid, so that a namesake made meanwhile is never touched, and of the conditions only those of
    ours that changed, so that nobody else's is.
    """
    changed: dict[str, Any] = {}
    for key, value in after.items():
        if key == "conditions" or value == before.get(key):
            continue
        changed[key] = [*value, {"$patch": "replace"}] if key in _REPLACED_BY_KEY and before.get(key) else value
    changed |= {key: None for key in ("reason", "message") if key in before and key not in after}
    existing = {entry["type"]: entry for entry in before.get("conditions") or ()}
    conditions = []
    for entry in after.get("conditions") or ():
        old = existing.get(entry["type"])
        if old is None:
            conditions.append(entry)
        elif _meaning(old) != _meaning(entry):
            gone = {key: None for key in ("reason", "message") if key in old and key not in entry}
            conditions.append({**entry, **gone})
    if conditions:
        changed["conditions"] = conditions
    if not changed:
        return None
    return {"metadata": {"uid": uid}, "status": changed}


def _meaning(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def active_since(status: Mapping[str, Any]) -> float | None:
    """Return startTime in epoch seconds: what activeDeadlineSeconds counts from."""
    started = status.get("startTime")
    return parse_time(started) if started else None
