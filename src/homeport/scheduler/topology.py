"""Pod affinity, anti-affinity and spread: rules about which pods share a topology domain.

Source: node 16.2 and 16.3 of the specification.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from homeport.api.node_selectors import matches_node_selector
from homeport.scheduler.model import AffinityTerm, Node, NodeState, Pod, Snapshot, SpreadConstraint

__all__ = ["Domains", "affinity_reason", "preference", "spread_penalty", "spread_reason", "term_matches"]

Domains = Mapping[str, int]
"""How many matching pods each value of a topology key holds."""

REASON_AFFINITY = "node(s) didn't match pod affinity rules"
REASON_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
REASON_EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
REASON_SPREAD = "node(s) didn't match pod topology spread constraints"
REASON_SPREAD_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"


def term_matches(term: AffinityTerm, owner: Pod, other: Pod, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a term that `owner` carries speaks of `other`."""
    if term.namespaces or term.namespace_selector is not None:
        named = other.namespace in term.namespaces
        selected = term.namespace_selector is not None and term.namespace_selector.matches(
            namespaces.get(other.namespace, {})
        )
        if not named and not selected:
            return False
    elif other.namespace != owner.namespace:
        return False
    return term.selector.matches(other.labels)


@dataclass(frozen=True, slots=True)
class AffinityView:
    """Domains counted once per decision: per required term of the pod, and those existing pods keep it out of."""

    affinity: tuple[tuple[AffinityTerm, Domains], ...]
    anti_affinity: tuple[tuple[AffinityTerm, Domains], ...]
    forbidden: frozenset[tuple[str, str]]
    alone: bool
    """No pod anywhere matches the affinity terms, and the pod itself does: the first of its kind may go anywhere."""


def affinity_view(pod: Pod, snapshot: Snapshot) -> AffinityView:
    def count(term: AffinityTerm) -> Domains:
        return _domains(term.topology_key, snapshot, lambda other: term_matches(term, pod, other, snapshot.namespaces))

    affinity = tuple((term, count(term)) for term in pod.affinity)
    alone = not any(domains for _, domains in affinity) and all(
        term_matches(term, pod, pod, snapshot.namespaces) for term in pod.affinity
    )
    forbidden = frozenset(
        (term.topology_key, state.node.labels[term.topology_key])
        for state, other in snapshot.picky_pods()
        for term in other.anti_affinity
        if term.topology_key in state.node.labels and term_matches(term, other, pod, snapshot.namespaces)
    )
    return AffinityView(affinity, tuple((term, count(term)) for term in pod.anti_affinity), forbidden, alone)


def affinity_reason(view: AffinityView, node: Node) -> str:
    """Return why the node does not satisfy required affinity, "" when it does."""
    for key, domain in view.forbidden:
        if node.labels.get(key) == domain:
            return REASON_EXISTING_ANTI_AFFINITY
    for term, domains in view.affinity:
        value = node.labels.get(term.topology_key)
        if value is None or (not view.alone and not domains.get(value)):
            return REASON_AFFINITY
    for term, domains in view.anti_affinity:
        if domains.get(node.labels.get(term.topology_key, "")):
            return REASON_ANTI_AFFINITY
    return ""


@dataclass(frozen=True, slots=True)
class SpreadView:
    constraint: SpreadConstraint
    domains: Domains
    least: int
    itself: int
    """1 when the pod counts among those it is spread against."""


def spread_views(pod: Pod, snapshot: Snapshot, *, required: bool) -> tuple[SpreadView, ...]:
    """Return the domains of each constraint of the pod, hard or soft ones."""
    constraints = [constraint for constraint in pod.spread if constraint.required is required]
    keys = [constraint.topology_key for constraint in constraints if not constraint.lenient]
    views = []
    for constraint in constraints:
        domains: dict[str, int] = {}
        matching = snapshot.matching(pod.namespace, constraint.selector)
        for name, state in snapshot.nodes.items():
            node = state.node
            if constraint.topology_key not in node.labels or (keys and any(key not in node.labels for key in keys)):
                continue
            if not _counts(pod, constraint, node):
                continue
            domain = node.labels[constraint.topology_key]
            domains[domain] = domains.get(domain, 0) + matching.get(name, 0)
        least = min(domains.values(), default=0) if len(domains) >= constraint.min_domains else 0
        itself = int(constraint.selector.matches(pod.labels))
        views.append(SpreadView(constraint, domains, least, itself))
    return tuple(views)


def _counts(pod: Pod, constraint: SpreadConstraint, node: Node) -> bool:
    if constraint.honor_affinity and not _admits(pod, node):
        return False
    return not constraint.honor_taints or all(
        taint.effect == "PreferNoSchedule" or pod.tolerates(taint) for taint in node.taints
    )


def _admits(pod: Pod, node: Node) -> bool:
    if pod.node_selector and any(node.labels.get(k) != v for k, v in pod.node_selector.items()):
        return False
    return pod.node_affinity is None or matches_node_selector(pod.node_affinity, node.labels, node.name)


def spread_reason(views: Iterable[SpreadView], node: Node) -> str:
    """Return why the node breaks a hard constraint, "" when it does not."""
    for view in views:
        domain = node.labels.get(view.constraint.topology_key)
        if domain is None:
            return REASON_SPREAD_LABEL
        if view.domains.get(domain, 0) + view.itself - view.least > view.constraint.max_skew:
            return REASON_SPREAD
    return ""


def spread_penalty(views: Iterable[SpreadView], node: Node) -> float:
    """Return how crowded the node's domains are with pods like this one; less is better."""
    penalty = 0.0
    for view in views:
        domain = node.labels.get(view.constraint.topology_key)
        if domain is None:
            if view.constraint.lenient:
                continue
            return float("inf")
        penalty += view.domains.get(domain, 0) + view.constraint.max_skew - 1
    return penalty


def preference(pod: Pod, snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """Return the weight each (topology key, value) gains or loses by preferred terms, the pod's and the others'.

    A required affinity of an existing pod counts 1 for a pod it speaks of.
    """
    weights: dict[tuple[str, str], int] = {}

    def add(state: NodeState, key: str, weight: int) -> None:
        value = state.node.labels.get(key)
        if value is not None:
            weights[key, value] = weights.get((key, value), 0) + weight

    if pod.preferred or pod.avoided:
        for state, other in snapshot.pods():
            for sign, own in ((1, pod.preferred), (-1, pod.avoided)):
                for entry in own:
                    if term_matches(entry.term, pod, other, snapshot.namespaces):
                        add(state, entry.term.topology_key, sign * entry.weight)
    for state, other in snapshot.picky_pods():
        for sign, theirs in ((1, other.preferred), (-1, other.avoided)):
            for entry in theirs:
                if term_matches(entry.term, other, pod, snapshot.namespaces):
                    add(state, entry.term.topology_key, sign * entry.weight)
        for term in other.affinity:
            if term_matches(term, other, pod, snapshot.namespaces):
                add(state, term.topology_key, 1)
    return weights


def _domains(key: str, snapshot: Snapshot, matches: Callable[[Pod], bool]) -> Domains:
    domains: dict[str, int] = {}
    for state, other in snapshot.pods():
        value = state.node.labels.get(key)
        if value is not None and matches(other):
            domains[value] = domains.get(value, 0) + 1
    return domains
