"""How many pods are missing, or which of them go first. Nothing here touches anything.

Source: `workloads` 8.2 and 8.3.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cmp_to_key
from typing import Final

from homeport.controllers.replicaset.model import Plan, Pod, ReplicaSet

__all__ = ["BURST", "deletion_order", "reconcile"]

BURST: Final = 500
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


def reconcile(desired: ReplicaSet, pods: Iterable[Pod], related: Iterable[Pod], now: float) -> Plan:
    """Return what brings the number of active pods to `desired.replicas`, at most `BURST` of them at once.

    related  pods of every ReplicaSet of the same owner, this one's included: those that share a node go first
    """
    active = [pod for pod in pods if pod.active]
    if desired.deleting:
        return Plan()
    surplus = len(active) - desired.replicas
    if surplus <= 0:
        return Plan(create=min(-surplus, BURST))
    surplus = min(surplus, BURST)
    if surplus == len(active):
        return Plan(delete=tuple(active))
    return Plan(delete=tuple(deletion_order(active, related, now)[:surplus]))


def deletion_order(pods: Iterable[Pod], related: Iterable[Pod], now: float) -> Sequence[Pod]:
    """Return `pods` with the most dispensable first."""
    crowd = Counter(pod.node for pod in related if pod.active)

    def compare(one: Pod, other: Pod) -> int:
        for first, second in (
            (bool(one.node), bool(other.node)),
            (_PHASES.get(one.phase, 0), _PHASES.get(other.phase, 0)),
            (one.ready, other.ready),
            (one.deletion_cost, other.deletion_cost),
            (-crowd[one.node], -crowd[other.node]),
        ):
            if first != second:
                return -1 if first < second else 1
        if one.ready and other.ready:
            by_readiness = _younger_first(one, one.ready_since, other, other.ready_since, now)
            if by_readiness:
                return by_readiness
        for first, second in (
            (-one.restarts, -other.restarts),
            (-one.sidecar_restarts, -other.sidecar_restarts),
        ):
            if first != second:
                return -1 if first < second else 1
        return _younger_first(one, one.created, other, other.created, now)

    return sorted(pods, key=cmp_to_key(compare))


def _younger_first(one: Pod, since: float | None, other: Pod, other_since: float | None, now: float) -> int:
    """Compare ages on a log2 scale; inside one bucket the smaller uid goes. 0 when the times are the same.

    A time that is not known counts as the latest.
    """
    if since == other_since:
        return 0
    if since is None or other_since is None:
        return -1 if since is None else 1
    difference = _magnitude(since, now) - _magnitude(other_since, now)
    if difference == 0:
        return -1 if one.uid < other.uid else 1
    return difference


def _magnitude(since: float, now: float) -> int:
    age = (now - since) * 1e9
    return int(math.log2(age)) if age > 0 else -1
