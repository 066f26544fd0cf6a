"""From the API to the index: one event in, one change of the zone out, in the same step of the loop."""

from collections.abc import Callable, Iterable

from homeport.api.resources import find
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
        self._informers = [
            self._follow(factory.informer(find("Namespace")), self._put_namespace, self._drop_namespace),
            self._follow(factory.informer(find("Service")), self._put_service, self._drop_service),
            self._follow(
                factory.informer(find("EndpointSlice", "discovery.k8s.io")),
                self._late(self._put_slice),
                self._late(self._drop_slice),
            ),
        ]
        if server.settings.pods is PodRecords.VERIFIED:
            self._informers.append(self._follow(factory.informer(find("Pod")), self._put_pod, self._drop_pod))

    async def run(self) -> None:
        """Declare the server in sync once every first list is in, then stay; ends by cancellation only."""
        for informer in self._informers:
            await informer.synced.wait()
        self._server.synced()

    @staticmethod
    def _follow(informer: Informer, put: Callable[[Object], None], drop: Callable[[Object], None]) -> Informer:
        informer.add_handler(add=put, update=lambda _, new: put(new), delete=drop)
        return informer

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
