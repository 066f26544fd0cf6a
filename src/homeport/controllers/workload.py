"""What the shells of all workload controllers share: a cache of their objects, a queue of keys, events, own writes.

A controller keeps one `Workload` and adds its own caches, rules and requests. Source: `workloads` 0.1 and 19.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from homeport.api.resources import Resource
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import Informer, InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers import children
from homeport.controllers.own_writes import OwnWrites
from homeport.controllers.selection import Selection, selection_of
from homeport.controllers.wakes import wake_owners
from homeport.errors import ApiError, NotFound

__all__ = ["FAILURES", "WORKERS", "Workload"]

FAILURES: Final = (ApiError, OSError)
"""What a request may fail with and be tried again; anything else is a bug."""
WORKERS: Final = 5

_log = logging.getLogger(__name__)


class Workload:
    """The objects of one kind, and what is needed to keep their children as they say.

    resource   the kind that is kept
    component  the name events bear, such as `statefulset-controller`
    updated    called with the old and the new form of a changed object, instead of queueing it
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        informers: InformerFactory,
        resource: Resource,
        component: str,
        *,
        updated: Callable[[Object, Object], None] | None = None,
    ) -> None:
        self.client, self.resource = client, resource
        self.queue: WorkQueue[Key] = WorkQueue(resource.singular)
        self.events = EventRecorder(client, clock, component)
        self.writes: OwnWrites[Key] = OwnWrites(self.queue)
        self._informers = informers
        self._caches: list[Informer] = []
        self.objects = self.follow(resource)
        self.objects.add_handler(add=self._wake, update=updated or (lambda _, new: self._wake(new)), delete=self._wake)

    def _wake(self, obj: Object) -> None:
        self.queue.add(key_of(obj))

    def follow(self, resource: Resource) -> Informer:
        """Return the cache of a kind; `run` waits for it, and `due` for our own writes to show in it."""
        cache = self._informers.informer(resource)
        self._caches.append(cache)
        self.writes.watch(cache)
        return cache

    def children(self, resource: Resource, *, wake: Callable[[Key], None] | bool = False) -> Informer:
        """Follow a kind our objects own, findable by owner.

        wake  called with the key of an owner whose child changed; True queues it
        """
        cache = self.follow(resource)
        children.index_by_owner(cache)
        if wake:
            wake_owners(cache, self.objects, self.queue.add if wake is True else wake)
        return cache

    async def run(
        self,
        sync: Callable[[Key], Awaitable[None]],
        *,
        workers: int = WORKERS,
        retry_on: tuple[type[Exception], ...] = FAILURES,
    ) -> None:
        """Sync keys until cancelled; the informers are run by whoever owns the factory."""
        await self.synced()
        async with asyncio.TaskGroup() as group:
            self.events.begin(group)
            await self.queue.process(sync, workers=workers, retry_on=retry_on)

    async def synced(self) -> None:
        """Wait until every cache is filled: before, an empty list looks like a world without objects."""
        for cache in self._caches:
            await cache.synced.wait()

    def current(self, key: Key) -> Object | None:
        """Return the object of a key; None when there is nothing to be done about it now."""
        obj = self.objects.get(*key)
        if obj is None:
            self.writes.forget(key)
            return None  # gone; what it owned is the garbage collector's
        return None if self.writes.behind(key) else obj  # too early: queued again when the caches have caught up

    def due(self, key: Key) -> tuple[Object, Selection] | None:
        """Return the object of a key and what it selects; None when there is nothing to be done about it now."""
        obj = self.current(key)
        if obj is None:
            return None
        selection = selection_of(obj)
        if selection is None:
            _log.error("%s %s/%s has a selector that cannot be read", self.resource.kind, *key)
            return None
        return obj, selection

    async def claim(
        self,
        key: Key,
        obj: Object,
        cache: Informer,
        fits: Callable[[Object], bool],
        *,
        found: Sequence[Object] | None = None,
        finalizers: Sequence[str] = (),
    ) -> Sequence[Object]:
        """Adopt and release children; return those that are the object's now.

        cache       of the children, from `children`
        fits        whether a child may be the object's
        found       those to look at; without it, all the object owns and all orphans of its namespace
        finalizers  what the object puts on its children
        """
        return await children.claim_children(
            self.client,
            self.resource,
            obj,
            cache.resource,
            children.candidates(cache, obj) if found is None else found,
            fits,
            lambda written: self.writes.wrote(key, cache, written),
            finalizers=finalizers,
        )

    async def delete(
        self,
        key: Key,
        obj: Object,
        cache: Informer,
        name: str,
        uid: str,
        *,
        done: str,
        failed: str,
        propagation: str = "",
    ) -> None:
        """Ask for the end of a child and tell it; one that is gone already counts as done. Raises FAILURES.

        done, failed  what the events say before the child's name, and before the error
        """
        try:
            removed = await self.remove(key, cache, name, uid, propagation=propagation)
        except FAILURES as error:
            self.events.warning(obj, "FailedDelete", f"{failed}: {error}")
            raise
        if removed:
            self.events.normal(obj, "SuccessfulDelete", f"{done} {name}")

    async def remove(self, key: Key, cache: Informer, name: str, uid: str, *, propagation: str = "") -> bool:
        """Ask for the end of a child and say nothing of it; return whether it was there. Raises FAILURES."""
        shown = cache.get(key[0], name)
        try:
            await self.client.delete(cache.resource, key[0], name, uid=uid, propagation=propagation)
        except NotFound:
            return False
        if shown is not None:
            self.writes.deleted(key, cache, shown)
        return True

    async def write_status(self, key: Key, obj: Object, status: Mapping[str, Any]) -> Object | None:
        """Write a status over the object's; return the object as it is now, None when it is gone."""
        try:
            written = await self.client.update(self.resource, {**obj, "status": status}, subresource="status")
        except NotFound:
            return None
        self.writes.wrote(key, self.objects, written)
        return written
