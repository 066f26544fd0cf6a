"""The shell: lists and deletes what a terminating namespace holds, again whenever something in it goes away.

Pods go first and the rest waits for them, because what runs may still need what it refers to.
"""

from collections.abc import Sequence
from typing import Any, Final

from homeport.api.resources import RESOURCES, Resource, find
from homeport.client.contract import Client, Object
from homeport.client.informer import Informer, InformerFactory
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, parse_time, rfc3339
from homeport.controllers.garbagecollector import collectable
from homeport.controllers.indices import in_namespace, index_by_namespace
from homeport.controllers.namespace.reconcile import (
    Condition,
    Failure,
    Remains,
    conditions,
    merge_conditions,
    pods_patience,
)
from homeport.errors import ApiError, Conflict, NotFound

__all__ = ["NamespaceController"]

NAMESPACES = find("Namespace")
PODS = find("Pod")
FINALIZER: Final = "kubernetes"
FINALIZERS_PATIENCE: Final = 15
"""Seconds that finalizers of its content may take before the next look."""


class NamespaceController:
    """Empties terminating namespaces and lets them go. Their names are its keys."""

    component = "namespace-controller"

    def __init__(
        self, client: Client, clock: Clock, informers: InformerFactory, resources: Sequence[Resource] = RESOURCES
    ) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[str] = WorkQueue(self.component)
        self._resources = [r for r in resources if r.namespaced and {"list", "delete"} <= set(r.verbs)]
        self._namespaces = informers.informer(NAMESPACES)
        self._namespaces.on_change(self._namespace_changed)
        for resource in collectable(self._resources):
            self._follow(informers.informer(resource))

    async def run(self) -> None:
        """Finish deletions; ends by cancellation only."""
        await self._namespaces.synced.wait()
        await self._queue.process(self.sync, workers=5)

    async def sync(self, name: str) -> None:
        """Take one namespace a step further. Raises ApiError to be called again."""
        namespace = self._namespaces.get(None, name)
        if namespace is None or not _is_terminating(namespace):
            return
        if FINALIZER not in ((namespace.get("spec") or {}).get("finalizers") or ()):
            return  # ours is done: what else holds it is somebody else's
        remains = await self._empty(namespace, [PODS])
        pods_are_gone = not remains.instances and not remains.failures
        if pods_are_gone:
            remains = await self._empty(namespace, [r for r in self._resources if r is not PODS])
        empty = pods_are_gone and not remains.instances
        await self._report(namespace, remains if pods_are_gone else Remains({}, {}, remains.failures))
        if remains.failures:
            raise ContentRemains(remains)
        if empty:
            await self._finalize(name)
        else:
            self._queue.add_after(name, remains.patience // 2 + 1)  # what goes away calls for a look earlier

    async def _empty(self, namespace: Object, resources: Sequence[Resource]) -> Remains:
        """Ask for the deletion of everything and return what is still there afterwards.

        Pods may take their grace, what has finalizers may take a while; for anything else to be left is a failure.
        """
        name = namespace["metadata"]["name"]
        longest = 0
        instances: dict[str, int] = {}
        finalizers: dict[str, int] = {}
        failures: list[Failure] = []
        for resource in resources:
            try:
                before, left = await self._delete_all(resource, name)
            except ApiError as error:
                failures.append(Failure(resource.group_resource, str(error)))
                continue
            if left:
                instances[f"{resource.plural}.{resource.group}"] = len(left)
            for obj in left:
                for finalizer in obj["metadata"].get("finalizers") or ():
                    finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
            if left:
                patience = self._patience(namespace, resource, before, left)
                longest = max(longest, patience)
                if not patience:
                    where = f"{resource.group}/{resource.version}, Resource={resource.plural}"
                    text = f"unexpected items still remain in namespace: {name} for gvr: {where}"
                    failures.append(Failure(resource.group_resource, text))
        return Remains(instances, finalizers, failures, longest)

    def _patience(self, namespace: Object, resource: Resource, before: Sequence[Object], left: Sequence[Object]) -> int:
        """Return the seconds what is left of a resource may still take; 0 when nothing explains that it is there."""
        since = parse_time(namespace["metadata"]["deletionTimestamp"])
        grace = pods_patience(before, since, self._clock.now()) if resource is PODS else 0
        return grace or FINALIZERS_PATIENCE * any(obj["metadata"].get("finalizers") for obj in left)

    async def _delete_all(self, resource: Resource, namespace: str) -> tuple[Sequence[Object], Sequence[Object]]:
        """Ask for the deletion of all objects of a resource; return those that were there, and those that are."""
        listing = await self._client.list(resource, namespace)
        waiting = [obj for obj in listing.items if not _is_terminating(obj)]
        for obj in waiting:
            meta = obj["metadata"]
            try:
                await self._client.delete(resource, namespace, meta["name"], uid=meta["uid"], propagation="Background")
            except (NotFound, Conflict):
                continue  # gone, or replaced: the next listing tells
        if not waiting:
            return listing.items, listing.items
        return listing.items, (await self._client.list(resource, namespace)).items

    async def _report(self, namespace: Object, remains: Remains) -> None:
        status = namespace.get("status") or {}
        current = [_decode_condition(raw) for raw in status.get("conditions") or ()]
        merged = merge_conditions(current, conditions(remains), rfc3339(self._clock.now()))
        if merged is None and status.get("phase") == "Terminating":
            return
        patch: dict[str, Any] = {"phase": "Terminating"}
        if merged is not None:
            patch["conditions"] = [_encode_condition(condition) for condition in merged]
        await self._client.patch(
            NAMESPACES, None, namespace["metadata"]["name"], {"status": patch}, subresource="status"
        )

    async def _finalize(self, name: str) -> None:
        try:
            latest = await self._client.get(NAMESPACES, None, name)
            spec = latest.get("spec") or {}
            kept = [finalizer for finalizer in spec.get("finalizers") or () if finalizer != FINALIZER]
            await self._client.update(
                NAMESPACES, {**latest, "spec": {**spec, "finalizers": kept}}, subresource="finalize"
            )
        except NotFound:
            return  # it has gone already

    def _namespace_changed(self, namespace: Object) -> None:
        if _is_terminating(namespace):
            self._queue.add(namespace["metadata"]["name"])

    def _follow(self, informer: Informer) -> None:
        """Look again when the last object of a kind has left a terminating namespace; before, nothing can go on."""
        index_by_namespace(informer)

        def gone(obj: Object) -> None:
            name = obj["metadata"].get("namespace", "")
            namespace = self._namespaces.get(None, name)
            if namespace is not None and _is_terminating(namespace) and not in_namespace(informer, name):
                self._queue.add(name)

        informer.add_handler(delete=gone)


class ContentRemains(ApiError):
    """Some content could not be deleted: try again with back-off."""

    code, reason = 500, "InternalError"

    def __init__(self, remains: Remains) -> None:
        super().__init__("; ".join(f"{f.resource}: {f.message}" for f in remains.failures))


def _is_terminating(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _decode_condition(raw: Object) -> Condition:
    return Condition(
        raw["type"],
        raw.get("status") == "True",
        raw.get("reason", ""),
        raw.get("message", ""),
        raw.get("lastTransitionTime", ""),
    )


def _encode_condition(condition: Condition) -> dict[str, str]:
    return {
        "type": condition.type,
        "status": "True" if condition.status else "False",
        "lastTransitionTime": condition.since,
        "reason": condition.reason,
        "message": condition.message,
    }
