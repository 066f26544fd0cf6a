"""The budgets' shell: caches in, status out. Source: `workloads` 13.1 and 19."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeport.api import budgets
from homeport.api.owners import Owner, controller_of
from homeport.api.resources import RESOURCES, find
from homeport.api.selectors import NOTHING, LabelSelector, label_selector_from_object
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import Informer, InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers import children
from homeport.controllers.disruption.codec import decode_budget, decode_pod, failed_status, selector_text, status_of
from homeport.controllers.disruption.reconcile import Count, count, needs_scales
from homeport.controllers.indices import index_by_label, selected
from homeport.errors import BadRequest, NotFound

__all__ = ["DisruptionController"]

BUDGETS: Final = find("PodDisruptionBudget", "policy")
PODS: Final = find("Pod")
SELECTOR: Final = "selector"
REPLICA_SETS: Final = find("ReplicaSet", "apps")
DEPLOYMENTS: Final = find("Deployment", "apps")
SCALED: Final = (REPLICA_SETS, DEPLOYMENTS, find("StatefulSet", "apps"), find("ReplicationController"))
WORKERS: Final = 2
_UNMANAGED: Final = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


class _Unknown(Exception):
    """Nobody can say how many pods there should be; the text says why."""


class DisruptionController:
    """Tells for every budget how many pods may be evicted now."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue("disruption")
        self._events = EventRecorder(client, clock, "controllermanager")
        self._budgets = informers.informer(BUDGETS)
        self._pods = informers.informer(PODS)
        self._scaled: Mapping[tuple[str, str], Informer] = {
            (resource.group, resource.kind): informers.informer(resource) for resource in SCALED
        }
        self._budgets.add_indexer(SELECTOR, _filed_under)
        self._budgets.add_handler(add=self._budget_changed, update=lambda _, new: self._budget_changed(new))
        self._pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        for cache in (self._budgets, self._pods, *self._scaled.values()):
            await cache.synced.wait()
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            await self._queue.process(self.sync, workers=WORKERS)

    async def sync(self, key: Key) -> None:
        """Bring one budget's status up to date. Raises ApiError when it is to be repeated."""
        obj = self._budgets.get(*key)
        if obj is None:
            return
        now = self._clock.now()
        pods = selected(self._pods, key[0], _selector_of(obj))
        if not pods:
            self._events.normal(obj, "NoPods", "No matching pods found")
        try:
            counted = self._count(obj, pods, now)
        except _Unknown as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self._events.warning(obj, "CalculateExpectedPodCountFailed", text)
            await self._write(obj, failed_status(obj, str(error), now))
            return
        if counted.unmanaged:
            text = _UNMANAGED.format(selector_text(obj["spec"].get("selector") or {}))
            self._events.warning(obj, "UnmanagedPods", text)
        late = set(counted.overdue)
        for pod in (pod for pod in pods if pod["metadata"]["name"] in late):
            text = f"Pod was expected by PDB {key[0]}/{key[1]} to be deleted but it wasn't"
            self._events.warning(pod, "NotDeleted", text)
        await self._write(obj, status_of(obj, counted, now))
        if counted.recheck_at is not None:
            self._queue.add_after(key, max(0.0, counted.recheck_at - now))

    def _count(self, obj: Object, pods: Sequence[Object], now: float) -> Count:
        """Raises _Unknown when some pod's controller cannot be asked for its scale."""
        budget = decode_budget(obj)
        scales: dict[str, int] = {}
        if not needs_scales(budget):
            return count(budget, [decode_pod(pod, "") for pod in pods], scales, now)
        seen = []
        for pod in pods:
            owner = controller_of(pod)
            scaler = "" if owner is None else self._scale(pod, owner, scales)
            seen.append(decode_pod(pod, scaler))
        return count(budget, seen, scales, now)

    def _scale(self, pod: Object, owner: Owner, scales: dict[str, int]) -> str:
        """Note how many pods the controller of a pod asks for, and return its uid: a Deployment's for its sets."""
        namespace = pod["metadata"]["namespace"]
        found = self._resolve(pod, namespace, owner)
        if found["kind"] == REPLICA_SETS.kind:  # its Deployment's number counts, if it has one that is there
            found = children.resolve(self._scaled["apps", DEPLOYMENTS.kind], namespace, controller_of(found)) or found
        uid: str = found["metadata"]["uid"]
        scales[uid] = found["spec"].get("replicas", 1)
        return uid

    def _resolve(self, pod: Object, namespace: str, owner: Owner) -> Object:
        cache = self._scaled.get((owner.group, owner.kind))
        if cache is None:
            raise _Unknown(_no_scale(owner))
        found = children.resolve(cache, namespace, owner)
        if found is None:
            raise _Unknown(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        return found

    async def _write(self, obj: Object, status: dict[str, Any]) -> None:
        if status == obj.get("status"):
            return
        try:
            await self._client.update(BUDGETS, {**obj, "status": status}, subresource="status")
        except NotFound:
            return

    def _budget_changed(self, budget: Object) -> None:
        index_by_label(self._pods)  # from the first budget on
        self._queue.add(key_of(budget))

    def _pod_changed(self, pod: Object) -> None:
        """Look at the budgets that select a pod; one that does no longer is not told, as upstream."""
        namespace, name = key_of(pod)
        found = budgets.matching(self._candidates(namespace, pod), pod)
        for budget in found:
            self._queue.add(key_of(budget))
        if len(found) > 1:
            chosen = found[0]["metadata"]["name"]
            text = f'Pod "{namespace}"/"{name}" matches multiple PodDisruptionBudgets.  Chose "{chosen}" arbitrarily.'
            self._events.warning(pod, "MultiplePodDisruptionBudgets", text)

    def _candidates(self, namespace: str, pod: Object) -> Sequence[Object]:
        """Return the budgets that may select a pod, in the order of their names."""
        labels = pod["metadata"].get("labels") or {}
        places = [_place(namespace, name, value) for name, value in labels.items()]
        found = [budget for place in (namespace, *places) for budget in self._budgets.by_index(SELECTOR, place)]
        return sorted(found, key=key_of)


def _selector_of(budget: Object) -> LabelSelector:
    """Return what a budget selects; one that cannot be read selects nothing."""
    try:
        return label_selector_from_object(budget["spec"].get("selector"))
    except BadRequest:
        return NOTHING


def _filed_under(budget: Object) -> Sequence[str]:
    """File a budget under a label it asks for; one that asks for none by its value, under its namespace."""
    namespace, selector = budget["metadata"].get("namespace", ""), _selector_of(budget)
    if selector.nothing:
        return ()
    return (_place(namespace, *selector.pairs[0]) if selector.pairs else namespace,)


def _place(namespace: str, name: str, value: str) -> str:
    return f"{namespace}/{name}={value}"


def _no_scale(owner: Owner) -> str:
    """Say why a controller cannot be asked how many pods it wants."""
    for resource in RESOURCES:
        if (resource.group, resource.kind) == (owner.group, owner.kind):
            return f"{resource.group_resource} does not implement the scale subresource"
    return f'no matches for kind "{owner.kind}" in version "{owner.api_version}"'
