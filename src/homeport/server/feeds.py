"""Collections told to followers in the server's own process: what a list and a watch say, without request or stream.

A follower is one more observer of a resource's cache. What it is told is decided by the same `Scope` as a watch's
events are, and comes in the same turn of the loop; only the steps between are left out.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from homeport.api.exchange import Collection, Follower
from homeport.api.resources import Resource
from homeport.errors import Expired
from homeport.server.cache import Change, ResourceCache, TooOld
from homeport.server.hub import Hub
from homeport.server.objects import Codec, Tree
from homeport.server.selection import parse
from homeport.server.watch import Scope

__all__ = ["Feeds"]

BOOKMARK: Final = "BOOKMARK"


class _Feed:
    """`exchange.Feed`: changes collect within a turn of the loop and are told in the next."""

    def __init__(self, feeds: "Feeds", scope: Scope, follower: Follower) -> None:
        self._feeds, self.scope, self._follower = feeds, scope, follower
        self._pending: list[tuple[str, Tree]] = []
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._on_end: list[Callable[[Exception | None], None]] = []

    def offer(self, change: Change) -> None:
        kind = self.scope.event(change)
        if kind is None:
            return
        stored = change.gone if kind == "DELETED" else change.new
        assert stored is not None
        if not self._pending:
            self._loop.call_soon(self._turn)
        self._pending.append((kind, self.scope.codec.tree(stored)))

    def _turn(self) -> None:
        if self._open and (failure := self._tell()):
            self._finish(failure)

    def _tell(self) -> Exception | None:
        """Tell what is pending; returns what the follower failed with, which is what the feed ends with then."""
        pending, self._pending = self._pending, []
        try:
            for kind, tree in pending:
                self._follower.changed(kind, tree)
        except Exception as error:
            return error
        return None

    def _finish(self, error: Exception | None) -> None:
        self._open = False
        self._pending.clear()
        self._feeds.forget(self)
        for call in self._on_end:
            call(error)
        self._on_end.clear()

    def end(self, error: Exception | None = None) -> None:
        if self._open:
            self._pending.append((BOOKMARK, {"metadata": {"resourceVersion": str(self._feeds.revision)}}))
            self._finish(self._tell() or error)

    def close(self) -> None:
        if self._open:
            self._finish(None)

    def on_end(self, call: Callable[[Exception | None], None]) -> None:
        self._on_end.append(call)


class Feeds:
    """Opens feeds. Ends them all, cleanly, on shutdown."""

    def __init__(self, hub: Hub, codec: Callable[[Resource], Codec]) -> None:
        self._hub, self._codec = hub, codec
        self._open: dict[_Feed, None] = {}

    @property
    def revision(self) -> int:
        return self._hub.revision

    @property
    def open_count(self) -> int:
        return len(self._open)

    def open(self, collection: Collection, follower: Follower, after: str = "") -> _Feed:
        """See `exchange.OpenFeed`. Raises Expired for a version that is forgotten, BadRequest for a bad selector."""
        codec = self._codec(collection.resource)
        selection = parse(collection.resource, collection.label_selector, collection.field_selector)
        everywhere = codec.resource.namespaced and not collection.namespace
        name = None if everywhere else selection.name
        prefix = codec.key(collection.namespace, name) if name else codec.scope(collection.namespace)
        cache = self._hub.cache(codec)
        feed = _Feed(self, Scope(codec, prefix, bool(name), selection), follower)
        if after:
            _resume(feed, cache, int(after))
        else:
            follower.replaced(_present(feed.scope, cache), str(self._hub.revision))
        cache.observers.add(feed, feed.scope.concern)
        self._open[feed] = None
        return feed

    def forget(self, feed: _Feed) -> None:
        """Stop telling a feed about changes."""
        self._hub.cache(feed.scope.codec).observers.drop(feed)
        self._open.pop(feed, None)

    def close(self) -> None:
        """End every feed."""
        for feed in tuple(self._open):
            feed.end()


def _present(scope: Scope, cache: ResourceCache) -> list[Tree]:
    """Return what the cache holds within a scope, in key order."""
    if scope.exact:
        one = cache.get(scope.prefix)
        found = [one] if one is not None else []
    else:
        found = list(cache.scan(scope.prefix))
    return [scope.codec.tree(stored) for stored in found if scope.selects(stored)]


def _resume(feed: _Feed, cache: ResourceCache, after: int) -> None:
    try:
        for change in cache.since(after):
            feed.offer(change)
    except TooOld as error:
        raise Expired(f"too old resource version: {after} ({error.floor})") from error
