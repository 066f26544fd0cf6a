"""One decision: a node for a pod, or the sentence that says why there is none.

Source: node 16.1 to 16.4 of the specification.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from homeport.scheduler.claims import Binding, ClaimView, pod_reason, volume_plan
from homeport.scheduler.filters import Rejection, rejection, view_of
from homeport.scheduler.model import NodeState, Pod, Snapshot
from homeport.scheduler.preemption import Eviction, preempt
from homeport.scheduler.scores import totals

__all__ = ["Placement", "Unschedulable", "decide", "summary"]

NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the pod goes, and what of its claims must be bound first."""

    node: str
    bindings: tuple[Binding, ...] = ()


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """`eviction`: pods whose end would make room, and on which node."""

    message: str
    eviction: Eviction | None = None


def decide(pod: Pod, snapshot: Snapshot, claims: ClaimView, rng: random.Random) -> Placement | Unschedulable:
    """Choose the best node for a pod; equal ones by lot."""
    if not snapshot.nodes:
        return Unschedulable(NO_NODES)
    whole_pod = pod_reason(claims)
    if whole_pod:
        rejections = {name: Rejection((whole_pod,)) for name in snapshot.nodes}
        return Unschedulable(f"{summary(len(snapshot.nodes), whole_pod)} {_help(pod, snapshot, rejections)}")
    view = view_of(pod, snapshot, claims)
    rejections, candidates = {}, []
    for name, state in snapshot.nodes.items():
        rejected = rejection(view, state)
        if rejected is None:
            candidates.append(state)
        else:
            rejections[name] = rejected
    if not candidates:
        curable = [snapshot.nodes[name] for name, rejected in rejections.items() if rejected.curable]
        may_preempt = not _not_eligible(pod, snapshot)
        eviction = preempt(pod, curable, snapshot, claims) if may_preempt else None
        text = summary(len(snapshot.nodes), _histogram(rejections))
        if eviction is not None:
            return Unschedulable(text, eviction)
        return Unschedulable(f"{text} {_help(pod, snapshot, rejections)}")
    chosen = _best(pod, candidates, snapshot, rng)
    _, bindings = volume_plan(claims, chosen.node)
    return Placement(chosen.node.name, bindings)


def _best(pod: Pod, candidates: list[NodeState], snapshot: Snapshot, rng: random.Random) -> NodeState:
    if len(candidates) == 1:
        return candidates[0]
    scores = totals(pod, candidates, snapshot)
    top = max(scores.values())
    return rng.choice([state for state in candidates if scores[state.node.name] == top])


def summary(nodes: int, reasons: str) -> str:
    """Return `0/3 nodes are available: <reasons>.`"""
    return f"0/{nodes} nodes are available: {reasons}."


def _histogram(rejections: Mapping[str, Rejection]) -> str:
    counts = Counter(reason for rejected in rejections.values() for reason in rejected.reasons)
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


def _not_eligible(pod: Pod, snapshot: Snapshot) -> str:
    """Return why the pod may not push others away, "" when it may."""
    if not pod.may_preempt:
        return "not eligible due to preemptionPolicy=Never."
    nominated = snapshot.nodes.get(pod.nominated_node)
    if nominated and any(p.terminating and p.priority < pod.priority for p in nominated.pods.values()):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def _help(pod: Pod, snapshot: Snapshot, rejections: Mapping[str, Rejection]) -> str:
    """Return why preemption did not help either."""
    if refused := _not_eligible(pod, snapshot):
        return f"preemption: {refused}"
    counts: Counter[str] = Counter(
        "No preemption victims found for incoming pod"
        if rejected.curable
        else "Preemption is not helpful for scheduling"
        for rejected in rejections.values()
    )
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"preemption: {summary(len(rejections), reasons)}"
