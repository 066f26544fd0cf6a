"""The shell: caches in, requests out. No rule about subsets lives here."""

import asyncio

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.backend_caches import ServicePods
from homeport.controllers.backends import TriggerTimes, decode_service, observe_trigger
from homeport.controllers.endpoints.codec import decode_content, encode
from homeport.controllers.endpoints.reconcile import MANAGED_BY_LABEL, MANAGER, desired
from homeport.controllers.mirroring.reconcile import LEADER_ANNOTATION
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.own_writes import OwnWrites
from homeport.errors import ApiError, Conflict, NotFound

__all__ = ["EndpointsController"]

SERVICES = find("Service")
PODS = find("Pod")
ENDPOINTS = find("Endpoints")
REST = 20.0
REST_LIMIT_SECONDS = 0.25
"""What is out of date elsewhere, and read by none of our own parts, takes a twentieth of the time at most."""


class EndpointsController:
    """Keeps the Endpoints of every Service with a selector. Services are its keys."""

    component = "endpoint-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client = client
        self._services = informers.informer(SERVICES)
        self._pods = informers.informer(PODS)
        self._endpoints = informers.informer(ENDPOINTS)
        self._events = EventRecorder(client, clock, self.component)
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        self._writes.watch(self._endpoints)
        self._triggers: dict[Key, TriggerTimes] = {}
        self._leftovers: set[Key] = set()  # Endpoints found at the start that no Service is there for
        self._backends = ServicePods(self._services, self._pods, self._queue.add)
        self._services.on_change(lambda service: self._queue.add(key_of(service)))
        self._endpoints.on_change(lambda endpoints: self._queue.add(key_of(endpoints)))

    async def run(self) -> None:
        """Keep Endpoints right; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in (self._services, self._pods, self._endpoints):
                await informer.synced.wait()
            self._look_for_leftovers()
            await self._queue.process(self.sync, workers=5, rest=REST, rest_limit_seconds=REST_LIMIT_SECONDS)

    async def sync(self, key: Key) -> None:
        """Bring the Endpoints of one Service up to date. Raises ApiError to be called again."""
        raw, current = self._services.get(*key), self._endpoints.get(*key)
        if raw is None:
            self._triggers.pop(key, None)
            if current is not None and (_is_ours(current) or key in self._leftovers):
                await self._delete(current)
            self._leftovers.discard(key)
            return
        self._leftovers.discard(key)
        service = decode_service(raw)
        if not service.managed or service.selector is None or self._writes.behind(key):
            return
        pods = self._backends.of(key[0], service.selector)
        content = desired(service, pods)
        self._triggers[key], trigger_time = observe_trigger(self._triggers.get(key), service, pods)
        if current is not None and decode_content(current) == content:
            return
        body = encode(service, content, trigger_time, current)
        try:
            if current is None:
                written = await self._client.create(ENDPOINTS, body)
            else:
                written = await self._client.update(ENDPOINTS, body)
        except ApiError as error:
            if namespace_is_terminating(error):
                return
            if not isinstance(error, Conflict):
                new = current is None
                reason = "FailedToCreateEndpoint" if new else "FailedToUpdateEndpoint"
                what = "create endpoint for service" if new else "update endpoint"
                self._events.warning(body, reason, f"Failed to {what} {key[0]}/{key[1]}: {error}")
            raise
        self._writes.wrote(key, self._endpoints, written)

    def _look_for_leftovers(self) -> None:
        """Whatever Service the Endpoints of a start were for is gone; those of leader elections never had one."""
        for endpoints in self._endpoints.list():
            key = key_of(endpoints)
            leads = LEADER_ANNOTATION in (endpoints["metadata"].get("annotations") or {})
            if not leads and self._services.get(*key) is None:
                self._leftovers.add(key)
                self._queue.add(key)

    async def _delete(self, endpoints: Object) -> None:
        meta = endpoints["metadata"]
        try:
            await self._client.delete(ENDPOINTS, meta["namespace"], meta["name"], uid=meta["uid"])
        except NotFound:
            return  # somebody was faster


def _is_ours(endpoints: Object) -> bool:
    """Whether this controller made it: objects others keep (leader election, by hand) stay until the next start."""
    return bool((endpoints["metadata"].get("labels") or {}).get(MANAGED_BY_LABEL) == MANAGER)
