"""The shell: caches in, requests out. No rule about slices lives here."""

import asyncio

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.backend_caches import ServicePods
from homeport.controllers.backends import TriggerTimes, decode_service, observe_trigger
from homeport.controllers.endpointslice.codec import decode_slice, encode_new, encode_update
from homeport.controllers.endpointslice.hints import ZONE_LABEL, HintKeeper
from homeport.controllers.endpointslice.model import (
    MANAGED_BY_LABEL,
    MANAGER,
    SERVICE_NAME_LABEL,
    Action,
    CreateSlice,
    DeleteSlice,
    Slice,
    UpdateSlice,
)
from homeport.controllers.endpointslice.reconcile import reconcile
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.own_writes import OwnWrites
from homeport.errors import ApiError, Conflict, NotFound

__all__ = ["EndpointSliceController"]

SERVICES = find("Service")
PODS = find("Pod")
NODES = find("Node")
SLICES = find("EndpointSlice", "discovery.k8s.io")

BY_SERVICE = "endpointslice-service"

REST = 4.0
"""A Service of many pods that change one after the other takes a fifth of the time, not all of it."""


def _service_of(slice_: Object) -> list[str]:
    meta = slice_["metadata"]
    labels = meta.get("labels") or {}
    if labels.get(MANAGED_BY_LABEL) != MANAGER or SERVICE_NAME_LABEL not in labels:
        return []
    return [f"{meta['namespace']}/{labels[SERVICE_NAME_LABEL]}"]


class EndpointSliceController:
    """Keeps the slices of every Service with a selector. Services are its keys."""

    component = "endpoint-slice-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client = client
        self._services = informers.informer(SERVICES)
        self._pods = informers.informer(PODS)
        self._nodes = informers.informer(NODES)
        self._slices = informers.informer(SLICES, indexers={BY_SERVICE: _service_of})
        self._events = EventRecorder(client, clock, self.component)
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        self._writes.watch(self._slices)
        self._triggers: dict[Key, TriggerTimes] = {}
        self._zones: dict[str, str] = {}
        self._hints = HintKeeper(self._nodes, self._events, self._queue.add)
        self._decoded_slices: dict[Key, tuple[str, Slice]] = {}  # with the version each was decoded from
        self._awaiting: dict[str, set[Key]] = {}  # services that left pods out, by the node they lack
        self._backends = ServicePods(self._services, self._pods, self._queue.add)
        self._services.on_change(lambda service: self._queue.add(key_of(service)))
        self._slices.add_handler(add=self._slice_changed, update=self._slice_moved, delete=self._slice_gone)
        self._nodes.add_handler(add=self._node_seen, update=lambda _, node: self._node_seen(node))
        self._nodes.add_handler(delete=self._node_gone)

    async def run(self) -> None:
        """Keep slices right; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in (self._services, self._pods, self._nodes, self._slices):
                await informer.synced.wait()
            await self._queue.process(self.sync, workers=5, rest=REST)

    async def sync(self, key: Key) -> None:
        """Bring the slices of one Service up to date. Raises ApiError to be called again."""
        raw = self._services.get(*key)
        if raw is None:
            self._triggers.pop(key, None)
            self._hints.forget(key)
            return  # its slices are owned by it: they belong to the garbage collector
        service = decode_service(raw)
        if not service.managed or service.selector is None or self._writes.behind(key):
            return
        namespace, name = key
        pods = self._backends.of(namespace, service.selector)
        existing = {s["metadata"]["name"]: s for s in self._slices.by_index(BY_SERVICE, f"{namespace}/{name}")}
        self._triggers[key], trigger_time = observe_trigger(self._triggers.get(key), service, pods)
        slices = [self._decoded(slice_) for slice_ in existing.values()]
        plan = reconcile(service, pods, self._zones, slices, trigger_time=trigger_time, shares=self._hints.shares)
        for node in plan.missing_nodes:
            self._awaiting.setdefault(node, set()).add(key)
        try:
            for action in plan.actions:
                await self._perform(key, action, existing)
            self._hints.tell(key, raw, service, plan.hints)
        except ApiError as error:
            if namespace_is_terminating(error):
                return
            if not isinstance(error, Conflict):
                message = f"Error updating Endpoint Slices for Service {namespace}/{name}: {error}"
                self._events.warning(raw, "FailedToUpdateEndpointSlices", message)
            raise

    async def _perform(self, key: Key, action: Action, existing: dict[str, Object]) -> None:
        namespace = key[0]
        match action:
            case CreateSlice(content):
                service = decode_service(self._services.get(*key) or {})
                written = await self._client.create(SLICES, encode_new(service, content))
                self._writes.wrote(key, self._slices, written)
            case UpdateSlice(name, content):
                written = await self._client.update(SLICES, encode_update(existing[name], content))
                self._writes.wrote(key, self._slices, written)
            case DeleteSlice(name, uid):
                self._writes.deleted(key, self._slices, existing[name])
                try:
                    await self._client.delete(SLICES, namespace, name, uid=uid)
                except NotFound:
                    return  # somebody was faster

    def _decoded(self, raw: Object) -> Slice:
        key, version = key_of(raw), raw["metadata"]["resourceVersion"]
        known = self._decoded_slices.get(key)
        if known is None or known[0] != version:
            known = self._decoded_slices[key] = version, decode_slice(raw)
        return known[1]

    def _slice_gone(self, slice_: Object) -> None:
        self._decoded_slices.pop(key_of(slice_), None)
        self._slice_changed(slice_)

    def _slice_changed(self, slice_: Object) -> None:
        for service in _service_of(slice_):
            namespace, _, name = service.partition("/")
            self._queue.add((namespace, name))

    def _slice_moved(self, old: Object, new: Object) -> None:
        self._slice_changed(new)
        if _service_of(old) != _service_of(new):
            self._slice_changed(old)

    def _node_gone(self, node: Object) -> None:
        self._zones.pop(node["metadata"]["name"], None)

    def _node_seen(self, node: Object) -> None:
        name, zone = node["metadata"]["name"], (node["metadata"].get("labels") or {}).get(ZONE_LABEL, "")
        moved = self._zones.get(name, zone) != zone
        self._zones[name] = zone
        for key in self._awaiting.pop(name, ()):
            self._queue.add(key)
        if moved:
            for service in self._services.list():
                self._queue.add(key_of(service))
