"""A node's health as its conditions tell it, and what they become when it falls silent.

Silence is measured by this side's clock from the last change *seen* of lease or status, so a node with a wrong clock is
as good as any. Source: workloads 15 and node 14 of the specification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

__all__ = [
    "GRACE_SECONDS",
    "REPORTED",
    "STARTUP_GRACE_SECONDS",
    "Condition",
    "Node",
    "Taint",
    "deadline",
    "decode_node",
    "encode_condition",
    "encode_taints",
    "eviction_interval",
    "silenced",
    "taints_for",
]

GRACE_SECONDS: Final = 50.0
EVICTION_INTERVAL_SECONDS: Final = 10.0
SLOW_INTERVAL_SECONDS: Final = 100.0
FEW_UNREADY: Final = 2
UNHEALTHY_SHARE: Final = 0.55
LARGE_ZONE: Final = 50
STARTUP_GRACE_SECONDS: Final = 60.0
REPORTED: Final = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
"""The conditions a node keeps about itself."""

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
PRESSURE: Final = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
MANAGED: Final = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURE.values()})


@dataclass(frozen=True, slots=True)
class Condition:
    """`status` is True, False or Unknown; times are RFC 3339 text, "" when absent."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    heartbeat: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    effect: str
    value: str = ""
    added: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    uid: str
    created: str
    unschedulable: bool
    taints: tuple[Taint, ...]
    conditions: tuple[Condition, ...]

    def status_of(self, kind: str) -> str:
        """Return the status of a condition, "" when it was never reported."""
        return next((c.status for c in self.conditions if c.type == kind), "")

    @property
    def ready(self) -> bool:
        return self.status_of("Ready") == "True"


def deadline(seen_at: float, node: Node) -> float:
    """Return the epoch second at which silence since `seen_at` is too long."""
    return seen_at + (GRACE_SECONDS if node.status_of("Ready") else STARTUP_GRACE_SECONDS)


def silenced(node: Node, now: str) -> tuple[Condition, ...]:
    """Return the conditions that change because the node has been silent too long."""
    known = {condition.type: condition for condition in node.conditions}
    changed = []
    for kind in REPORTED:
        condition = known.get(kind)
        if condition is None:
            message = "Kubelet never posted node status."
            changed.append(Condition(kind, "Unknown", "NodeStatusNeverUpdated", message, node.created, now))
        elif condition.status != "Unknown":
            message = "Kubelet stopped posting node status."
            unknown = replace(condition, status="Unknown", reason="NodeStatusUnknown", message=message, since=now)
            changed.append(unknown)
    return tuple(changed)


def taints_for(node: Node, *, may_evict: bool, now: str) -> tuple[Taint, ...] | None:
    """Return the taints the node should have, None when it has them; those of others stay.

    may_evict  whether an unready node may be marked so that its pods are evicted
    """
    wanted: set[tuple[str, str]] = set()
    unready = {"False": NOT_READY, "Unknown": UNREACHABLE, "": NOT_READY}.get(node.status_of("Ready"))
    if unready:
        wanted.add((unready, "NoSchedule"))
        if may_evict:
            wanted.add((unready, "NoExecute"))
    wanted |= {(key, "NoSchedule") for kind, key in PRESSURE.items() if node.status_of(kind) == "True"}
    if node.unschedulable:
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    kept = tuple(taint for taint in node.taints if taint.key not in MANAGED or (taint.key, taint.effect) in wanted)
    present = {(taint.key, taint.effect) for taint in kept}
    added = tuple(Taint(key, effect, added=now) for key, effect in sorted(wanted - present))
    return None if not added and len(kept) == len(node.taints) else kept + added


def eviction_interval(ready: Sequence[bool]) -> float | None:
    """Return the seconds between two nodes of a zone whose pods are evicted, None while none are.

    ready  of every node of the zone. Where most are unready, a small zone is left alone and a large one cleared slowly.
    """
    unready = ready.count(False)
    if True not in ready or unready <= FEW_UNREADY or unready / len(ready) < UNHEALTHY_SHARE:
        return EVICTION_INTERVAL_SECONDS
    return SLOW_INTERVAL_SECONDS if len(ready) > LARGE_ZONE else None


def decode_node(raw: Mapping[str, Any]) -> Node:
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    return Node(
        name=meta["name"],
        uid=meta.get("uid", ""),
        created=meta.get("creationTimestamp", ""),
        unschedulable=bool(spec.get("unschedulable")),
        taints=tuple(
            Taint(t["key"], t["effect"], t.get("value") or "", t.get("timeAdded") or "")
            for t in spec.get("taints") or ()
        ),
        conditions=tuple(
            Condition(
                c["type"],
                c.get("status", ""),
                c.get("reason") or "",
                c.get("message") or "",
                c.get("lastHeartbeatTime") or "",
                c.get("lastTransitionTime") or "",
            )
            for c in status.get("conditions") or ()
        ),
    )


def encode_condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastHeartbeatTime": condition.heartbeat or None,
        "lastTransitionTime": condition.since or None,
    }


def encode_taints(taints: Sequence[Taint]) -> list[dict[str, str]]:
    encoded = []
    for taint in taints:
        fields = {"key": taint.key, "value": taint.value, "effect": taint.effect, "timeAdded": taint.added}
        encoded.append({name: value for name, value in fields.items() if value})
    return encoded
