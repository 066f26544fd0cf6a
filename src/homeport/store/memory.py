"""The store that forgets: everything in memory, gone with the process. For tests and throw-away clusters."""

from collections.abc import Sequence

from homeport.store.contract import Event, Revision
from homeport.store.log import Done, LogStore
from homeport.store.state import History, State

__all__ = ["MemoryStore"]


class _NoJournal:
    """Memory is as durable as it gets."""

    def commit(self, events: Sequence[Event], done: Done) -> None:
        done(None)

    def compact(self, before: Revision, done: Done) -> None:
        done(None)

    async def close(self) -> None:
        """Nothing is held."""


class MemoryStore(LogStore):
    """A `LogStore` whose writes are done at the end of the loop turn."""

    def __init__(self, history: History | None = None) -> None:
        super().__init__(State(history or History()), _NoJournal())
