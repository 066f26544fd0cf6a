"""Claims that live and die with a pod: `ephemeral.volumeClaimTemplate`.

Source: node 8.8 of the specification. A claim of the same name that was not made for the pod is left alone, and the pod
waits.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_of, controller_reference
from homeport.api.pod_volumes import ephemeral_claim_name
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.outcome import namespace_is_terminating
from homeport.errors import AlreadyExists, ApiError

__all__ = ["EphemeralVolumes", "claim_body"]

PODS = find("Pod")
CLAIMS = find("PersistentVolumeClaim")


def claim_body(pod: Mapping[str, Any], volume: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claim for one ephemeral volume of a pod, which owns it."""
    template = volume["ephemeral"]["volumeClaimTemplate"]
    meta = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": ephemeral_claim_name(pod, volume),
            "namespace": pod["metadata"]["namespace"],
            "labels": dict(meta.get("labels") or {}),
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [controller_reference(pod).as_json()],
        },
        "spec": template["spec"],
    }


class EphemeralVolumes:
    """Makes the claims. Pods are its keys; the garbage collector takes the claims away again."""

    component = "ephemeral-volume-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client = client
        self._events = EventRecorder(client, clock, "ephemeral_volume")
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._pods = informers.informer(PODS)
        self._claims = informers.informer(CLAIMS)
        self._pods.add_handler(add=self._pod_seen)
        self._claims.add_handler(delete=self._claim_gone)

    async def run(self) -> None:
        """Make claims; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            await self._pods.synced.wait()
            await self._claims.synced.wait()
            await self._queue.process(self.sync)

    async def sync(self, key: Key) -> None:
        """Make the claims one pod lacks. Raises ApiError to be called again."""
        pod = self._pods.get(*key)
        if pod is None or not pod_rules.is_active(pod):
            return
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            if volume.get("ephemeral"):
                await self._provide(pod, volume)

    async def _provide(self, pod: Object, volume: Mapping[str, Any]) -> None:
        body = claim_body(pod, volume)
        namespace, name = pod["metadata"]["namespace"], body["metadata"]["name"]
        claim = self._claims.get(namespace, name)
        if claim is None:
            try:
                claim = await self._client.create(CLAIMS, body)
            except AlreadyExists:
                claim = await self._client.get(CLAIMS, namespace, name)
            except ApiError as error:
                if namespace_is_terminating(error):
                    return
                message = f"ephemeral volume {volume['name']}: create PVC {name}: {error}"
                self._events.warning(pod, "EphemeralVolumeClaimCreationFailed", message)
                raise
        owner = controller_of(claim)
        if owner is None or owner.uid != pod["metadata"]["uid"]:
            message = f"PVC {namespace}/{name} was not created for pod {namespace}/{pod['metadata']['name']}"
            self._events.warning(pod, "EphemeralVolumeClaimCreationFailed", message)

    def _pod_seen(self, pod: Object) -> None:
        if any(volume.get("ephemeral") for volume in (pod.get("spec") or {}).get("volumes") or ()):
            self._queue.add(key_of(pod))

    def _claim_gone(self, claim: Object) -> None:
        owner = controller_of(claim)
        if owner is not None and owner.kind == "Pod":
            self._queue.add((claim["metadata"]["namespace"], owner.name))
