"""From the log to its watchers: every durable batch goes to each watcher whose prefix it touches."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Final

from homeport.store.contract import Event, Revision, TooSlow

__all__ = ["WAITING_LIMIT", "Feed", "Watch"]

WAITING_LIMIT: Final = 1000


class Watch:
    """One watcher's place in the log: enter to take it, iterate batches, leave to give it up."""

    def __init__(self, feed: "Feed", prefix: str, after: Revision, replay: Callable[[], Sequence[Event]]) -> None:
        self._feed, self._replay = feed, replay
        self.prefix, self.after = prefix, after
        self._waiting: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None
        self._slow = self._ended = False

    async def __aenter__(self) -> AsyncIterator[Sequence[Event]]:
        self._waiting = list(self._replay())
        self._feed.watches.append(self)
        self._ended = self._feed.closed
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def __aiter__(self) -> AsyncIterator[Sequence[Event]]:
        return self

    async def __anext__(self) -> Sequence[Event]:
        while not self._waiting:
            if self._slow:
                raise TooSlow(f"{WAITING_LIMIT} events waited undelivered")
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        batch, self._waiting = self._waiting, []
        return batch

    def offer(self, events: Sequence[Event]) -> None:
        """Append what concerns this watcher; a batch of any size is taken by one that has nothing waiting."""
        if events[0].revision <= self.after:
            events = [event for event in events if event.revision > self.after]
        if self.prefix:
            events = [event for event in events if event.key.startswith(self.prefix)]
        if not events:
            return
        if self._waiting and len(self._waiting) + len(events) > WAITING_LIMIT:
            self._slow = True
            self._feed.watches.remove(self)
            return  # what waits is still handed out, and then the bad news
        self._waiting += events
        self._wake()

    def end(self) -> None:
        """Take no more; iteration ends once what waits is handed out."""
        if self in self._feed.watches:
            self._feed.watches.remove(self)
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Feed:
    """All watches of a store."""

    def __init__(self) -> None:
        self.watches: list[Watch] = []
        self.closed = False

    def publish(self, events: Sequence[Event]) -> None:
        """Offer a durable batch, oldest first, to every watch."""
        for watch in tuple(self.watches):
            watch.offer(events)

    def close(self) -> None:
        """End every watch, and those begun later at once."""
        self.closed = True
        for watch in tuple(self.watches):
            watch.end()
