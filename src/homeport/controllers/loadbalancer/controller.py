"""The shell: Services in, `status.loadBalancer` out. No rule about addresses lives here.

Services that name a `loadBalancerClass` belong to somebody else's provider and are left alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.loadbalancer.assign import Address, Exhausted, Pool, Wanted, assign
from homeport.errors import NotFound

__all__ = ["LoadBalancerController"]

SERVICES: Final = find("Service")


class LoadBalancerController:
    """Gives every LoadBalancer Service an address of a pool, for as long as it is one. Services are its keys."""

    component = "service-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory, pools: Sequence[Pool]) -> None:
        self._client, self._pools = client, pools
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._events = EventRecorder(client, clock, self.component)
        self._services = informers.informer(SERVICES)
        self._given: dict[Key, tuple[Address, ...]] = {}
        self._waiting: set[Key] = set()
        self._services.on_change(lambda service: self._queue.add(key_of(service)))

    async def run(self) -> None:
        """Look after the Services; ends by cancellation only."""
        await self._services.synced.wait()
        for service in self._services.list():
            held = _held(service)
            if _served(service) and held:
                self._given[key_of(service)] = assign(Wanted(_versions(service), held=held), self._pools, ())
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            await self._queue.process(self.sync)  # one after the other: they share the pools

    async def sync(self, key: Key) -> None:
        """Bring one Service's addresses to what they should be. Raises ApiError to be called again."""
        service = self._services.get(*key)
        if service is None or not _served(service):
            self._release(key)
            return
        taken = {address for other, given in self._given.items() if other != key for address in given}
        wanted = Wanted(_versions(service), service["spec"].get("loadBalancerIP") or "", _held(service))
        try:
            given = assign(wanted, self._pools, taken)
        except Exhausted as error:
            if key not in self._waiting:
                message = f"Error syncing load balancer: failed to ensure load balancer: {error}"
                self._events.warning(service, "SyncLoadBalancerFailed", message)
            self._release(key)
            self._waiting.add(key)
            return
        self._waiting.discard(key)
        self._given[key] = given
        if tuple(map(str, given)) != _held(service):
            await self._tell(key, service, given)

    async def _tell(self, key: Key, service: Object, given: Sequence[Address]) -> None:
        ingress = [{"ip": str(address), "ipMode": "VIP"} for address in given]
        patch = {"metadata": {"uid": service["metadata"]["uid"]}, "status": {"loadBalancer": {"ingress": ingress}}}
        try:
            await self._client.patch(SERVICES, *key, patch, subresource="status")
        except NotFound:
            return
        self._events.normal(service, "EnsuredLoadBalancer", "Ensured load balancer")

    def _release(self, key: Key) -> None:
        """Give a Service's addresses back; whoever waits for one looks again."""
        if self._given.pop(key, None):
            for other in self._waiting - {key}:
                self._queue.add(other)
        self._waiting.discard(key)


def _served(service: Object) -> bool:
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass")


def _versions(service: Object) -> tuple[int, ...]:
    return tuple(6 if family == "IPv6" else 4 for family in service["spec"].get("ipFamilies") or ())


def _held(service: Object) -> tuple[str, ...]:
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return tuple(entry["ip"] for entry in entries if entry.get("ip"))
