"""The shell: caches in, requests out. No rule about mirroring lives here."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from homeport.api.owners import controller_reference
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.backends import Port
from homeport.controllers.endpointslice.model import MANAGED_BY_LABEL, SERVICE_NAME_LABEL
from homeport.controllers.mirroring.reconcile import (
    LIMIT,
    MANAGER,
    Action,
    CreateMirror,
    DeleteMirror,
    Desired,
    Mirror,
    Mirroring,
    UpdateMirror,
    desired_mirrors,
    is_mirrored,
    reconcile,
)
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.own_writes import OwnWrites
from homeport.errors import ApiError, NotFound

__all__ = ["EndpointSliceMirroring"]

SERVICES = find("Service")
ENDPOINTS = find("Endpoints")
SLICES = find("EndpointSlice", "discovery.k8s.io")
BY_ENDPOINTS = "mirrored-endpoints"


def _mirrored(slice_: Object) -> list[str]:
    labels = slice_["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY_LABEL) != MANAGER or SERVICE_NAME_LABEL not in labels:
        return []
    return [f"{slice_['metadata']['namespace']}/{labels[SERVICE_NAME_LABEL]}"]


class EndpointSliceMirroring:
    """Mirrors Endpoints nobody else makes slices for. They are its keys."""

    component = "endpoint-slice-mirroring-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client = client
        self._services = informers.informer(SERVICES)
        self._endpoints = informers.informer(ENDPOINTS)
        self._slices = informers.informer(SLICES, indexers={BY_ENDPOINTS: _mirrored})
        self._events = EventRecorder(client, clock, self.component)
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        self._writes.watch(self._slices)
        self._services.on_change(lambda service: self._queue.add(key_of(service)))
        self._endpoints.on_change(lambda endpoints: self._queue.add(key_of(endpoints)))
        self._slices.on_change(self._slice_changed)

    async def run(self) -> None:
        """Mirror; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in (self._services, self._endpoints, self._slices):
                await informer.synced.wait()
            await self._queue.process(self.sync)

    async def sync(self, key: Key) -> None:
        """Bring the mirrors of one Endpoints object up to date. Raises ApiError to be called again."""
        if self._writes.behind(key):
            return
        endpoints = self._endpoints.get(*key)
        existing = {s["metadata"]["name"]: s for s in self._slices.by_index(BY_ENDPOINTS, "/".join(key))}
        wanted: Sequence[Desired] = ()
        if endpoints is not None and is_mirrored(endpoints, self._services.get(*key)):
            mirroring = desired_mirrors(endpoints)
            wanted = mirroring.slices
            self._tell(endpoints, mirroring)
        for action in reconcile(wanted, [_decode(slice_) for slice_ in existing.values()]):
            try:
                await self._perform(key, endpoints, action, existing)
            except ApiError as error:
                if not namespace_is_terminating(error):
                    raise

    def _tell(self, endpoints: Object, mirroring: Mirroring) -> None:
        if mirroring.invalid:
            message = f"Skipped {mirroring.invalid} invalid IP addresses when mirroring to EndpointSlices"
            self._events.warning(endpoints, "InvalidIPAddress", message)
        if mirroring.skipped > mirroring.invalid:
            message = f"A max of {LIMIT} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            message += f"{mirroring.skipped} addresses were skipped"
            self._events.warning(endpoints, "TooManyAddressesToMirror", message)

    async def _perform(
        self, key: Key, endpoints: Object | None, action: Action, existing: Mapping[str, Object]
    ) -> None:
        match action:
            case CreateMirror(content) if endpoints is not None:
                body = {
                    "apiVersion": SLICES.api_version,
                    "kind": SLICES.kind,
                    "metadata": {
                        "generateName": f"{key[1]}-",
                        "namespace": key[0],
                        "ownerReferences": [controller_reference(endpoints).as_json()],
                    },
                    "addressType": content.address_type,
                }
                written = await self._client.create(SLICES, _saying(body, content))
                self._writes.wrote(key, self._slices, written)
            case UpdateMirror(name, content):
                written = await self._client.update(SLICES, _saying(existing[name], content))
                self._writes.wrote(key, self._slices, written)
            case DeleteMirror(name, uid):
                self._writes.deleted(key, self._slices, existing[name])
                try:
                    await self._client.delete(SLICES, key[0], name, uid=uid)
                except NotFound:
                    return  # somebody was faster

    def _slice_changed(self, slice_: Object) -> None:
        for endpoints in _mirrored(slice_):
            namespace, _, name = endpoints.partition("/")
            self._queue.add((namespace, name))


def _saying(base: Mapping[str, Any], content: Desired) -> dict[str, Any]:
    meta = {**base["metadata"], "labels": dict(content.labels), "annotations": dict(content.annotations)}
    ports = [
        {"name": p.name, "protocol": p.protocol, "port": p.number}
        | ({"appProtocol": p.app_protocol} if p.app_protocol else {})
        for p in content.ports
    ]
    return {**base, "metadata": meta, "ports": ports, "endpoints": list(content.endpoints)}


def _decode(raw: Mapping[str, Any]) -> Mirror:
    meta = raw["metadata"]
    ports = tuple(
        Port(p.get("name") or "", p.get("protocol") or "TCP", p.get("port") or 0, p.get("appProtocol") or "")
        for p in raw.get("ports") or ()
    )
    content = Desired(
        raw.get("addressType", ""),
        ports,
        tuple(raw.get("endpoints") or ()),
        meta.get("labels") or {},
        meta.get("annotations") or {},
    )
    return Mirror(meta["name"], meta["uid"], content)
