"""The shell of the binder: caches in, requests out. No rule about claims or volumes lives here."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

from homeport.api import pods as pod_rules
from homeport.api.pod_volumes import claim_names
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers.own_writes import OwnWrites
from homeport.controllers.volumes.model import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    STORAGE_PROVISIONERS,
    Claim,
    Volume,
    decode_claim,
    decode_class,
    decode_volume,
)
from homeport.controllers.volumes.reconcile import (
    Action,
    AnnounceProvisioner,
    AssignClass,
    BindClaim,
    BindVolume,
    DeleteVolume,
    Notice,
    ReleaseVolume,
    SetClaimPhase,
    SetVolumePhase,
    reconcile_claim,
    reconcile_volume,
)
from homeport.errors import NotFound

__all__ = ["CLAIMS", "CLASSES", "PODS_BY_CLAIM", "VOLUMES", "VolumeBinder", "claims_of"]

CLAIMS = find("PersistentVolumeClaim")
VOLUMES = find("PersistentVolume")
CLASSES = find("StorageClass", "storage.k8s.io")
PODS = find("Pod")
PODS_BY_CLAIM = "claim"
VOLUMES_BY_CLAIM = "claim"
_NOBODY = ""

RETELL_SECONDS = 15.0
"""How often an unbound claim is told again why: events age, and the trouble does not. Upstream's period."""

WorkKey = tuple[Literal["claim", "volume"], str, str]


def claims_of(pod: Object) -> Sequence[str]:
    """Return `namespace/name` of every claim a pod mounts."""
    namespace = pod["metadata"]["namespace"]
    return [f"{namespace}/{name}" for name in claim_names(pod)]


def _claim_of(volume: Object) -> Sequence[str]:
    ref = (volume.get("spec") or {}).get("claimRef")
    return (f"{ref.get('namespace', '')}/{ref.get('name', '')}",) if ref else (_NOBODY,)


