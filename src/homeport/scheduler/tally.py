"""How many pods each selector matches on each node, counted once and kept up to date pod by pod.

Spreading asks that with every decision; counting anew would cost as much as there are pods.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from homeport.api.selectors import LabelSelector
from homeport.scheduler.model import Pod

__all__ = ["Tally"]

Pair: TypeAlias = tuple[str, str, str]
"""Namespace, label and value."""

LIMIT: Final = 10_000
"""Selectors followed at a time; beyond that all are forgotten and counted again when asked for."""

UNIQUE: Final = frozenset({"statefulset.kubernetes.io/pod-name"})
"""Labels that tell pods apart: there is no use in finding pods by them."""


class _Count:
    __slots__ = ("by_node", "selector")

    def __init__(self, selector: LabelSelector) -> None:
        self.selector = selector
        self.by_node: dict[str, int] = {}

    def move(self, pod: Pod, node: str, step: int) -> None:
        if self.selector.matches(pod.labels):
            self.by_node[node] = self.by_node.get(node, 0) + step


class Tally:
    """Counts of the pods that were `put`; a terminating pod counts nowhere."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, LabelSelector], _Count] = {}
        self._by_pair: dict[Pair, list[_Count]] = {}
        self._loose: dict[str, list[_Count]] = {}  # by namespace: selectors no label value finds
        self._pods: dict[str, dict[str, tuple[Pod, str]]] = {}  # by namespace, by uid
        self._pods_by_pair: dict[Pair, dict[str, tuple[Pod, str]]] = {}

    def put(self, pod: Pod, node: str) -> None:
        """Count a pod that was not counted."""
        if pod.terminating:
            return
        place = (pod, node)
        self._pods.setdefault(pod.namespace, {})[pod.uid] = place
        for pair in _pairs(pod):
            self._pods_by_pair.setdefault(pair, {})[pod.uid] = place
        for count in self._concerned(pod):
            count.move(pod, node, 1)

    def drop(self, pod: Pod) -> None:
        """Count a pod no more."""
        place = self._pods.get(pod.namespace, {}).pop(pod.uid, None)
        if place is None:
            return
        pod, node = place
        for pair in _pairs(pod):
            found = self._pods_by_pair.get(pair, {})
            found.pop(pod.uid, None)
            if not found:
                self._pods_by_pair.pop(pair, None)
        for count in self._concerned(pod):
            count.move(pod, node, -1)

    def matching(self, namespace: str, selector: LabelSelector) -> Mapping[str, int]:
        """Return how many pods of a namespace a selector matches, by node."""
        count = self._counts.get((namespace, selector))
        return (count or self._follow(namespace, selector)).by_node

    def _follow(self, namespace: str, selector: LabelSelector) -> _Count:
        if len(self._counts) >= LIMIT:
            for known in (self._counts, self._by_pair, self._loose):
                known.clear()
        count = self._counts[namespace, selector] = _Count(selector)
        pair = _pair(namespace, selector)
        if pair is None:
            self._loose.setdefault(namespace, []).append(count)
            pods = self._pods.get(namespace, {})
        else:
            self._by_pair.setdefault(pair, []).append(count)
            pods = self._pods_by_pair.get(pair, {})
        for pod, node in pods.values():
            count.move(pod, node, 1)
        return count

    def _concerned(self, pod: Pod) -> Iterator[_Count]:
        yield from self._loose.get(pod.namespace, ())
        for pair in _pairs(pod):
            yield from self._by_pair.get(pair, ())


def _pairs(pod: Pod) -> list[Pair]:
    return [(pod.namespace, label, value) for label, value in pod.labels.items() if label not in UNIQUE]


def _pair(namespace: str, selector: LabelSelector) -> Pair | None:
    for term in selector.requirements:
        if term.operator in ("=", "==") and term.key not in UNIQUE:
            return namespace, term.key, term.values[0]
    return None
