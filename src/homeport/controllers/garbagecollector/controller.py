"""The shell: the graph follows the informers; the queue holds the uids to look at.

Nothing is polled. An object is looked at when it, one of its owners or one of its dependents changes in a way that
matters, and again with back-off when a write failed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from homeport.api.resources import BY_GVK, RESOURCES, Gvk, Resource
from homeport.client.contract import Client, Object, PatchType
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers.garbagecollector.graph import Graph, Node, Reference, decode_node
from homeport.controllers.garbagecollector.reconcile import (
    Action,
    DeleteObject,
    DropFinalizer,
    DropReferences,
    OwnerState,
    UnblockReferences,
    collect,
    finish_owner,
)
from homeport.errors import Conflict, NotFound

__all__ = ["GarbageCollector", "collectable"]

ABSENT_CACHE = 500
NEEDED_VERBS = ("delete", "list", "watch")


def collectable(resources: Sequence[Resource] = RESOURCES) -> list[Resource]:
    """Return the kinds that take part: all that can be listed, watched and deleted, except events."""
    return [r for r in resources if r.kind != "Event" and all(verb in r.verbs for verb in NEEDED_VERBS)]


class GarbageCollector:
    """Deletes, orphans and finishes foreground deletions. Object uids are its keys."""

    component = "generic-garbage-collector"

    def __init__(
        self, client: Client, clock: Clock, informers: InformerFactory, resources: Sequence[Resource] | None = None
    ) -> None:
        self._client = client
        self._events = EventRecorder(client, clock, "garbage-collector-controller")
        self._queue: WorkQueue[str] = WorkQueue(self.component)
        self._graph = Graph()
        self._absent: OrderedDict[tuple[str, str], None] = OrderedDict()  # (namespace, uid) the server did not have
        self._informers = [informers.informer(resource) for resource in resources or collectable()]
        for informer in self._informers:
            self._follow(informer.resource, informer.add_handler)

    async def run(self) -> None:
        """Collect; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in self._informers:
                await informer.synced.wait()
            await self._queue.process(self.sync, workers=8)

    async def sync(self, uid: str) -> None:
        """Decide about one object and act. Raises ApiError to be called again."""
        node = self._graph.get(uid)
        if node is None:
            return
        dependents = list(self._graph.dependents(uid))
        if node.orphans_dependents or node.awaits_dependents:
            actions = finish_owner(node, dependents)
            if not actions:
                for dependent in dependents:
                    self._queue.add(dependent.uid)
        elif node.owners and not node.terminating:
            owners = {reference.uid: await self._state(node, reference) for reference in node.owners}
            actions = collect(node, owners, dependents)
        else:
            return
        if not actions:
            return
        beside_each_other = (self._perform(action) for action in actions[:-1])
        for failure in await asyncio.gather(*beside_each_other, return_exceptions=True):
            if failure is not None:
                raise failure
        await self._perform(actions[-1])

    async def _state(self, node: Node, reference: Reference) -> OwnerState:
        owner = self._graph.get(reference.uid)
        if owner is not None and _is_meant(owner, node, reference):
            return OwnerState.WAITING if owner.awaits_dependents else OwnerState.SOLID
        group, _, version = reference.api_version.rpartition("/")
        resource = BY_GVK.get(Gvk(group, version, reference.kind))
        if resource is None:
            return OwnerState.SOLID  # nothing can be told about it: the safe side
        if resource.namespaced and not node.namespace:
            if owner is not None:
                self._warn_of_namespace(node, reference)
            return OwnerState.SOLID  # it makes no sense, and does no harm
        namespace = node.namespace if resource.namespaced else ""
        if (namespace, reference.uid) in self._absent:
            return OwnerState.DANGLING
        try:
            live = await self._client.get(resource, namespace or None, reference.name)
        except NotFound:
            live = None
        if live is None or live["metadata"]["uid"] != reference.uid:
            self._remember_absent(namespace, reference.uid)
            if owner is not None:
                self._warn_of_namespace(node, reference)
            return OwnerState.DANGLING
        return OwnerState.WAITING if decode_node(resource, live).awaits_dependents else OwnerState.SOLID

    async def _perform(self, action: Action) -> None:
        try:
            match action:
                case DeleteObject(node, propagation):
                    await self._client.delete(
                        node.resource,
                        node.namespace or None,
                        node.name,
                        uid=node.uid,
                        resource_version=node.version,
                        propagation=propagation,
                    )
                case DropReferences(node, owners):
                    gone = [{"uid": uid, "$patch": "delete"} for uid in sorted(owners)]
                    await self._patch(node, {"ownerReferences": gone, "uid": node.uid})
                case UnblockReferences(node):
                    blocking = [ref for ref in node.owners if ref.blocks]
                    loosened = [{"uid": ref.uid, "blockOwnerDeletion": False} for ref in blocking]
                    await self._patch(node, {"ownerReferences": loosened, "uid": node.uid})
                case DropFinalizer(node, finalizer):
                    await self._drop_finalizer(node, finalizer)
        except NotFound:
            return  # somebody was faster
        except Conflict:
            current = self._graph.get(action.node.uid)
            if current is None or current.version == action.node.version:
                raise  # the copy is behind: again in a moment
            self._queue.add(action.node.uid)

    async def _drop_finalizer(self, node: Node, finalizer: str) -> None:
        """Take a finalizer away from the object as it is now: others write to it meanwhile, the copy may be behind."""
        live = (await self._client.get(node.resource, node.namespace or None, node.name))["metadata"]
        finalizers = live.get("finalizers") or []
        if live["uid"] != node.uid or finalizer not in finalizers:
            return
        kept = [name for name in finalizers if name != finalizer]
        patch = {"metadata": {"finalizers": kept, "uid": node.uid, "resourceVersion": live["resourceVersion"]}}
        await self._client.patch(node.resource, node.namespace or None, node.name, patch)

    async def _patch(self, node: Node, metadata: Object) -> None:
        await self._client.patch(
            node.resource, node.namespace or None, node.name, {"metadata": metadata}, kind=PatchType.STRATEGIC
        )

    def _follow(self, resource: Resource, add_handler: Callable[..., None]) -> None:
        add_handler(
            add=lambda obj: self._seen(decode_node(resource, obj)),
            update=lambda _, obj: self._seen(decode_node(resource, obj)),
            delete=lambda obj: self._gone(decode_node(resource, obj)),
        )

    def _seen(self, node: Node) -> None:
        before = self._graph.get(node.uid)
        self._graph.put(node)
        if node.owners and (before is None or before.owners != node.owners) and self._may_be_lost(node):
            self._queue.add(node.uid)
        if before is not None:
            self._wake_former_owners(before, node)
        if node.terminating and (before is None or _phase(before) != _phase(node)):
            self._queue.add(node.uid)
            if node.awaits_dependents:
                for dependent in self._graph.dependents(node.uid):
                    self._queue.add(dependent.uid)

    def _may_be_lost(self, node: Node) -> bool:
        """Whether an owner is unknown here. A known one calls for its dependents itself, when it goes or waits."""
        for reference in node.owners:
            owner = self._graph.get(reference.uid)
            if owner is None or not _is_meant(owner, node, reference):
                return True
        return False

    def _gone(self, node: Node) -> None:
        self._graph.remove(node.uid)
        for dependent in self._graph.dependents(node.uid):
            self._queue.add(dependent.uid)
        for reference in node.owners:
            self._wake_waiting(reference.uid)

    def _wake_former_owners(self, before: Node, node: Node) -> None:
        if before.owners != node.owners:
            for reference in before.owners:
                self._wake_waiting(reference.uid)

    def _wake_waiting(self, uid: str) -> None:
        owner = self._graph.get(uid)
        if owner is not None and owner.awaits_dependents:
            self._queue.add(uid)

    def _remember_absent(self, namespace: str, uid: str) -> None:
        self._absent[namespace, uid] = None
        if len(self._absent) > ABSENT_CACHE:
            self._absent.popitem(last=False)

    def _warn_of_namespace(self, node: Node, reference: Reference) -> None:
        about = {
            "apiVersion": node.resource.api_version,
            "kind": node.resource.kind,
            "metadata": {"name": node.name, "namespace": node.namespace, "uid": node.uid},
        }
        message = (
            f"ownerRef [{reference.api_version}/{reference.kind}, namespace: {node.namespace}, name: {reference.name}, "
            f'uid: {reference.uid}] does not exist in namespace "{node.namespace}"'
        )
        self._events.warning(about, "OwnerRefInvalidNamespace", message)


def _is_meant(owner: Node, node: Node, reference: Reference) -> bool:
    """Whether a reference's other facts fit the object that has its uid."""
    group = reference.api_version.rpartition("/")[0]
    return (owner.resource.group, owner.resource.kind, owner.name) == (group, reference.kind, reference.name) and (
        not owner.resource.namespaced or owner.namespace == node.namespace
    )


def _phase(node: Node) -> tuple[bool, bool, bool]:
    return node.terminating, node.awaits_dependents, node.orphans_dependents
