"""Watches: one observer per client on a resource's cache (api-machinery 10)."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from homeport.errors import ApiError, Expired
from homeport.server import failures
from homeport.server.cache import Change, ResourceCache, TooOld
from homeport.server.hub import Hub
from homeport.server.lists import FUTURE_SECONDS, selection_for
from homeport.server.negotiation import Form, Representation
from homeport.server.objects import Codec, Stored
from homeport.server.options import ListOptions
from homeport.server.representation import bookmark, error_frame, shared_frame, watch_frame
from homeport.server.selection import Selection

__all__ = ["Watches"]

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


class _Watcher:
    """Collects frames until the client reads them. Closed, not buffered, when it falls too far behind."""

    def __init__(self, scope: Scope, representation: Representation, now: Callable[[], float], after: int) -> None:
        self.scope, self.representation, self.now = scope, representation, now
        self.after = after
        self.pending: list[bytes] = []
        self.closed = False
        self.bookmark_due = False
        self.sent_columns = representation.form is not Form.TABLE
        self._wake: asyncio.Future[None] | None = None

    def offer(self, change: Change) -> None:
        if change.revision <= self.after:
            return
        kind = self.scope.event(change)
        if kind is None:
            return
        if len(self.pending) >= PENDING_LIMIT:
            self.pending.clear()
            self.close()
            return
        self.pending.append(self._frame(kind, change))
        self.wake()

    def _frame(self, kind: str, change: Change) -> bytes:
        codec = self.scope.codec
        if not self.sent_columns:
            self.sent_columns = True
            stored = change.gone if kind == "DELETED" else change.new
            assert stored is not None
            return watch_frame(kind, codec, stored, self.representation, self.now(), first=True)
        return shared_frame(kind, codec, change, self.representation, self.now())

    def initial(self, stored: Stored) -> bytes:
        """Encode a synthetic ADDED."""
        first, self.sent_columns = not self.sent_columns, True
        return watch_frame("ADDED", self.scope.codec, stored, self.representation, self.now(), first=first)

    def bookmark(self, revision: int, *, initial: bool = False) -> bytes:
        first, self.sent_columns = not self.sent_columns, True
        return bookmark(self.scope.codec, revision, self.representation, self.now(), initial=initial, first=first)

    def close(self) -> None:
        self.closed = True
        self.wake()

    def mark(self) -> None:
        self.bookmark_due = True
        self.wake()

    def wake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def wait(self) -> None:
        """Return when there is something to send or an end."""
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None


class Watches:
    """Opens streams. Ends them all, cleanly, on shutdown."""

    def __init__(self, hub: Hub, rng: random.Random, now: Callable[[], float], bookmark_seconds: float) -> None:
        self._hub, self._rng, self._now = hub, rng, now
        self._bookmark_seconds = bookmark_seconds
        self._open: set[_Watcher] = set()
        self._stopped = False

    def close(self) -> None:
        """End every stream the way a timeout does (10.6)."""
        self._stopped = True
        for watcher in self._open:
            watcher.close()

    def open(
        self,
        codec: Codec,
        namespace: str | None,
        name: str | None,
        options: ListOptions,
        representation: Representation,
    ) -> AsyncIterator[bytes]:
        """Check the request and return its stream. Raises what must be told before a stream starts (10.7)."""
        selection = selection_for(codec, options)
        wanted = _version(options.version_text)
        if name is not None:
            scope = Scope(codec, codec.key(namespace, name), True, selection)
        elif selection.name and (namespace or not codec.resource.namespaced):
            scope = Scope(codec, codec.key(namespace, selection.name), True, selection)
        else:
            scope = Scope(codec, codec.scope(namespace), False, selection)
        seconds = options.timeout_seconds or self._rng.uniform(*_DEFAULT_SECONDS)
        return self._stream(scope, options, wanted, representation, seconds)

    async def _stream(
        self, scope: Scope, options: ListOptions, wanted: int, representation: Representation, seconds: float
    ) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        cache = self._hub.cache(scope.codec)
        initial = options.initial_events if options.initial_events is not None else wanted == 0
        if initial and wanted and not await self._hub.at_least(wanted, FUTURE_SECONDS):
            yield error_frame(failures.version_too_large(wanted, self._hub.revision).as_status())
            return
        watcher = _Watcher(scope, representation, self._now, wanted)
        try:
            start = self._start(watcher, cache, initial, wanted)
        except ApiError as error:
            yield error_frame(error.as_status())
            return
        ending = options.bookmarks and options.initial_events is True
        if ending:
            start.append(watcher.bookmark(self._hub.revision, initial=True))
        timers = [loop.call_at(deadline, watcher.close)]
        if options.bookmarks:
            timers.append(loop.call_at(max(deadline - _BOOKMARK_BEFORE_END, loop.time() + 0.5), watcher.mark))
            timers.append(loop.call_later(self._bookmark_seconds, watcher.mark))
        self._open.add(watcher)
        if self._stopped:
            watcher.close()
        try:
            if start:
                yield b"".join(start)
                start.clear()
            while True:
                if watcher.pending:
                    frames = b"".join(watcher.pending)
                    watcher.pending.clear()
                    yield frames
                elif watcher.closed:
                    return
                elif watcher.bookmark_due:
                    watcher.bookmark_due = False
                    timers[-1] = loop.call_later(self._bookmark_seconds, watcher.mark)
                    yield watcher.bookmark(max(self._hub.revision, wanted))
                else:
                    await watcher.wait()
        finally:
            cache.observers.discard(watcher)
            self._open.discard(watcher)
            for timer in timers:
                timer.cancel()

    def _start(self, watcher: _Watcher, cache: ResourceCache, initial: bool, wanted: int) -> list[bytes]:
        """Subscribe and return the frames to send first; nothing can change between the two. Raises Expired."""
        scope = watcher.scope
        if initial or wanted == 0:
            watcher.after = self._hub.revision
            cache.observers.add(watcher)
            if not initial:
                return []
            if scope.exact:
                one = cache.get(scope.prefix)
                found = [one] if one is not None else []
            else:
                found = list(cache.scan(scope.prefix))
            return [watcher.initial(stored) for stored in found if scope.selects(stored)]
        try:
            changes = cache.since(wanted)
        except TooOld as error:
            raise Expired(f"too old resource version: {wanted} ({error.floor})") from error
        for change in changes:
            watcher.offer(change)
        cache.observers.add(watcher)
        return []


def _version(text: str) -> int:
    if text in ("", "0"):
        return 0
    if not text.isascii() or not text.isdigit():
        raise failures.bad_version("resourceVersion", text)
    return int(text)
