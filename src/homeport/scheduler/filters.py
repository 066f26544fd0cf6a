"""Why a node cannot take a pod: the first filter with a reason decides, in upstream's order.

Texts are upstream's, clients read them. Source: node 16.2 of the specification.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport.api.node_selectors import matches_node_selector
from homeport.scheduler.claims import EXCLUSIVE, ClaimView, exclusive_conflict, volume_plan
from homeport.scheduler.model import NodeState, Pod, Snapshot, Taint
from homeport.scheduler.topology import (
    AffinityView,
    SpreadView,
    affinity_reason,
    affinity_view,
    spread_reason,
    spread_views,
)

__all__ = ["Rejection", "View", "rejection", "view_of"]

UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
REASON_UNSCHEDULABLE = "node(s) were unschedulable"
REASON_NODE_NAME = "node(s) didn't match the requested node name"
REASON_TAINTS = "node(s) had untolerated taint(s)"
REASON_NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
REASON_PORTS = "node(s) didn't have free ports for the requested pod ports"
REASON_EXCLUSIVE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """`curable`: evicting pods from the node could change the answer."""

    reasons: tuple[str, ...]
    curable: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What is computed once per pod and looked at for every node."""

    pod: Pod
    affinity: AffinityView
    spread: tuple[SpreadView, ...]
    claims: ClaimView
    exclusive_in_use: bool


def view_of(pod: Pod, snapshot: Snapshot, claims: ClaimView) -> View:
    in_use: Sequence[str] = ()
    if any(claim is not None and EXCLUSIVE in claim.access_modes for _, claim in claims.claims):
        in_use = [
            name
            for _, other in snapshot.pods()
            if other.namespace == pod.namespace and other.uid != pod.uid
            for name in other.claims
        ]
    return View(
        pod,
        affinity_view(pod, snapshot),
        spread_views(pod, snapshot, required=True),
        claims,
        exclusive_conflict(claims, in_use),
    )


def rejection(view: View, state: NodeState) -> Rejection | None:
    """Return why the node cannot take the pod, None when it can."""
    pod, node = view.pod, state.node
    if node.unschedulable and not pod.tolerates(UNSCHEDULABLE_TAINT):
        return Rejection((REASON_UNSCHEDULABLE,))
    if pod.wanted_node and pod.wanted_node != node.name:
        return Rejection((REASON_NODE_NAME,))
    if node.taints and any(
        taint.effect in ("NoSchedule", "NoExecute") and not pod.tolerates(taint) for taint in node.taints
    ):
        return Rejection((REASON_TAINTS,))
    if pod.node_selector and any(node.labels.get(key) != value for key, value in pod.node_selector.items()):
        return Rejection((REASON_NODE_AFFINITY,))
    if pod.node_affinity is not None and not matches_node_selector(pod.node_affinity, node.labels, node.name):
        return Rejection((REASON_NODE_AFFINITY,))
    if pod.host_ports and _ports_taken(pod, state):
        return Rejection((REASON_PORTS,), curable=True)
    missing = _insufficient(pod, state)
    if missing is not None:
        return missing
    if view.exclusive_in_use:
        return Rejection((REASON_EXCLUSIVE,), curable=True)
    reason, _ = volume_plan(view.claims, node)
    if reason:
        return Rejection((reason,))
    reason = spread_reason(view.spread, node)
    if reason:
        return Rejection((reason,), curable=not reason.endswith("(missing required label)"))
    reason = affinity_reason(view.affinity, node)
    if reason:
        return Rejection((reason,), curable="anti-affinity" in reason)
    return None


def _ports_taken(pod: Pod, state: NodeState) -> bool:
    return any(
        wanted.conflicts(taken)
        for wanted in pod.host_ports
        for other in state.pods.values()
        for taken in other.host_ports
    )


def _insufficient(pod: Pod, state: NodeState) -> Rejection | None:
    """Resources the node lacks; curable unless the pod asks for more than the whole node has."""
    reasons, curable = [], True
    allowed = state.node.allocatable.get("pods")
    if allowed is not None and len(state.pods) + 1 > allowed:
        reasons.append("Too many pods")
    for name, amount in pod.requests.items():
        if not amount:
            continue
        allocatable = state.node.allocatable.get(name, 0)
        if amount > allocatable - state.requested.get(name, 0):
            reasons.append(f"Insufficient {name}")
            curable = curable and amount <= allocatable
    return Rejection(tuple(reasons), curable) if reasons else None
