"""Nodes and pods as the scheduler sees them, and the snapshot it decides on.

Amounts are whole numbers: cpu in thousandths, everything else in units. Source: node 16 of the specification.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeport.api.selectors import LabelSelector

__all__ = [
    "AffinityTerm",
    "Counts",
    "HostPort",
    "Node",
    "NodeState",
    "Pod",
    "Snapshot",
    "SpreadConstraint",
    "Taint",
    "Toleration",
    "WeightedTerm",
]


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Toleration:
    """An empty `key` with `Exists` tolerates everything, an empty `effect` every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        match self.operator or "Equal":
            case "Exists":
                return True
            case "Equal":
                return bool(self.key) and self.value == taint.value
            case "Gt" | "Lt":
                return bool(self.key) and _compared(taint.value, self.value, self.operator)
            case _:
                return False


def _compared(actual: str, threshold: str, operator: str) -> bool:
    try:
        return int(actual) > int(threshold) if operator == "Gt" else int(actual) < int(threshold)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port on the node itself; address `0.0.0.0` stands for all of its addresses."""

    address: str
    protocol: str
    port: int

    def conflicts(self, other: "HostPort") -> bool:
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return "0.0.0.0" in (self.address, other.address) or self.address == other.address


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """A required term of pod (anti-)affinity. Empty `namespaces` with no selector means the pod's own."""

    topology_key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None = None


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    weight: int
    term: AffinityTerm


@dataclass(frozen=True, slots=True)
class SpreadConstraint:
    """`lenient`: a node without the key is not left out, the constraint says nothing about it."""

    topology_key: str
    max_skew: int
    selector: LabelSelector
    required: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False
    lenient: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    unschedulable: bool
    allocatable: Mapping[str, int]
    images: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pod:
    """Facts of a pod that matter to where it, or another one, may run.

    scored_requests  `requests`, with 100m and 200Mi in place of nothing: for scores only
    affinity, anti_affinity    required terms; `preferred` and `avoided` are their weighted kin
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    priority: int = 0
    created: str = ""
    start_time: str = ""
    terminating: bool = False
    may_preempt: bool = True
    requests: Mapping[str, int] = field(default_factory=dict)
    scored_requests: Mapping[str, int] = field(default_factory=dict)
    host_ports: tuple[HostPort, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_affinity: Mapping[str, Any] | None = None
    preferred_nodes: tuple[tuple[int, Mapping[str, Any]], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    affinity: tuple[AffinityTerm, ...] = ()
    anti_affinity: tuple[AffinityTerm, ...] = ()
    preferred: tuple[WeightedTerm, ...] = ()
    avoided: tuple[WeightedTerm, ...] = ()
    spread: tuple[SpreadConstraint, ...] = ()
    claims: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    wanted_node: str = ""
    nominated_node: str = ""

    def tolerates(self, taint: Taint) -> bool:
        return any(toleration.tolerates(taint) for toleration in self.tolerations)


@dataclass(slots=True)
class NodeState:
    """A node and the pods on it by uid, with their sums kept beside them.

    picky       those of the pods that have affinity terms, which speak of whoever comes next
    priorities  how many pods there are of each priority
    """

    node: Node
    pods: dict[str, Pod] = field(default_factory=dict)
    requested: dict[str, int] = field(default_factory=dict)
    scored: dict[str, int] = field(default_factory=dict)
    picky: dict[str, Pod] = field(default_factory=dict)
    priorities: dict[int, int] = field(default_factory=dict)

    def put(self, pod: Pod) -> None:
        """Add a pod, or its newer form."""
        self.drop(pod.uid)
        self.pods[pod.uid] = pod
        if pod.affinity or pod.anti_affinity or pod.preferred or pod.avoided:
            self.picky[pod.uid] = pod
        self.priorities[pod.priority] = self.priorities.get(pod.priority, 0) + 1
        _add(self.requested, pod.requests, 1)
        _add(self.scored, pod.scored_requests, 1)

    def drop(self, uid: str) -> None:
        """Take a pod away; one that is not here changes nothing."""
        pod = self.pods.pop(uid, None)
        if pod is not None:
            self.picky.pop(uid, None)
            self.priorities[pod.priority] -= 1
            _add(self.requested, pod.requests, -1)
            _add(self.scored, pod.scored_requests, -1)

    def lesser_than(self, priority: int) -> list[Pod]:
        """Return the pods that are less important."""
        if not any(count and known < priority for known, count in self.priorities.items()):
            return []
        return [pod for pod in self.pods.values() if pod.priority < priority]

    def with_pod(self, pod: Pod) -> "NodeState":
        """Return the node as it would be with one more pod."""
        other = self._copy()
        other.put(pod)
        return other

    def without(self, pods: Iterable[Pod]) -> "NodeState":
        """Return the node as it would be with some pods less."""
        other = self._copy()
        for pod in pods:
            other.drop(pod.uid)
        return other

    def _copy(self) -> "NodeState":
        return NodeState(
            self.node,
            dict(self.pods),
            dict(self.requested),
            dict(self.scored),
            dict(self.picky),
            dict(self.priorities),
        )


def _add(total: dict[str, int], amounts: Mapping[str, int], sign: int) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + sign * amount


class Counts(Protocol):
    """Counts of pods that somebody keeps up to date."""

    def matching(self, namespace: str, selector: LabelSelector) -> Mapping[str, int]:
        """Return how many pods of a namespace a selector matches, by node; terminating ones do not count."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at the moment of a decision: a view, to be used before anything changes.

    namespaces  the labels of each
    counts      where counts of pods are known; without, they are counted when asked for
    """

    nodes: Mapping[str, NodeState]
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    counts: Counts | None = None

    def pods(self) -> Iterable[tuple[NodeState, Pod]]:
        for state in self.nodes.values():
            for pod in state.pods.values():
                yield state, pod

    def picky_pods(self) -> Iterable[tuple[NodeState, Pod]]:
        """Yield the pods that have affinity terms, each with its node."""
        for state in self.nodes.values():
            for pod in state.picky.values():
                yield state, pod

    def matching(self, namespace: str, selector: LabelSelector) -> Mapping[str, int]:
        """Return how many pods of a namespace a selector matches, by node; terminating ones do not count."""
        if self.counts is not None:
            return self.counts.matching(namespace, selector)
        return {
            name: sum(
                not pod.terminating and pod.namespace == namespace and selector.matches(pod.labels)
                for pod in state.pods.values()
            )
            for name, state in self.nodes.items()
        }

    def with_state(self, state: NodeState) -> "Snapshot":
        """Return the cluster as it would be with one node in another state."""
        return Snapshot({**self.nodes, state.node.name: state}, self.namespaces)
