"""The built-in provisioner: a directory of this machine for every claim that waits for one.

It is an external provisioner like any other: it acts on claims the binder announced to it, and all it knows is in the
API. Source: workloads 17.3 and node 9.2, 9.3 of the specification.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

from homeport.api.quantity import Quantity
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.volumes.binder import CLAIMS, CLASSES, VOLUMES
from homeport.controllers.volumes.directories import Directories
from homeport.controllers.volumes.model import (
    DEFAULT_CLASS,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONERS,
    Claim,
    StorageClass,
    Volume,
    decode_claim,
    decode_class,
    decode_volume,
)
from homeport.errors import AlreadyExists, NotFound

__all__ = [
    "CLASS_NAME",
    "PROVISIONER",
    "LocalProvisioner",
    "class_body",
    "directory_name",
    "volume_body",
    "wants_volume",
]

PROVISIONER: Final = "homeport.local/directory"
CLASS_NAME: Final = "homeport-local"
NODES = find("Node")
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"

WorkKey = tuple[Literal["claim", "volume", "leftovers"], str, str]
LEFTOVERS: Final[WorkKey] = ("leftovers", "", "")


def class_body() -> dict[str, Any]:
    """Return the StorageClass this provisioner serves: the cluster's default."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS_NAME, "annotations": {DEFAULT_CLASS: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def wants_volume(claim: Claim, storage_class: StorageClass | None) -> bool:
    """Whether the claim has been announced to this provisioner and may be served now."""
    if claim.terminating or claim.volume_name or storage_class is None or storage_class.provisioner != PROVISIONER:
        return False
    if all(claim.annotations.get(name) != PROVISIONER for name in STORAGE_PROVISIONERS):
        return False
    return bool(claim.selected_node) or not storage_class.waits_for_consumer


def volume_name(claim: Claim) -> str:
    return f"pvc-{claim.uid}"


def directory_name(volume: str, namespace: str, claim: str) -> str:
    return f"{volume}_{namespace}_{claim}"


def volume_body(claim: Claim, storage_class: StorageClass, path: str, hostname: str) -> dict[str, Any]:
    """Return the volume for a claim: its size and modes, pinned to the node whose directory it is."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name(claim), "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim.request_text},
            "accessModes": sorted(claim.access_modes),
            "volumeMode": claim.volume_mode,
            "storageClassName": storage_class.name,
            "persistentVolumeReclaimPolicy": storage_class.reclaim,
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": claim.namespace,
                "name": claim.name,
                "uid": claim.uid,
            },
            "local": {"path": path},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": HOSTNAME_LABEL, "operator": "In", "values": [hostname]}]}
                    ]
                }
            },
        },
    }


def growth(claim: Claim, volume: Volume, storage_class: StorageClass | None) -> Quantity | None:
    """Return the size to grow to, None when the claim has what it asks for or its class forbids more."""
    if storage_class is None or not storage_class.expandable or volume.provisioned_by != PROVISIONER:
        return None
    if not claim.bind_completed or claim.volume_name != volume.name or claim.capacity is None:
        return None
    return claim.requested if claim.requested > claim.capacity else None


def is_reclaimable(volume: Volume) -> bool:
    """Whether the volume's data may go: released, ours, and its class said so."""
    return (
        volume.phase in ("Released", "Failed") and volume.reclaim == "Delete" and volume.provisioned_by == PROVISIONER
    )


