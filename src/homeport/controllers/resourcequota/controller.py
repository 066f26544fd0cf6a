"""The quotas' shell: counts what each quota covers, when something it covers came or went.

The API server charges a quota when it lets an object in; this side gives back what is gone and corrects the rest. So
additions are looked at a moment later, when the object the charge was for is there to be counted.
Source: api-machinery 21.5, workloads 19.
"""

from collections.abc import Sequence
from typing import Final

from homeport.api import pods as pod_rules
from homeport.api import quotas
from homeport.api.resources import RESOURCES, Resource, find
from homeport.client.contract import Client, Object
from homeport.client.informer import Informer, InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.indices import in_namespace, index_by_namespace
from homeport.controllers.resourcequota.reconcile import status_of
from homeport.errors import NotFound

__all__ = ["ResourceQuotaController"]

QUOTAS: Final = find("ResourceQuota")
PODS: Final = find("Pod")
WORKERS: Final = 5
SETTLE_SECONDS: Final = 1.0
"""How long after an object came what is used is counted again."""
RECOUNT_SECONDS: Final = 300.0
"""How long after a quota was charged: the object may never have come."""


def countable(resources: Sequence[Resource] = RESOURCES) -> list[Resource]:
    """Return the kinds a quota can count: all in namespaces but events."""
    return [each for each in resources if each.namespaced and each.kind != "Event" and "watch" in each.verbs]


class ResourceQuotaController:
    """Keeps the status of every quota. Quotas are its keys."""

    component = "resourcequota-controller"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue(self.component)
        self._quotas = informers.informer(QUOTAS)
        index_by_namespace(self._quotas)
        self._quotas.add_handler(add=self._quota_seen, update=self._quota_changed)
        self._kinds = countable()
        self._followed = [informers.informer(resource) for resource in self._kinds]
        for informer in self._followed:
            self._follow(informer)

    def _follow(self, informer: Informer) -> None:
        informer.add_handler(add=self._came, update=self._changed, delete=self._went)

    async def run(self) -> None:
        """Count; ends by cancellation only."""
        for informer in self._followed:
            await informer.synced.wait()
        await self._queue.process(self.sync, workers=WORKERS)

    async def sync(self, key: Key) -> None:
        """Count for one quota. Raises ApiError when it is to be repeated."""
        namespace, name = key
        try:
            quota = await self._client.get(QUOTAS, namespace, name)
        except NotFound:
            return
        kinds = quotas.counted_kinds(self._kinds, quota["spec"].get("hard") or ())
        objects = [(kind, (await self._client.list(kind, namespace)).items) for kind in kinds]
        status = status_of(quota, objects, self._clock.now())
        if status != (quota.get("status") or {}):
            await self._client.update(QUOTAS, {**quota, "status": status}, subresource="status")

    def _quota_seen(self, quota: Object) -> None:
        self._queue.add(key_of(quota))

    def _quota_changed(self, old: Object, new: Object) -> None:
        if old["spec"] != new["spec"]:
            self._queue.add(key_of(new))
        elif old.get("status") != new.get("status"):
            self._queue.add_after(key_of(new), RECOUNT_SECONDS)

    def _came(self, obj: Object) -> None:
        for quota in self._of(obj):
            self._queue.add_after(key_of(quota), SETTLE_SECONDS)

    def _went(self, obj: Object) -> None:
        for quota in self._of(obj):
            self._queue.add(key_of(quota))

    def _changed(self, old: Object, new: Object) -> None:
        match new.get("kind"):
            case "Pod":
                matters = pod_rules.is_terminal(old) != pod_rules.is_terminal(new)
            case "Service" | "PersistentVolumeClaim":
                matters = old["spec"] != new["spec"]
            case _:
                matters = False
        if matters:
            self._went(new)

    def _of(self, obj: Object) -> Sequence[Object]:
        return in_namespace(self._quotas, obj["metadata"].get("namespace", ""))
