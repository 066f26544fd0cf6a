"""A local, indexed, always catching-up copy of one collection: list once, then watch for ever.

The copy is what controllers decide on. It is filled by one task (`run`), survives a server that goes away, resumes at
the last version it saw and lists again only when that version is compacted. Handlers are plain functions called in the
order of changes; they say *which* object to look at, so lost or repeated calls would be harmless.

Source: client-go's Reflector and shared informer; `api-machinery` 9.4 and 10.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from homeport.api.exchange import Collection, Feed
from homeport.api.resources import Resource
from homeport.client.backoff import Backoff
from homeport.client.contract import Client, Indexer, Object, Source, WatchEvent
from homeport.client.index import Index, Key, key_of
from homeport.errors import ApiError, BadRequest, Expired, Invalid

__all__ = ["Informer", "InformerFactory", "Key", "key_of"]

WATCH_SECONDS: Final = (300, 600)
SHORT_WATCH_SECONDS: Final = 1.0
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Handlers:
    add: Callable[[Object], None] | None
    update: Callable[[Object, Object], None] | None
    delete: Callable[[Object], None] | None


class Informer:
    """The copy of one collection.

    source  a server in this process that may tell the collection, which saves list and watch
    synced  set once the first complete listing is in the copy; it stays set.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None = None,
        *,
        rng: random.Random,
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
        watch_list: bool = False,
        source: Source | None = None,
    ) -> None:
        self.client, self.resource, self.namespace = client, resource, namespace
        self.label_selector, self.field_selector = label_selector, field_selector
        self.synced = asyncio.Event()
        self.resource_version = ""
        self._rng = rng
        self._watch_list, self._source = watch_list, source
        self._feed: Feed | None = None
        self._broken: Exception | None = None
        self._objects: dict[Key, Object] = {}
        self._indices: dict[str, Index] = {}
        self._handlers: list[_Handlers] = []
        for name, indexer in (indexers or {}).items():
            self.add_indexer(name, indexer)

    def add_indexer(self, name: str, indexer: Indexer) -> None:
        """Keep an index called `name`; the same function may be added again. Raises ValueError on a clash."""
        known = self._indices.get(name)
        if known is not None:
            if known.indexer is not indexer:
                raise ValueError(f"index {name!r} of {self.resource.plural} exists with another function")
            return
        index = self._indices[name] = Index(indexer)
        for key, obj in self._objects.items():
            index.insert(key, obj)

    def add_handler(
        self,
        *,
        add: Callable[[Object], None] | None = None,
        update: Callable[[Object, Object], None] | None = None,
        delete: Callable[[Object], None] | None = None,
    ) -> None:
        """Call `add(new)`, `update(old, new)`, `delete(last)` from now on; first `add` for all that is already here."""
        self._handlers.append(_Handlers(add, update, delete))
        if add is not None:
            for obj in list(self._objects.values()):
                add(obj)

    def on_change(self, changed: Callable[[Object], None]) -> None:
        """Call `changed` with every new, changed (its new form) or deleted object."""
        self.add_handler(add=changed, update=lambda _, new: changed(new), delete=changed)

    def get(self, namespace: str | None, name: str) -> Object | None:
        """Return the object, or None when it is not in the copy."""
        return self._objects.get((namespace or "", name))

    def list(self, namespace: str | None = None) -> Sequence[Object]:
        """Return all objects, or one namespace's, in no particular order."""
        if namespace is None:
            return list(self._objects.values())
        return [obj for (where, _), obj in self._objects.items() if where == namespace]

    def by_index(self, index: str, value: str) -> Sequence[Object]:
        """Return the objects an indexer filed under `value`. Raises KeyError for an index that was never added."""
        return self._indices[index].get(value)

    def seen(self, resource_version: str) -> bool:
        """Whether the copy contains everything up to a version, such as that of one's own last write to this kind."""
        return bool(self.resource_version) and int(self.resource_version) >= int(resource_version)

    def begin(self, run: Callable[[], object]) -> None:
        """Fill the copy and keep it fresh without a task while the source tells it; `run` is called to go on by `run`.

        Until `stop`.
        """

        def ended(error: Exception | None) -> None:
            if self._feed is not None:
                self._feed, self._broken = None, error
                run()

        try:
            self._feed = self._followed()
        except (ApiError, OSError) as error:
            self._broken = error
        if self._feed is not None:
            self._feed.on_end(ended)
        else:
            run()

    def stop(self) -> None:
        """Be told nothing more."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _followed(self) -> Feed | None:
        if self._source is None:
            return None
        collection = Collection(self.resource, self.namespace, self.label_selector, self.field_selector)
        return self._source.follow(collection, self, self.resource_version)

    async def run(self) -> None:
        """Fill the copy and keep it fresh; ends by cancellation only."""
        backoff = Backoff(self._rng)
        while True:
            try:
                await self._follow(backoff)
            except Expired:
                self.resource_version = ""  # compacted away: list again, at once the first time
                if not backoff.failures:
                    backoff.failures = 1
                    continue
            except (ApiError, OSError) as error:
                _log.info("%s: %s", self.resource.plural, error or type(error).__name__)
            await backoff.sleep()

    async def _follow(self, backoff: "Backoff") -> None:
        """List when nothing is known, then watch over and over; returns when a pause is due."""
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken
        if (feed := self._followed()) is not None:
            await _end_of(feed)
            return
        loop = asyncio.get_running_loop()
        if not self.resource_version and not self._watch_list:
            await self._list()
        while True:
            started, delivered = loop.time(), False
            async with aclosing(self._watch()) as events:
                async for event in events:
                    delivered = True
                    backoff.failures = 0
                    self.changed(event.kind, event.object)
            if not delivered and loop.time() - started < SHORT_WATCH_SECONDS:
                return  # a server that hangs up at once is not well: do not hammer it

    async def _list(self) -> None:
        items: list[Object] = []
        token, version = "", "0"
        while True:
            page = await self.client.list(
                self.resource,
                self.namespace,
                label_selector=self.label_selector,
                field_selector=self.field_selector,
                continue_token=token,
                resource_version=version,
            )
            items += page.items
            token, version = page.continue_token, ""
            if not token:
                break
        self.replaced(items, page.resource_version)

    async def _watch(self) -> AsyncGenerator[WatchEvent, None]:
        initial = not self.resource_version
        stream = self.client.watch(
            self.resource,
            self.namespace,
            resource_version=self.resource_version,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            initial_events=initial,
            timeout_seconds=self._rng.randint(*WATCH_SECONDS),
        )
        try:
            async with stream as events:
                if initial:
                    await self._initial(events)
                async for event in events:
                    yield event
        except (Invalid, BadRequest):
            if not initial:
                raise
            self._watch_list = False  # this server cannot stream initial events: list, as of old
            await self._list()

    async def _initial(self, events: AsyncIterator[WatchEvent]) -> None:
        """Collect the initial state of a streamed list, up to the bookmark that ends it."""
        items: list[Object] = []
        async for event in events:
            if event.kind != "BOOKMARK":
                items.append(event.object)
                continue
            metadata = event.object["metadata"]
            if (metadata.get("annotations") or {}).get(INITIAL_EVENTS_END) == "true":
                self.replaced(items, metadata["resourceVersion"])
                return
        raise ConnectionResetError("the watch ended inside its initial events")

    def replaced(self, objects: Iterable[Object], resource_version: str) -> None:
        """Make the copy what a listing says, telling handlers only of differences (`exchange.Follower`)."""
        fresh = {key_of(obj): obj for obj in objects}
        self.resource_version = resource_version
        for key in [key for key in self._objects if key not in fresh]:
            self._remove(key, self._objects[key])
        for key, obj in fresh.items():
            self._store(key, obj)
        self.synced.set()

    def changed(self, kind: str, obj: Object) -> None:
        """Take one event of a watch into the copy (`exchange.Follower`)."""
        self.resource_version = obj["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self._remove(key_of(obj), obj)
        else:
            self._store(key_of(obj), obj)

    def _store(self, key: Key, new: Object) -> None:
        old = self._objects.get(key)
        if old is not None and old["metadata"].get("resourceVersion") == new["metadata"].get("resourceVersion"):
            return
        self._objects[key] = new
        for index in self._indices.values():
            if old is None:
                index.insert(key, new)
            else:
                index.replace(key, old, new)
        for handler in self._handlers:
            if old is None:
                if handler.add is not None:
                    handler.add(new)
            elif handler.update is not None:
                handler.update(old, new)

    def _remove(self, key: Key, last: Object) -> None:
        old = self._objects.pop(key, None)
        if old is None:
            return
        for index in self._indices.values():
            index.remove(key, old)
        for handler in self._handlers:
            if handler.delete is not None:
                handler.delete(last)


async def _end_of(feed: Feed) -> None:
    """Return once a feed ended. Raises what it ended with."""
    end: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    feed.on_end(lambda error: None if end.done() else end.set_result(error))
    try:
        error = await end
    finally:
        feed.close()
    if error is not None:
        raise error


class InformerFactory:
    """One informer per collection and selector, shared by everybody who asks; `run` fills them all."""

    def __init__(
        self,
        client: Client,
        rng: random.Random | None = None,
        *,
        watch_list: bool = False,
        source: Source | None = None,
    ) -> None:
        self.client = client
        self._rng = rng or random.Random()
        self._watch_list, self._source = watch_list, source
        self._informers: dict[tuple[object, ...], Informer] = {}
        self._group: asyncio.TaskGroup | None = None

    def informer(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        indexers: Mapping[str, Indexer] | None = None,
    ) -> Informer:
        """Return the shared informer, made on first request; `indexers` are added to it."""
        identity = (resource.versioned, namespace, label_selector, field_selector)
        informer = self._informers.get(identity)
        if informer is None:
            informer = self._informers[identity] = Informer(
                self.client,
                resource,
                namespace,
                rng=self._rng,
                label_selector=label_selector,
                field_selector=field_selector,
                watch_list=self._watch_list,
                source=self._source,
            )
            if self._group is not None:
                self._start(self._group, informer)
        for name, indexer in (indexers or {}).items():
            informer.add_indexer(name, indexer)
        return informer

    @property
    def informers(self) -> Sequence[Informer]:
        return tuple(self._informers.values())

    async def synced(self) -> None:
        """Return once every informer asked for so far has its first listing."""
        for informer in self.informers:
            await informer.synced.wait()

    async def run(self) -> None:
        """Keep all informers fresh, those asked for later too; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for informer in self.informers:
                    self._start(group, informer)
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                for informer in self.informers:
                    informer.stop()

    @staticmethod
    def _start(group: asyncio.TaskGroup, informer: Informer) -> None:
        informer.begin(lambda: group.create_task(informer.run(), name=f"informer-{informer.resource.plural}"))
