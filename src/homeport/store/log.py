"""The store itself: checks expectations, numbers revisions, commits in groups, publishes what became durable.

All writes of one loop turn, and all that arrive while a commit is under way, go to the journal together. They are
checked against the state as it will be once everything accepted before them is durable, so writers may pipeline;
readers and watchers only ever see what is durable. Where the journal keeps its events is its own business.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from homeport.store.contract import (
    Entry,
    Event,
    Listing,
    Mismatch,
    Operation,
    Revision,
    StoreError,
)
from homeport.store.feed import Feed, Watch
from homeport.store.state import State, plan

__all__ = ["Done", "Journal", "LogStore"]

Done: TypeAlias = Callable[[BaseException | None], None]
"""Called on the loop, once: with None when it is on disk, with the reason when it is not."""


class Journal(Protocol):
    """Makes events durable. One call of `commit` or `compact` at a time each; both report through `done`."""

    def commit(self, events: Sequence[Event], done: Done) -> None:
        """Write consecutive events, all or none."""
        ...

    def compact(self, before: Revision, done: Done) -> None:
        """Forget what nobody may ask for once history starts at `before`."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Batch:
    events: list[Event] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class LogStore:
    """`contract.Store` over a journal. Lives on one loop; every method is called there."""

    def __init__(self, state: State, journal: Journal) -> None:
        self._state, self._journal = state, journal
        self._feed = Feed()
        self._next = state.revision + 1
        self._accepted: dict[str, Event] = {}  # the newest event of each key that is not durable yet
        self._gathering = _Batch()
        self._flushing = False  # a flush is due or a commit under way
        self._compacting = False
        self._broken: BaseException | None = None
        self._closed = False

    @property
    def revision(self) -> Revision:
        return self._state.revision

    @property
    def oldest(self) -> Revision:
        return self._state.oldest

    async def get(self, key: str, *, at: Revision | None = None) -> Entry | None:
        return self._state.get(key, at) if at is not None else self._state.current(key)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: Revision | None = None) -> Listing:
        return self._state.list(prefix, start, limit, at)

    async def put(self, key: str, value: bytes, *, expect: Revision) -> Entry:
        previous = self._coming(key)
        if (previous.revision if previous is not None else 0) != expect:
            await self._refuse(key)
        revision = Revision(self._next)
        entry = Entry(key, value, revision, revision if previous is None else previous.created)
        await self._accept((Event(key, revision, entry, previous),))
        return entry

    async def delete(self, key: str, *, expect: Revision) -> Revision:
        previous = self._coming(key)
        if previous is None or previous.revision != expect:
            await self._refuse(key)
        revision = Revision(self._next)
        await self._accept((Event(key, revision, None, previous),))
        return revision

    async def transact(self, operations: Sequence[Operation]) -> Sequence[Revision]:
        if not operations:
            return ()
        try:
            events = plan(operations, self._coming, Revision(self._next))
        except Mismatch as mismatch:
            await self._settle(mismatch.key)
            raise
        await self._accept(events)
        return [event.revision for event in events]

    def watch(self, prefix: str, *, after: Revision) -> Watch:
        return Watch(self._feed, prefix, after, lambda: self._state.after(prefix, after))

    async def compact(self, before: Revision) -> None:
        self._state.compact(before)
        done = asyncio.get_running_loop().create_future()

        def report(error: BaseException | None) -> None:
            if error is not None and not done.done():
                done.set_exception(error)
            elif not done.done():
                done.set_result(None)

        self._journal.compact(self._state.oldest, report)
        await done

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        while self._flushing:
            await self._turn()
        self._feed.close()
        await self._journal.close()

    def _coming(self, key: str) -> Entry | None:
        """Return the key's entry once everything accepted is durable."""
        event = self._accepted.get(key)
        return event.entry if event is not None else self._state.current(key)

    async def _refuse(self, key: str) -> None:
        """Raise Mismatch, after the write that caused it is durable: the caller will read, and must see it."""
        await self._settle(key)
        raise Mismatch(key, self._state.current(key))

    async def _settle(self, key: str) -> None:
        while key in self._accepted:
            await self._turn()

    async def _turn(self) -> None:
        """Wait for the commit that what was accepted so far ends with; its failure is its writers' business."""
        waiter = asyncio.get_running_loop().create_future()
        self._gathering.waiters.append(waiter)
        self._schedule()
        try:
            await waiter
        except StoreError:
            return

    async def _accept(self, events: Sequence[Event]) -> None:
        if self._closed:
            raise StoreError("the store is closed")
        if self._broken is not None:
            raise StoreError("the store stopped accepting writes after a failed commit; restart") from self._broken
        self._next += len(events)
        for event in events:
            self._accepted[event.key] = event
        waiter = asyncio.get_running_loop().create_future()
        self._gathering.events += events
        self._gathering.waiters.append(waiter)
        self._schedule()
        await waiter

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        batch, self._gathering = self._gathering, _Batch()
        if batch.events:
            self._journal.commit(batch.events, lambda error: self._committed(batch, error))
        else:
            self._committed(batch, None)

    def _committed(self, batch: _Batch, error: BaseException | None) -> None:
        if error is not None:
            self._abandon(batch, error)
            return
        if batch.events:
            self._publish(batch.events)
        for waiter in batch.waiters:
            if not waiter.done():  # a cancelled writer's write stands
                waiter.set_result(None)
        self._flushing = bool(self._gathering.waiters)
        if self._flushing:
            self._flush()

    def _publish(self, events: Sequence[Event]) -> None:
        now = asyncio.get_running_loop().time()
        self._state.apply(events, now)
        for event in events:
            if self._accepted.get(event.key) is event:
                del self._accepted[event.key]
        self._feed.publish(events)
        before = self._state.expendable(now)
        if before is not None and not self._compacting:
            self._compacting = True
            self._state.compact(before)
            self._journal.compact(before, self._compacted)

    def _compacted(self, error: BaseException | None) -> None:
        self._compacting = False
        if error is not None and not isinstance(error, StoreError):
            self._broken = error

    def _abandon(self, batch: _Batch, error: BaseException) -> None:
        """Nothing accepted since the last commit happened: later writes may stand on the failed ones."""
        if not isinstance(error, StoreError):
            self._broken = error
        waiters = batch.waiters + self._gathering.waiters
        self._gathering = _Batch()
        self._accepted.clear()
        self._next = self._state.revision + 1
        self._flushing = False
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(_failure(error))


def _failure(error: BaseException) -> StoreError:
    if isinstance(error, StoreError):
        return type(error)(*error.args)  # one instance per waiter: tracebacks must not pile up on one object
    failure = StoreError(f"the write may not have reached the disk: {error}")
    failure.__cause__ = error
    return failure
