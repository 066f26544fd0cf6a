"""Services and their pods in the caches: who wakes when a pod changes, and which pods a selector takes."""

from collections.abc import Callable, Mapping

from homeport.client.contract import Object
from homeport.client.informer import Informer, Key, key_of
from homeport.controllers.backends import Backend, decode_backend, selects
from homeport.controllers.indices import in_namespace, index_by_namespace

__all__ = ["ServicePods"]

Labels = Mapping[str, str]


class ServicePods:
    """Calls `wake` with every Service whose endpoints a pod's change may alter, in the same turn of the loop.

    A pod is decoded once per change and kept. A change that leaves labels and `Backend` as they were wakes nobody
    (services-dns 11, rule 9).
    """

    def __init__(self, services: Informer, pods: Informer, wake: Callable[[Key], None]) -> None:
        self._services, self._wake = services, wake
        self._known: dict[str, dict[str, tuple[Labels, Backend]]] = {}  # by namespace and name
        index_by_namespace(services)
        pods.add_handler(add=self._seen, update=lambda _, pod: self._seen(pod), delete=self._gone)

    def of(self, namespace: str, selector: Labels) -> list[Backend]:
        """Return the pods a selector takes."""
        return [backend for labels, backend in self._known.get(namespace, {}).values() if selects(selector, labels)]

    def _seen(self, pod: Object) -> None:
        namespace, name = key_of(pod)
        known = self._known.setdefault(namespace, {})
        before = known.get(name)
        labels, backend = pod["metadata"].get("labels") or {}, decode_backend(pod)
        known[name] = labels, backend
        if before == (labels, backend) or not (backend.counts or (before is not None and before[1].counts)):
            return
        self._wake_services(namespace, labels)
        if before is not None and before[0] != labels:
            self._wake_services(namespace, before[0])

    def _gone(self, pod: Object) -> None:
        namespace, name = key_of(pod)
        known = self._known.get(namespace, {})
        before = known.pop(name, None)
        if not known:
            self._known.pop(namespace, None)
        if before is not None:
            self._wake_services(namespace, before[0])

    def _wake_services(self, namespace: str, labels: Labels) -> None:
        for service in in_namespace(self._services, namespace):
            selector = (service.get("spec") or {}).get("selector")
            if selector and selects(selector, labels):
                self._wake((namespace, service["metadata"]["name"]))
