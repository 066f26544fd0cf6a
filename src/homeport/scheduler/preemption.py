"""Which running pods would have to end so that a more important one can start.

Source: node 16.4 of the specification. Disruption budgets are the caller's to weigh; none is served yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from homeport.scheduler.claims import ClaimView
from homeport.scheduler.filters import rejection, view_of
from homeport.scheduler.model import NodeState, Pod, Snapshot

__all__ = ["Eviction", "preempt"]


@dataclass(frozen=True, slots=True)
class Eviction:
    """The node that would have room once `victims` are gone."""

    node: str
    victims: tuple[Pod, ...]


def preempt(pod: Pod, nodes: Sequence[NodeState], snapshot: Snapshot, claims: ClaimView) -> Eviction | None:
    """Return the least painful eviction, None when none would help.

    Least painful: the lowest of the highest victim priorities, then the smallest sum of priorities, then the fewest
    victims, then the one whose most important victim started last.
    """
    options = []
    for state in nodes:
        victims = _victims(pod, state, snapshot, claims)
        if victims:
            options.append(Eviction(state.node.name, victims))
    return min(options, key=_pain, default=None)


def _pain(eviction: Eviction) -> tuple[int, int, int, tuple[int, ...], str]:
    highest = max(victim.priority for victim in eviction.victims)
    earliest = min(victim.start_time for victim in eviction.victims if victim.priority == highest)
    later_is_better = tuple(-ord(char) for char in earliest)
    total = sum(victim.priority for victim in eviction.victims)
    return highest, total, len(eviction.victims), later_is_better, eviction.node


def _victims(pod: Pod, state: NodeState, snapshot: Snapshot, claims: ClaimView) -> tuple[Pod, ...]:
    """Take away every less important pod, then give back each that need not go, the most important first."""
    lesser = state.lesser_than(pod.priority)
    if not lesser:
        return ()
    cleared = state.without(lesser)
    if not _fits(pod, cleared, snapshot, claims):
        return ()
    victims = []
    for other in sorted(lesser, key=lambda other: (-other.priority, other.start_time, other.name)):
        restored = cleared.with_pod(other)
        if _fits(pod, restored, snapshot, claims):
            cleared = restored
        else:
            victims.append(other)
    return tuple(victims)


def _fits(pod: Pod, state: NodeState, snapshot: Snapshot, claims: ClaimView) -> bool:
    return rejection(view_of(pod, snapshot.with_state(state), claims), state) is None
