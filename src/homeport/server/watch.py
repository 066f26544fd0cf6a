"""Watches: one observer per client on a resource's cache (api-machinery 10)."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from homeport.errors import ApiError, Expired
from homeport.server import failures
from homeport.server.cache import Change, ResourceCache, TooOld
from homeport.server.hub import Hub
from homeport.server.lists import FUTURE_SECONDS, selection_for
from homeport.server.negotiation import Form, Representation
from homeport.server.objects import Codec, Stored
from homeport.server.observers import KEY, NODE, Concern
from homeport.server.options import ListOptions
from homeport.server.representation import Frame, bookmark, error_frame, shared_frame, watch_frame
from homeport.server.selection import Selection

__all__ = ["WatchStream", "Watches"]

PENDING_LIMIT: Final = 10_000  # frames a client may leave unread before it is closed
_BOOKMARK_BEFORE_END: Final = 2.0
_DEFAULT_SECONDS: Final = (1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which changes concern a watch: a key prefix, or one key, and a selection."""

    codec: Codec
    prefix: str
    exact: bool
    selection: Selection

    @property
    def concern(self) -> Concern | None:
        """What every change that concerns the watch has in common, where changes can be found by that."""
        if self.exact:
            return KEY, self.prefix
        node = self.selection.node
        return (NODE, node) if node is not None and self.codec.native else None

    def covers(self, key: str) -> bool:
        return key == self.prefix if self.exact else key.startswith(self.prefix)

    def selects(self, stored: Stored | None) -> bool:
        if stored is None:
            return False
        return self.selection.everything or self.selection.matches(self.codec.tree(stored))

    def event(self, change: Change) -> str | None:
        """Return the event type a change has for this watch, by the states before and after it (10.8)."""
        if not self.covers(change.key):
            return None
        if self.selection.everything:
            if change.new is None:
                return "DELETED"
            return "ADDED" if change.old is None else "MODIFIED"
        before, after = self.selects(change.old), self.selects(change.new)
        if after:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else None


