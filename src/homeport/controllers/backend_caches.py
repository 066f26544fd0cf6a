"""Services and their pods in the caches: who wakes when a pod changes, and which pods a selector takes."""

from collections.abc import Callable, Mapping

from homeport.client.contract import Object
from homeport.client.informer import Informer, Key
from homeport.controllers.backends import Backend, decode_backend, selects
from homeport.controllers.indices import in_namespace, index_by_namespace

__all__ = ["ServicePods"]


class ServicePods:
    """Calls `wake` with every Service whose endpoints a pod's change may alter, in the same turn of the loop.

    A change that leaves labels and `Backend` as they were wakes nobody (services-dns 11, rule 9).
    """

    def __init__(self, services: Informer, pods: Informer, wake: Callable[[Key], None]) -> None:
        self._services, self._pods, self._wake = services, pods, wake
        index_by_namespace(services)
        index_by_namespace(pods)
        pods.add_handler(add=self._changed, update=self._updated, delete=self._changed)

    def of(self, namespace: str, selector: Mapping[str, str]) -> list[Backend]:
        """Return the pods a selector takes."""
        return [
            decode_backend(pod)
            for pod in in_namespace(self._pods, namespace)
            if selects(selector, pod["metadata"].get("labels") or {})
        ]

    def _changed(self, pod: Object) -> None:
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
        for service in in_namespace(self._services, namespace):
            selector = (service.get("spec") or {}).get("selector")
            if selector and selects(selector, labels):
                self._wake((namespace, service["metadata"]["name"]))

    def _updated(self, old: Object, new: Object) -> None:
        relabelled = old["metadata"].get("labels") != new["metadata"].get("labels")
        if relabelled:
            self._changed(old)
        if relabelled or decode_backend(old) != decode_backend(new):
            self._changed(new)