class LocalProvisioner:
    """Makes, grows and removes local volumes. Claims and volumes are its keys."""

    component = PROVISIONER

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory, directories: Directories) -> None:
        self._client, self._directories = client, directories
        self._events = EventRecorder(client, clock, PROVISIONER)
        self._queue: WorkQueue[WorkKey] = WorkQueue("local-provisioner")
        self._claims = informers.informer(CLAIMS)
        self._volumes = informers.informer(VOLUMES)
        self._classes = informers.informer(CLASSES)
        self._nodes = informers.informer(NODES)
        self._claims.on_change(lambda claim: self._queue.add(("claim", *key_of(claim))))
        self._claims.add_handler(delete=lambda _: self._queue.add(LEFTOVERS))
        self._volumes.on_change(lambda volume: self._queue.add(("volume", *key_of(volume))))
        self._classes.add_handler(add=lambda _: self._wake_claims())
        self._nodes.add_handler(add=lambda _: self._wake_claims())

    async def run(self) -> None:
        """Provision; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in (self._claims, self._volumes, self._classes, self._nodes):
                await informer.synced.wait()
            self._queue.add(LEFTOVERS)
            await self._queue.process(self.sync)

    async def sync(self, key: WorkKey) -> None:
        """Serve one claim or reclaim one volume. Raises ApiError or OSError to be called again."""
        kind, namespace, name = key
        if kind == "claim":
            raw = self._claims.get(namespace, name)
            if raw is not None:
                await self._serve(raw)
        elif kind == "leftovers":
            await self._tidy()
        else:
            raw = self._volumes.get(None, name)
            if raw is not None and is_reclaimable(decode_volume(raw)):
                await self._reclaim(raw)

    async def _serve(self, raw: Object) -> None:
        claim = decode_claim(raw)
        storage_class = self._class(claim.class_name)
        if storage_class is not None and wants_volume(claim, storage_class):
            await self._provision(raw, claim, storage_class)
        bound = self._volumes.get(None, claim.volume_name) if claim.volume_name else None
        if bound is not None and growth(claim, decode_volume(bound), storage_class) is not None:
            await self._grow(raw, claim)

    async def _provision(self, raw: Object, claim: Claim, storage_class: StorageClass) -> None:
        if self._volumes.get(None, volume_name(claim)) is not None:
            return
        node = self._node(claim.selected_node)
        if claim.volume_mode != "Filesystem" or node is None:
            reason = (
                "block volumes are not supported"
                if claim.volume_mode != "Filesystem"
                else f'node "{claim.selected_node}" not found'
            )
            message = f'failed to provision volume with StorageClass "{storage_class.name}": {reason}'
            self._events.warning(raw, "ProvisioningFailed", message)
            await self._let_go(claim)
            return
        name = volume_name(claim)
        self._events.normal(
            raw,
            "Provisioning",
            f'External provisioner is provisioning volume for claim "{claim.namespace}/{claim.name}"',
        )
        facts = {"volume": name, "uid": claim.uid, "namespace": claim.namespace, "claim": claim.name}
        try:
            directory = directory_name(name, claim.namespace, claim.name)
            path = await asyncio.to_thread(self._directories.create, directory, facts)
        except OSError as error:
            message = f'failed to provision volume with StorageClass "{storage_class.name}": {error}'
            self._events.warning(raw, "ProvisioningFailed", message)
            raise
        hostname = (node["metadata"].get("labels") or {}).get(HOSTNAME_LABEL, node["metadata"]["name"])
        try:
            await self._client.create(VOLUMES, volume_body(claim, storage_class, path, hostname))
        except AlreadyExists:
            return  # made before, and the copy is behind
        self._events.normal(raw, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _let_go(self, claim: Claim) -> None:
        """Give the scheduler back its choice, so that another node can be tried."""
        if claim.selected_node:
            patch = {"metadata": {"annotations": {SELECTED_NODE: None}, "uid": claim.uid}}
            await self._client.patch(CLAIMS, claim.namespace, claim.name, patch)

    async def _grow(self, raw: Object, claim: Claim) -> None:
        size = {"storage": claim.request_text}
        await self._client.patch(VOLUMES, None, claim.volume_name, {"spec": {"capacity": size}})
        status = {"status": {"capacity": size}, "metadata": {"uid": claim.uid}}
        await self._client.patch(CLAIMS, claim.namespace, claim.name, status, subresource="status")
        self._events.normal(raw, "VolumeResizeSuccessful", "Resize volume succeeded")

    async def _reclaim(self, raw: Object) -> None:
        volume = decode_volume(raw)
        if volume.claim is None:
            return
        try:
            directory = directory_name(volume.name, volume.claim.namespace, volume.claim.name)
            await asyncio.to_thread(self._directories.remove, directory)
        except OSError as error:
            self._events.warning(raw, "VolumeFailedDelete", str(error))
            if volume.phase != "Failed":
                status = {"status": {"phase": "Failed", "message": str(error)}}
                await self._client.patch(VOLUMES, None, volume.name, status, subresource="status")
            raise
        if volume.terminating:
            return
        try:
            await self._client.delete(VOLUMES, None, volume.name, uid=volume.uid)
        except NotFound:
            return  # somebody was faster

    async def _tidy(self) -> None:
        """Remove directories made for claims that went before their volume was recorded.

        Only ones nobody has written to: what the API does not know may be all that is left of a lost store.
        """
        wanted = {f"pvc-{claim['metadata']['uid']}" for claim in self._claims.list()}
        wanted |= {volume["metadata"]["name"] for volume in self._volumes.list()}
        for name in await asyncio.to_thread(self._directories.names):
            if name.partition("_")[0] not in wanted:
                await asyncio.to_thread(self._directories.remove_unused, name)

    def _class(self, name: str | None) -> StorageClass | None:
        raw = self._classes.get(None, name) if name else None
        return decode_class(raw) if raw is not None else None

    def _node(self, selected: str) -> Mapping[str, Any] | None:
        """Return the node chosen for a claim; any one when its class does not wait for a choice."""
        if selected:
            return self._nodes.get(None, selected)
        return min(self._nodes.list(), key=lambda node: node["metadata"]["name"], default=None)

    def _wake_claims(self) -> None:
        for claim in self._claims.list():
            self._queue.add(("claim", *key_of(claim)))
