"""The ServiceCIDR controller at work. Names of ServiceCIDRs are its keys."""

from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers.servicecidr.codec import cidr_of, condition_body, finalizers, used_addresses
from homeport.controllers.servicecidr.reconcile import contains, reconcile
from homeport.errors import NotFound

__all__ = ["ServiceCidrController"]

CIDRS = find("ServiceCIDR", "networking.k8s.io")
ADDRESSES = find("IPAddress", "networking.k8s.io")


class ServiceCidrController:
    """Says which ranges are fit to draw from, and lets none go that somebody needs."""

    component = "service-cidr-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[str] = WorkQueue(self.component)
        self._cidrs = informers.informer(CIDRS)
        self._addresses = informers.informer(ADDRESSES)
        self._cidrs.on_change(self._cidr_changed)
        self._addresses.add_handler(delete=self._address_gone)

    async def run(self) -> None:
        """Look after the ranges; ends by cancellation only."""
        await self._cidrs.synced.wait()
        await self._addresses.synced.wait()
        await self._queue.process(self.sync)

    async def sync(self, name: str) -> None:
        """Bring one ServiceCIDR to what it should be. Raises ApiError to be called again."""
        obj = self._cidrs.get(None, name)
        if obj is None:
            return
        others = [cidr_of(other) for other in self._cidrs.list() if other["metadata"]["name"] != name]
        used = used_addresses(self._addresses.list())
        decision = reconcile(cidr_of(obj), others, used, self._clock.now())
        try:
            if decision.finalizer is not None:
                metadata = {
                    "finalizers": finalizers(obj, wanted=decision.finalizer),
                    "resourceVersion": obj["metadata"]["resourceVersion"],
                }
                await self._client.patch(CIDRS, None, name, {"metadata": metadata})
            if decision.ready is not None:
                body = {"status": {"conditions": [condition_body(decision.ready, rfc3339(self._clock.now()))]}}
                await self._client.patch(CIDRS, None, name, body, kind=PatchType.STRATEGIC, subresource="status")
        except NotFound:
            return
        if decision.again_seconds is not None:
            self._queue.add_after(name, decision.again_seconds)

    def _cidr_changed(self, obj: Object) -> None:
        """A range that came or went counts for those that overlap with it."""
        self._queue.add(obj["metadata"]["name"])
        networks = cidr_of(obj).networks
        for other in self._cidrs.list():
            if any(
                one.version == net.version and one.overlaps(net) for one in cidr_of(other).networks for net in networks
            ):
                self._queue.add(other["metadata"]["name"])

    def _address_gone(self, obj: Object) -> None:
        """Somebody less may need a range that waits to go."""
        gone = used_addresses([obj])
        for cidr in map(cidr_of, self._cidrs.list()):
            if cidr.deleted_at is not None and any(contains(cidr.networks, address) for address in gone):
                self._queue.add(cidr.name)
