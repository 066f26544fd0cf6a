"""From the API to the index: one event in, one change of the zone out, in the same step of the loop."""

from collections.abc import Callable, Iterable

from homeport.api.resources import Resource, find
from homeport.client.contract import Object
from homeport.client.informer import Informer, InformerFactory
from homeport.dns import objects
from homeport.dns.lag import Lag
from homeport.dns.objects import Part
from homeport.dns.server import DnsServer
from homeport.dns.settings import PodRecords

__all__ = ["Feed"]


class Feed:
    """Keeps a server's index equal to the cluster, from watches alone.

    Namespace changes do not move the serial (services-dns 14.5), yet what was said of absent ones is forgotten.
    """

    def __init__(self, factory: InformerFactory, server: DnsServer) -> None:
        self._server = server
        self._use_pod_names = server.settings.endpoint_pod_names
        self._lag = Lag(server.settings.emulation.lag)
        self._informers: dict[str, Informer] = {}
        self._follow(factory, find("Namespace"), self._put_namespace, self._drop_namespace)
        self._follow(factory, find("Service"), self._put_service, self._drop_service)
        slices = find("EndpointSlice", "discovery.k8s.io")
        self._follow(factory, slices, self._late(self._put_slice), self._late(self._drop_slice))
        if server.settings.pods is PodRecords.VERIFIED:
            self._follow(factory, find("Pod"), self._put_pod, self._drop_pod)

    def missing(self) -> list[str]:
        """Return the collections whose first list is not in yet."""
        return [plural for plural, informer in self._informers.items() if not informer.synced.is_set()]

    async def run(self) -> None:
        """Declare the server in sync once every first list is in, then stay; ends by cancellation only."""
        for informer in self._informers.values():
            await informer.synced.wait()
        self._server.synced()

    def _follow(
        self, factory: InformerFactory, kind: Resource, put: Callable[[Object], None], drop: Callable[[Object], None]
    ) -> None:
        informer = self._informers[kind.plural] = factory.informer(kind)
        informer.add_handler(add=put, update=lambda _, new: put(new), delete=drop)

    def _late(self, apply: Callable[[Object], None]) -> Callable[[Object], None]:
        """Return the same call, made after the emulated lag once the first lists are in."""

        def call(tree: Object) -> None:
            if self._server.index.synced:
                self._lag.call(lambda: apply(tree))
            else:
                apply(tree)

        return call

    def _changed(self, names: Iterable[Part]) -> None:
        touched = list(names)
        if touched:
            self._server.changed(touched)

    def _put_namespace(self, tree: Object) -> None:
        if self._server.index.put_namespace(tree["metadata"]["name"]):
            self._server.memo.clear()

    def _drop_namespace(self, tree: Object) -> None:
        if self._server.index.drop_namespace(tree["metadata"]["name"]):
            self._server.memo.clear()

    def _put_service(self, tree: Object) -> None:
        service = objects.service(tree)
        if self._server.index.put_service(service):
            self._changed([service.key])

    def _drop_service(self, tree: Object) -> None:
        key = objects.service(tree).key
        if self._server.index.drop_service(key):
            self._changed([key])

    def _put_slice(self, tree: Object) -> None:
        part = objects.slice_of(tree, use_pod_names=self._use_pod_names)
        if part is None:
            self._drop_slice(tree)
        else:
            self._changed(self._server.index.put_slice(part))

    def _drop_slice(self, tree: Object) -> None:
        meta = tree["metadata"]
        self._changed(self._server.index.drop_slice(meta["namespace"], meta["name"]))

    def _put_pod(self, tree: Object) -> None:
        pod = objects.pod(tree)
        if pod is None:
            self._drop_pod(tree)
        elif self._server.index.put_pod(pod):
            self._server.index.touch(self._server.now())
            self._server.memo.clear()

    def _drop_pod(self, tree: Object) -> None:
        meta = tree["metadata"]
        if self._server.index.drop_pod(meta["namespace"], meta["name"]):
            self._server.index.touch(self._server.now())
            self._server.memo.clear()