class VolumeBinder:
    """Binds claims and volumes to each other. Claims and volumes are its keys."""

    component = "persistentvolume-controller"

    def __init__(
        self, client: Client, clock: Clock, informers: InformerFactory, *, retell_seconds: float = RETELL_SECONDS
    ) -> None:
        self._client, self._clock, self._retell_seconds = client, clock, retell_seconds
        self._events = EventRecorder(client, clock, self.component)
        self._growth = EventRecorder(client, clock, "volume_expand")
        self._queue: WorkQueue[WorkKey] = WorkQueue(self.component)
        self._claims = informers.informer(CLAIMS)
        self._volumes = informers.informer(VOLUMES, indexers={VOLUMES_BY_CLAIM: _claim_of})
        self._classes = informers.informer(CLASSES)
        self._pods = informers.informer(PODS, indexers={PODS_BY_CLAIM: claims_of})
        self._writes: OwnWrites[WorkKey] = OwnWrites(self._queue)
        self._writes.watch(self._claims)
        self._writes.watch(self._volumes)
        self._claims.on_change(self._claim_changed)
        self._claims.add_handler(update=self._claim_grown)
        self._volumes.on_change(self._volume_changed)
        self._classes.add_handler(add=lambda _: self._wake_unbound(), update=lambda *_: self._wake_unbound())
        self._pods.add_handler(add=self._consumer_came)

    async def run(self) -> None:
        """Bind; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            self._growth.begin(group)
            for informer in (self._claims, self._volumes, self._classes, self._pods):
                await informer.synced.wait()
            await self._queue.process(self.sync)

    async def sync(self, key: WorkKey) -> None:
        """Take one claim or volume a step further. Raises ApiError to be called again."""
        kind, namespace, name = key
        if self._writes.behind(key):
            return
        if kind == "claim":
            raw = self._claims.get(namespace, name)
            if raw is not None:
                await self._sync_claim(key, raw)
        else:
            raw = self._volumes.get(None, name)
            if raw is not None:
                await self._sync_volume(key, raw)

    async def _sync_claim(self, key: WorkKey, raw: Object) -> None:
        claim = decode_claim(raw)
        volumes = self._concerned(claim)
        classes = {c.name: c for c in map(decode_class, self._classes.list())}
        actions = reconcile_claim(claim, volumes, classes, self._consumers(claim))
        for action in actions:
            await self._perform(key, raw, action)
        if any(isinstance(action, Notice) for action in actions) and not claim.bind_completed:
            self._queue.add_after(key, self._retell_seconds)

    def _concerned(self, claim: Claim) -> dict[str, Volume]:
        """Return the volumes a claim may have to do with: its own, the one it asks for, and those that are free."""
        found = [*self._volumes.by_index(VOLUMES_BY_CLAIM, f"{claim.namespace}/{claim.name}")]
        if not claim.bind_completed:
            found += self._volumes.by_index(VOLUMES_BY_CLAIM, _NOBODY)
        wanted = self._volumes.get(None, claim.volume_name) if claim.volume_name else None
        return {volume.name: volume for volume in map(decode_volume, [*found, *((wanted,) if wanted else ())])}

    async def _sync_volume(self, key: WorkKey, raw: Object) -> None:
        volume = decode_volume(raw)
        claim = None
        if volume.claim is not None and volume.claim.uid:
            claim = await self._claim(volume.claim.namespace, volume.claim.name, volume.claim.uid)
        for action in reconcile_volume(volume, claim):
            await self._perform(key, raw, action)

    async def _claim(self, namespace: str, name: str, uid: str) -> Claim | None:
        """Return a claim; the server is asked before a volume is released for want of it."""
        raw = self._claims.get(namespace, name)
        if raw is None or raw["metadata"]["uid"] != uid:
            try:
                raw = await self._client.get(CLAIMS, namespace, name)
            except NotFound:
                return None
        return decode_claim(raw)

    def _consumers(self, claim: Claim) -> Sequence[str]:
        pods = self._pods.by_index(PODS_BY_CLAIM, f"{claim.namespace}/{claim.name}")
        return sorted(
            pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName") and pod_rules.is_active(pod)
        )

    async def _perform(self, key: WorkKey, about: Object, action: Action) -> None:
        match action:
            case BindVolume(volume, claim, by_controller):
                ref = {
                    "kind": "PersistentVolumeClaim",
                    "apiVersion": "v1",
                    "namespace": claim.namespace,
                    "name": claim.name,
                    "uid": claim.uid,
                }
                mark = {"annotations": {BOUND_BY_CONTROLLER: "yes"}} if by_controller else {}
                await self._patch_volume(key, volume, {"spec": {"claimRef": ref}}, mark)
            case ReleaseVolume(volume, whole):
                if whole:
                    unmark: dict[str, Any] = {"annotations": {BOUND_BY_CONTROLLER: None}}
                    await self._patch_volume(key, volume, {"spec": {"claimRef": None}}, unmark)
                else:
                    await self._patch_volume(key, volume, {"spec": {"claimRef": {"uid": None}}}, {})
            case DeleteVolume(volume):
                with suppress(NotFound):
                    await self._client.delete(VOLUMES, None, volume.name, uid=volume.uid)
            case SetVolumePhase(volume, phase, message):
                changed = rfc3339(self._clock.now())
                status = {"phase": phase, "message": message or None, "lastPhaseTransitionTime": changed}
                written = await self._client.patch(VOLUMES, None, volume.name, {"status": status}, subresource="status")
                self._writes.wrote(key, self._volumes, written)
            case BindClaim(claim, volume):
                annotations = {BIND_COMPLETED: "yes"}
                if not claim.volume_name:
                    annotations[BOUND_BY_CONTROLLER] = "yes"
                patch = {"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.name}}
                await self._patch_claim(key, claim, patch)
            case SetClaimPhase(claim, phase, volume):
                claim_status: dict[str, Any] = {"phase": phase}
                if volume is not None:
                    spec = (self._volumes.get(None, volume.name) or {})["spec"]
                    claim_status |= {"accessModes": spec["accessModes"], "capacity": spec["capacity"]}
                await self._patch_claim(key, claim, {"status": claim_status}, subresource="status")
            case AssignClass(claim, class_name):
                await self._patch_claim(key, claim, {"spec": {"storageClassName": class_name}})
            case AnnounceProvisioner(claim, provisioner):
                if any(claim.annotations.get(name) != provisioner for name in STORAGE_PROVISIONERS):
                    announced = dict.fromkeys(STORAGE_PROVISIONERS, provisioner)
                    await self._patch_claim(key, claim, {"metadata": {"annotations": announced}})
            case Notice(reason, message, warning):
                record = self._events.warning if warning else self._events.normal
                record(about, reason, message)

    async def _patch_claim(self, key: WorkKey, claim: Claim, patch: dict[str, Any], subresource: str = "") -> None:
        patch = {**patch, "metadata": {**patch.get("metadata", {}), "uid": claim.uid}}
        written = await self._client.patch(CLAIMS, claim.namespace, claim.name, patch, subresource=subresource)
        self._writes.wrote(key, self._claims, written)

    async def _patch_volume(
        self, key: WorkKey, volume: Volume, patch: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Patch a volume's pointer, guarded by its version: two claims must not both win it."""
        version = (self._volumes.get(None, volume.name) or {})["metadata"]["resourceVersion"]
        guarded = {**patch, "metadata": {**metadata, "resourceVersion": version}}
        self._writes.wrote(key, self._volumes, await self._client.patch(VOLUMES, None, volume.name, guarded))

    def _claim_changed(self, raw: Object) -> None:
        namespace, name = key_of(raw)
        self._queue.add(("claim", namespace, name))
        volume = (raw.get("spec") or {}).get("volumeName")
        if volume:
            self._queue.add(("volume", "", volume))
        else:
            for candidate in self._volumes.by_index(VOLUMES_BY_CLAIM, f"{namespace}/{name}"):
                self._queue.add(("volume", "", candidate["metadata"]["name"]))

    def _claim_grown(self, old: Object, new: Object) -> None:
        """Tell who asked for more room that a provisioner has to make it."""
        before, after = decode_claim(old), decode_claim(new)
        if after.phase == "Bound" and after.requested > before.requested:
            text = "waiting for an external controller to expand this PVC"
            self._growth.normal(new, "ExternalExpanding", text)

    def _volume_changed(self, raw: Object) -> None:
        self._queue.add(("volume", "", raw["metadata"]["name"]))
        ref = (raw.get("spec") or {}).get("claimRef")
        if ref:
            self._queue.add(("claim", ref.get("namespace", ""), ref.get("name", "")))
        elif (raw.get("status") or {}).get("phase") == "Available":
            self._wake_unbound()

    def _wake_unbound(self) -> None:
        for raw in self._claims.list():
            if BIND_COMPLETED not in (raw["metadata"].get("annotations") or {}):
                self._queue.add(("claim", *key_of(raw)))

    def _consumer_came(self, pod: Object) -> None:
        """A claim that waits for its first consumer has something new to tell."""
        for claim in claims_of(pod):
            namespace, _, name = claim.partition("/")
            raw = self._claims.get(namespace, name)
            claim_class = self._classes.get(None, decode_claim(raw).class_name or "") if raw is not None else None
            if claim_class is not None and decode_class(claim_class).waits_for_consumer:
                self._queue.add(("claim", namespace, name))
