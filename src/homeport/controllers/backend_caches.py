"""Services and their pods in the caches: who wakes when a pod changes, and which pods a selector takes."""

from collections.abc import Callable, Mapping

from homeport.client.contract import Object
from homeport.client.informer import Informer, Key, key_of
from homeport.client.service_index import index_by_selector, services_of
from homeport.controllers.backends import Backend, decode_backend, selects

__all__ = ["ServicePods"]

Labels = Mapping[str, str]
Known = tuple[Labels, Backend]
Pair = tuple[str, str, str]
"""Namespace, label and value."""


class ServicePods:
    """Calls `wake` with every Service whose endpoints a pod's change may alter, in the same turn of the loop.

    A pod is decoded once per change and kept. A change that leaves labels and `Backend` as they were wakes nobody
    (services-dns 11, rule 9).
    """

    def __init__(self, services: Informer, pods: Informer, wake: Callable[[Key], None]) -> None:
        self._services, self._wake = services, wake
        self._known: dict[Key, Known] = {}
        self._by_pair: dict[Pair, dict[Key, Known]] = {}
        index_by_selector(services)
        pods.add_handler(add=self._seen, update=lambda _, pod: self._seen(pod), delete=self._gone)

    def of(self, namespace: str, selector: Labels) -> list[Backend]:
        """Return the pods a selector takes; an empty one takes all of the namespace."""
        if not selector:
            return [backend for (where, _), (_, backend) in self._known.items() if where == namespace]
        groups = [self._by_pair.get((namespace, name, value), {}) for name, value in selector.items()]
        return [backend for labels, backend in min(groups, key=len).values() if selects(selector, labels)]

    def _seen(self, pod: Object) -> None:
        key = key_of(pod)
        before = self._known.get(key)
        labels, backend = pod["metadata"].get("labels") or {}, decode_backend(pod)
        known = labels, backend
        if before == known:
            return
        self._known[key] = known
        if before is not None and before[0] != labels:
            self._take_out(key, before[0])
        for name, value in labels.items():
            self._by_pair.setdefault((key[0], name, value), {})[key] = known
        if not (backend.counts or (before is not None and before[1].counts)):
            return
        self._wake_services(key[0], labels)
        if before is not None and before[0] != labels:
            self._wake_services(key[0], before[0])

    def _gone(self, pod: Object) -> None:
        key = key_of(pod)
        before = self._known.pop(key, None)
        if before is not None:
            self._take_out(key, before[0])
            self._wake_services(key[0], before[0])

    def _take_out(self, key: Key, labels: Labels) -> None:
        for name, value in labels.items():
            group = self._by_pair[key[0], name, value]
            del group[key]
            if not group:
                del self._by_pair[key[0], name, value]

    def _wake_services(self, namespace: str, labels: Labels) -> None:
        for service in services_of(self._services, namespace, labels):
            self._wake((namespace, service["metadata"]["name"]))
