"""Finalizers that keep claims and volumes from going while somebody uses them.

Source: workloads 17.4 of the specification: a claim waits for every scheduled pod that lists it, whatever the pod's
phase; a volume waits while it is Bound.
"""

from homeport.api.resources import Resource, find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.controllers.volumes.binder import CLAIMS, PODS_BY_CLAIM, VOLUMES, claims_of
from homeport.errors import NotFound

__all__ = ["CLAIM_FINALIZER", "VOLUME_FINALIZER", "ClaimProtection", "VolumeProtection", "protected"]

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
PODS = find("Pod")


def protected(obj: Object, finalizer: str, *, used: bool) -> list[str] | None:
    """Return the finalizers an object should have, None when it has them.

    What is not being deleted carries the finalizer; what is keeps it while `used`.
    """
    meta = obj["metadata"]
    finalizers: list[str] = list(meta.get("finalizers") or ())
    if "deletionTimestamp" not in meta:
        return None if finalizer in finalizers else [*finalizers, finalizer]
    if used or finalizer not in finalizers:
        return None
    return [name for name in finalizers if name != finalizer]


def uses_claim(pod: Object) -> bool:
    """Whether a pod that lists a claim holds it: it has been given to a node."""
    return bool((pod.get("spec") or {}).get("nodeName"))


class ClaimProtection:
    """Guards claims. Claims are its keys."""

    component = "pvc-protection-controller"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._claims = informers.informer(CLAIMS)
        self._pods = informers.informer(PODS, indexers={PODS_BY_CLAIM: claims_of})
        self._claims.add_handler(add=self._changed, update=lambda _, new: self._changed(new))
        self._pods.add_handler(delete=self._released)

    async def run(self) -> None:
        """Guard; ends by cancellation only."""
        await self._claims.synced.wait()
        await self._pods.synced.wait()
        await self._queue.process(self.sync)

    async def sync(self, key: Key) -> None:
        """Add or remove the finalizer of one claim. Raises ApiError to be called again."""
        claim = self._claims.get(*key)
        if claim is None:
            return
        finalizers = protected(claim, CLAIM_FINALIZER, used=self._used(key))
        if finalizers is None or ("deletionTimestamp" in claim["metadata"] and await self._used_live(key)):
            return
        await _write(self._client, CLAIMS, claim, finalizers)

    def _used(self, key: Key) -> bool:
        return any(uses_claim(pod) for pod in self._pods.by_index(PODS_BY_CLAIM, "/".join(key)))

    async def _used_live(self, key: Key) -> bool:
        """Ask the server as well: a pod bound a moment ago may not be in the copy, and the data would be lost."""
        namespace, name = key
        pods = (await self._client.list(PODS, namespace)).items
        return any(uses_claim(pod) and f"{namespace}/{name}" in claims_of(pod) for pod in pods)

    def _changed(self, claim: Object) -> None:
        self._queue.add(key_of(claim))

    def _released(self, pod: Object) -> None:
        for claim in claims_of(pod):
            namespace, _, name = claim.partition("/")
            self._queue.add((namespace, name))


class VolumeProtection:
    """Guards volumes. Volumes are its keys."""

    component = "pv-protection-controller"

    def __init__(self, client: Client, informers: InformerFactory) -> None:
        self._client = client
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._volumes = informers.informer(VOLUMES)
        self._volumes.add_handler(add=self._changed, update=lambda _, new: self._changed(new))

    async def run(self) -> None:
        """Guard; ends by cancellation only."""
        await self._volumes.synced.wait()
        await self._queue.process(self.sync)

    async def sync(self, key: Key) -> None:
        """Add or remove the finalizer of one volume. Raises ApiError to be called again."""
        volume = self._volumes.get(*key)
        if volume is None:
            return
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        finalizers = protected(volume, VOLUME_FINALIZER, used=bound)
        if finalizers is not None:
            await _write(self._client, VOLUMES, volume, finalizers)

    def _changed(self, volume: Object) -> None:
        self._queue.add(key_of(volume))


async def _write(client: Client, resource: Resource, obj: Object, finalizers: list[str]) -> None:
    meta = obj["metadata"]
    patch = {"metadata": {"finalizers": finalizers, "resourceVersion": meta["resourceVersion"]}}
    try:
        await client.patch(resource, meta.get("namespace"), meta["name"], patch)
    except NotFound:
        return  # it has gone already
