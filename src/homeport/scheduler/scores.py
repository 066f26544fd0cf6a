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
    weighted: list[tuple[float, Scores]] = [
        (3, _scaled(_each(candidates, lambda state: -_shunned(pod, state)))),
        (2, _scaled(_each(candidates, lambda state: _liked(pod, state)), floor=0.0)),
        (2, _spread(pod, candidates, snapshot)),
        (2, _neighbours(pod, candidates, snapshot)),
        (1, _each(candidates, lambda state: _least_allocated(pod, state))),
        (1, _each(candidates, lambda state: _balanced(pod, state))),
        (1, _each(candidates, lambda state: _image_locality(pod, state))),
    ]
    return {
        state.node.name: sum(weight * scores[state.node.name] for weight, scores in weighted) for state in candidates
    }


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
        return _each(candidates, lambda _: 0.0)
    penalties = _each(candidates, lambda state: spread_penalty(views, state.node))
    finite = [penalty for penalty in penalties.values() if penalty != float("inf")]
    worst = max(finite, default=0.0)
    return {
        name: 0.0 if penalty == float("inf") else (TOP * (worst - penalty) / worst if worst else TOP)
        for name, penalty in penalties.items()
    }


def _neighbours(pod: Pod, candidates: Sequence[NodeState], snapshot: Snapshot) -> dict[str, float]:
    weights = preference(pod, snapshot)
    return _scaled(
        _each(
            candidates,
            lambda state: float(sum(w for (key, value), w in weights.items() if state.node.labels.get(key) == value)),
        )
    )


def _fractions(pod: Pod, state: NodeState) -> list[float]:
    """Return the share of each scored resource in use with the pod on the node."""
    shares = []
    for name in SCORED:
        allocatable = state.node.allocatable.get(name, 0)
        if allocatable:
            used = state.scored.get(name, 0) + pod.scored_requests.get(name, 0)
            shares.append(min(1.0, used / allocatable))
    return shares


def _least_allocated(pod: Pod, state: NodeState) -> float:
    shares = _fractions(pod, state)
    return TOP * (1 - sum(shares) / len(shares)) if shares else 0.0


def _balanced(pod: Pod, state: NodeState) -> float:
    shares = _fractions(pod, state)
    return TOP * (1 - abs(shares[0] - shares[-1]) / 2) if shares else 0.0


def _image_locality(pod: Pod, state: NodeState) -> float:
    present = sum(image in state.node.images for image in pod.images)
    return TOP * present / len(pod.images) if pod.images else 0.0
