"""The row of a pod: what state it is in, in one word (api-machinery 15.1-15.3)."""

from dataclasses import dataclass
from typing import Any, Final

from homeport.api.tables.cells import AGE, NAME, NONE, Cells, Printer, Tree, age, human_duration, narrow, wide
from homeport.clock import parse_time

__all__ = ["POD"]


@dataclass(frozen=True, slots=True)
class _Restarts:
    """How often containers were restarted, and when one last ended, in seconds since the epoch."""

    count: int = 0
    last_end: float | None = None

    def plus(self, status: Tree) -> "_Restarts":
        ended = status.get("lastState", {}).get("terminated", {}).get("finishedAt")
        last = max((t for t in (self.last_end, parse_time(ended) if ended else None) if t is not None), default=None)
        return _Restarts(self.count + status.get("restartCount", 0), last)

    def cell(self, now: float) -> str:
        if self.count and self.last_end is not None:
            return f"{self.count} ({human_duration(now - self.last_end)} ago)"
        return str(self.count)


@dataclass(frozen=True, slots=True)
class _Init:
    """Where the init containers are: `reason` is set while they are not done."""

    reason: str
    ready: int
    restarts: _Restarts
    """All of them up to the one at work, for the time they run."""
    sidecar_restarts: _Restarts


def _cells(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    conditions = {c.get("type"): c for c in status.get("conditions", ())}
    sidecars = {c.get("name") for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"}
    init = _init_state(spec, status, sidecars)
    reason = status.get("reason") or status.get("phase", "")
    if conditions.get("PodScheduled", {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    reason = init.reason or reason
    ready, restarts = init.ready, init.restarts
    if not init.reason or _is_true(conditions.get("Initialized")):
        restarts = init.sidecar_restarts
        for container in status.get("containerStatuses", ()):
            restarts = restarts.plus(container)
            ready += bool(container.get("ready") and container.get("state", {}).get("running") is not None)
        reason = _container_reason(status, conditions, reason)
    if tree["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    total = len(spec.get("containers") or ()) + len(sidecars)
    return [
        tree["metadata"].get("name", ""),
        f"{ready}/{total}",
        reason,
        restarts.cell(now),
        age(tree, now),
        _address(status),
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, conditions),
    ]


def _init_state(spec: Tree, status: Tree, sidecars: set[Any]) -> _Init:
    reason, ready = "", 0
    restarts, sidecar_restarts = _Restarts(), _Restarts()
    for index, container in enumerate(status.get("initContainerStatuses", ())):
        restarts = restarts.plus(container)
        sidecar = container.get("name") in sidecars
        if sidecar:
            sidecar_restarts = sidecar_restarts.plus(container)
        state = container.get("state", {})
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if ended is not None:
            reason = "Init:" + _ending(ended)
        elif waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{index}/{len(spec.get('initContainers', ()))}"
        break  # what comes after it has not begun
    return _Init(reason, ready, restarts, sidecar_restarts)


def _container_reason(status: Tree, conditions: Tree, reason: str) -> str:
    """Walk from the last container to the first, so that the first one's state wins."""
    running, failure = False, ""
    for container in reversed(status.get("containerStatuses", ())):
        state = container.get("state", {})
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting is not None and waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _ending(ended)
            if ended.get("exitCode", 0) != 0:
                failure = reason
        elif container.get("ready") and state.get("running") is not None:
            running = True
    if reason != "Completed":
        return reason
    if running and _is_true(conditions.get("Ready")):
        return "Running"
    return failure or ("NotReady" if running else reason)


def _ending(ended: Tree) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _is_true(condition: Tree | None) -> bool:
    return condition is not None and condition.get("status") == "True"


def _address(status: Tree) -> str:
    listed = status.get("podIPs")
    return (listed[0].get("ip") if listed else "") or NONE


def _gates(spec: Tree, conditions: Tree) -> str:
    gates = spec.get("readinessGates", ())
    if not gates:
        return NONE
    return f"{sum(_is_true(conditions.get(gate.get('conditionType'))) for gate in gates)}/{len(gates)}"


def _marks(tree: Tree) -> list[dict[str, str]]:
    """A pod that has ended is marked, so that clients can dim it."""
    status = tree.get("status", {})
    match status.get("phase"):
        case "Succeeded":
            reason, message = "Succeeded", "The pod has completed successfully."
        case "Failed":
            reason, message = "Failed", "The pod failed."
        case _:
            return []
    return [{"type": "Completed", "status": "True", "reason": reason, "message": message}]


POD: Final = Printer(
    (
        NAME,
        narrow("Ready"),
        narrow("Status"),
        narrow("Restarts"),
        AGE,
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ),
    _cells,
    _marks,
)
