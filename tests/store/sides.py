"""The sides of the store seam, each opened the same way."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from homeport.store.log import LogStore
from homeport.store.memory import MemoryStore
from homeport.store.sqlite import SqliteStore
from homeport.store.state import History

Open = Callable[..., AbstractAsyncContextManager[LogStore]]


def memory_side(_: Path) -> Open:
    @asynccontextmanager
    async def open_store(history: History | None = None) -> AsyncIterator[LogStore]:
        store = MemoryStore(history)
        yield store
        await store.close()

    return open_store


def sqlite_side(directory: Path) -> Open:
    @asynccontextmanager
    async def open_store(history: History | None = None) -> AsyncIterator[LogStore]:
        store = await SqliteStore.open(directory / "state.db", history)
        yield store
        await store.close()

    return open_store


SIDES = {"memory": memory_side, "sqlite": sqlite_side}
