"""How well the nodes that can take a pod suit it: each score runs from 0 to 100 and has a weight.

Source: node 16.3 of the specification.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from homeport.api.node_selectors import matches_node_term
from homeport.scheduler.model import NodeState, Pod, Snapshot
from homeport.scheduler.topology import preference, spread_penalty, spread_views

__all__ = ["totals"]

TOP: Final = 100.0
SCORED: Final = ("cpu", "memory")

Scores = Mapping[str, float]


def totals(pod: Pod, candidates: Sequence[NodeState], snapshot: Snapshot) -> dict[str, float]:
    """Return the weighted sum for each candidate's name."""
    weighted: list[tuple[float, Scores]] = []
    if any(state.node.taints for state in candidates):
        weighted.append((3, _scaled(_each(candidates, lambda state: -_shunned(pod, state)))))
    if pod.preferred_nodes:
        weighted.append((2, _scaled(_each(candidates, lambda state: _liked(pod, state)), floor=0.0)))
    weighted.append((2, _spread(pod, candidates, snapshot)))
    weighted.append((2, _neighbours(pod, candidates, snapshot)))
    total = _each(candidates, lambda state: _resources(pod, state) + _image_locality(pod, state))
    for weight, scores in weighted:
        for name, score in scores.items():
            total[name] += weight * score
    return total


def _each(candidates: Sequence[NodeState], score: Callable[[NodeState], float]) -> dict[str, float]:
    return {state.node.name: score(state) for state in candidates}


def _scaled(raw: Mapping[str, float], floor: float | None = None) -> dict[str, float]:
    """Stretch scores over 0 to 100; equal ones are all 0, so that they decide nothing."""
    low = min(raw.values(), default=0.0) if floor is None else floor
    span = max(raw.values(), default=0.0) - low
    return {name: TOP * (value - low) / span if span > 0 else 0.0 for name, value in raw.items()}


def _shunned(pod: Pod, state: NodeState) -> float:
    return float(sum(t.effect == "PreferNoSchedule" and not pod.tolerates(t) for t in state.node.taints))


def _liked(pod: Pod, state: NodeState) -> float:
    node = state.node
    return float(sum(weight for weight, term in pod.preferred_nodes if matches_node_term(term, node.labels, node.name)))


def _spread(pod: Pod, candidates: Sequence[NodeState], snapshot: Snapshot) -> dict[str, float]:
    views = spread_views(pod, snapshot, required=False)
    if not views:
        return {}
    penalties = _each(candidates, lambda state: spread_penalty(views, state.node))
    finite = [penalty for penalty in penalties.values() if penalty != float("inf")]
    worst = max(finite, default=0.0)
    return {
        name: 0.0 if penalty == float("inf") else (TOP * (worst - penalty) / worst if worst else TOP)
        for name, penalty in penalties.items()
    }


def _neighbours(pod: Pod, candidates: Sequence[NodeState], snapshot: Snapshot) -> dict[str, float]:
    weights = preference(pod, snapshot)
    if not weights:
        return {}
    return _scaled(
        _each(
            candidates,
            lambda state: float(sum(w for (key, value), w in weights.items() if state.node.labels.get(key) == value)),
        )
    )


def _resources(pod: Pod, state: NodeState) -> float:
    """Return how little of the node would be in use with the pod on it, plus how evenly its resources would be."""
    shares = []
    allocatable, taken, wanted = state.node.allocatable, state.scored, pod.scored_requests
    for name in SCORED:
        if room := allocatable.get(name, 0):
            used = (taken.get(name, 0) + wanted.get(name, 0)) / room
            shares.append(used if used < 1.0 else 1.0)
    if not shares:
        return 0.0
    return TOP * (1 - sum(shares) / len(shares)) + TOP * (1 - abs(shares[0] - shares[-1]) / 2)


def _image_locality(pod: Pod, state: NodeState) -> float:
    images = state.node.images
    if not images:
        return 0.0
    present = sum(image in images for image in pod.images)
    return TOP * present / len(pod.images) if pod.images else 0.0