class WatchStream:
    """One client's watch: frames collect here until they are read. An async iterator of bytes, or for a client in
    this process of batches of trees; closed with `aclose`.

    Subscribed from the moment it is made, so nothing is missed before the first read. A client that leaves too much
    unread is closed, not buffered.
    """

    def __init__(self, watches: "Watches", scope: Scope, representation: Representation, after: int) -> None:
        self._watches, self._scope, self._representation = watches, scope, representation
        self._after = after
        self._pending: list[Frame] = []
        self._closed = False
        self._marked = False
        self._sent_columns = representation.form is not Form.TABLE
        self._wake: asyncio.Future[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    # -- from the cache

    def offer(self, change: Change) -> None:
        if change.revision <= self._after or self._closed:
            return
        kind = self._scope.event(change)
        if kind is None:
            return
        if len(self._pending) >= PENDING_LIMIT:
            self._pending.clear()
            self.end()
            return
        self._pending.append(self._frame(kind, change))
        self._notify()

    def _frame(self, kind: str, change: Change) -> Frame:
        codec, now = self._scope.codec, self._watches.now()
        if not self._sent_columns:
            self._sent_columns = True
            stored = change.gone if kind == "DELETED" else change.new
            assert stored is not None
            return watch_frame(kind, codec, stored, self._representation, now, first=True)
        return shared_frame(kind, codec, change, self._representation, now)

    # -- set up

    def add(self, stored: Stored) -> None:
        """Put a synthetic ADDED in front of what comes."""
        first, self._sent_columns = not self._sent_columns, True
        self._pending.append(
            watch_frame("ADDED", self._scope.codec, stored, self._representation, self._watches.now(), first=first)
        )

    def bookmark(self, revision: int, *, initial: bool = False) -> None:
        """Put a BOOKMARK after what is pending."""
        first, self._sent_columns = not self._sent_columns, True
        self._pending.append(
            bookmark(
                self._scope.codec, revision, self._representation, self._watches.now(), initial=initial, first=first
            )
        )

    def fail(self, error: ApiError) -> None:
        """Put an ERROR event after what is pending, and end."""
        self._pending.append(error_frame(error.as_status(), self._representation))
        self.end()

    def schedule(self, seconds: float, bookmark_seconds: float | None) -> None:
        """End after `seconds`; with bookmarks, send one at every interval and one shortly before the end."""
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self.end))
        if bookmark_seconds is not None:
            self._timers.append(loop.call_later(max(seconds - _BOOKMARK_BEFORE_END, 0.5), self._mark))
            self._tick(bookmark_seconds)

    def _tick(self, interval: float) -> None:
        def due() -> None:
            self._mark()
            self._tick(interval)

        self._timers[2:] = [asyncio.get_running_loop().call_later(interval, due)]

    def _mark(self) -> None:
        self._marked = True
        self._notify()

    def end(self) -> None:
        """Let the stream end once everything pending is read."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._watches.forget(self)
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # -- to the client

    def __aiter__(self) -> "WatchStream":
        return self

    async def __anext__(self) -> Any:
        while True:
            if self._marked and not self._closed:
                self._marked = False
                self.bookmark(max(self._watches.revision, self._after))
            if self._pending:
                frames, self._pending = self._pending, []
                if self._representation.shared:
                    return frames
                return frames[0] if len(frames) == 1 else b"".join(frames)  # type: ignore[arg-type]
            if self._closed:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None

    async def aclose(self) -> None:
        self._pending.clear()
        self.end()

    @property
    def scope(self) -> Scope:
        return self._scope


class Watches:
    """Opens streams. Ends them all, cleanly, on shutdown."""

    def __init__(self, hub: Hub, rng: random.Random, now: Callable[[], float], bookmark_seconds: float) -> None:
        self._hub, self._rng, self.now = hub, rng, now
        self._bookmark_seconds = bookmark_seconds
        self._open: set[WatchStream] = set()
        self._stopped = False

    @property
    def revision(self) -> int:
        return self._hub.revision

    @property
    def open_count(self) -> int:
        return len(self._open)

    def close(self) -> None:
        """End every stream the way a timeout does (10.6)."""
        self._stopped = True
        for stream in tuple(self._open):
            stream.end()

    def forget(self, stream: WatchStream) -> None:
        """Stop telling a stream about changes."""
        self._hub.cache(stream.scope.codec).observers.drop(stream)
        self._open.discard(stream)

    async def open(
        self,
        codec: Codec,
        namespace: str | None,
        name: str | None,
        options: ListOptions,
        representation: Representation,
    ) -> WatchStream:
        """Check the request and return its stream. Raises what must be told before a stream starts (10.7)."""
        selection = selection_for(codec, options)
        wanted = _version(options.version_text)
        name = name or (selection.name if namespace or not codec.resource.namespaced else None)
        prefix = codec.key(namespace, name) if name else codec.scope(namespace)
        scope = Scope(codec, prefix, bool(name), selection)
        initial = options.initial_events if options.initial_events is not None else wanted == 0
        stream = WatchStream(self, scope, representation, wanted)
        if initial and wanted and not await self._hub.at_least(wanted, FUTURE_SECONDS):
            stream.fail(failures.version_too_large(wanted, self._hub.revision))
            return stream
        cache = self._hub.cache(codec)
        if initial or wanted == 0:
            stream = WatchStream(self, scope, representation, self._hub.revision)
            if initial:
                _add_initial(stream, cache)
            if options.bookmarks and options.initial_events is True:
                stream.bookmark(self._hub.revision, initial=True)
        else:
            try:
                for change in cache.since(wanted):
                    stream.offer(change)
            except TooOld as error:
                stream.fail(Expired(f"too old resource version: {wanted} ({error.floor})"))
                return stream
        cache.observers.add(stream, scope.concern)
        self._open.add(stream)
        seconds = options.timeout_seconds or self._rng.uniform(*_DEFAULT_SECONDS)
        stream.schedule(seconds, self._bookmark_seconds if options.bookmarks else None)
        if self._stopped:
            stream.end()
        return stream


def _add_initial(stream: WatchStream, cache: ResourceCache) -> None:
    scope = stream.scope
    if scope.exact:
        one = cache.get(scope.prefix)
        found = [one] if one is not None else []
    else:
        found = list(cache.scan(scope.prefix))
    for stored in found:
        if scope.selects(stored):
            stream.add(stored)


def _version(text: str) -> int:
    if text in ("", "0"):
        return 0
    if not text.isascii() or not text.isdigit():
        raise failures.bad_version("resourceVersion", text)
    return int(text)
