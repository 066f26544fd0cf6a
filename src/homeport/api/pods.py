"""What a pod's own fields say about it: phase, readiness, availability, whether it still counts.

Functions over JSON trees, for everybody who looks at pods. Source: `workloads` 0 (vocabulary of the controllers).
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from homeport.clock import parse_time

__all__ = [
    "FAILED",
    "PENDING",
    "RUNNING",
    "SUCCEEDED",
    "available_after",
    "condition",
    "is_active",
    "is_available",
    "is_ready",
    "is_terminal",
    "is_terminating",
    "phase",
    "ready_since",
]

Pod: TypeAlias = Mapping[str, Any]

PENDING: Final = "Pending"
RUNNING: Final = "Running"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"


def phase(pod: Pod) -> str:
    """Return `status.phase`; empty for a pod no server has created yet."""
    return str((pod.get("status") or {}).get("phase") or "")


def condition(pod: Pod, kind: str) -> Mapping[str, Any] | None:
    """Return the status condition of a type, such as `Ready`; None when it was never reported."""
    for entry in (pod.get("status") or {}).get("conditions") or ():
        if entry.get("type") == kind:
            found: Mapping[str, Any] = entry
            return found
    return None


def is_ready(pod: Pod) -> bool:
    """Whether the condition `Ready` is True; a terminating pod may well be."""
    ready = condition(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def ready_since(pod: Pod) -> float | None:
    """Return the epoch second `Ready` turned True; None when it is not True, or carries no time."""
    ready = condition(pod, "Ready")
    if ready is None or ready.get("status") != "True" or not ready.get("lastTransitionTime"):
        return None
    return parse_time(ready["lastTransitionTime"])


def available_after(pod: Pod, min_ready_seconds: int) -> float | None:
    """Return the epoch second from which the pod counts as available; None when it does not as things stand."""
    if not is_ready(pod):
        return None
    if min_ready_seconds <= 0:
        return 0.0
    since = ready_since(pod)
    return None if since is None else since + min_ready_seconds


def is_available(pod: Pod, min_ready_seconds: int, now: float) -> bool:
    """Whether the pod has been ready for `min_ready_seconds` at epoch second `now`; the boundary counts."""
    when = available_after(pod, min_ready_seconds)
    return when is not None and when <= now


def is_terminating(pod: Pod) -> bool:
    """Whether somebody asked for its end: `metadata.deletionTimestamp` is set."""
    return "deletionTimestamp" in pod["metadata"]


def is_terminal(pod: Pod) -> bool:
    """Whether it has ended and will not run again: Succeeded or Failed."""
    return phase(pod) in (SUCCEEDED, FAILED)


def is_active(pod: Pod) -> bool:
    """Whether a ReplicaSet or Job counts on it: neither ended nor asked to end."""
    return not is_terminating(pod) and not is_terminal(pod)
