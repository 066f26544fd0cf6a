"""What was acknowledged is there after a restart, and clients go on where they were: over the durable store."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from homeport.clock import WallClock
from homeport.server import Server
from homeport.store.sqlite import SqliteStore
from tests.server.inprocess import CONFIG_MAPS, PODS, SERVICES, WITHOUT_ACCOUNTS, Asker, config_map, pod


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Asker]:
    store = await SqliteStore.open(folder / "state.db")
    async with Server(store, WallClock(), random.Random(3), WITHOUT_ACCOUNTS) as server:
        yield Asker(server, store)  # type: ignore[arg-type]
    await store.close()


async def test_objects_versions_watches_and_pages_outlive_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as ask:
        first = await ask.create(CONFIG_MAPS, config_map("a", k="v"))
        await ask.create(CONFIG_MAPS, config_map("b"))
        await ask("DELETE", f"{CONFIG_MAPS}/b")
        page = await ask.get(f"{CONFIG_MAPS}?limit=1")
        await ask.create(CONFIG_MAPS, config_map("c"))
        newest = (await ask.get(CONFIG_MAPS))["metadata"]["resourceVersion"]
    async with running(tmp_path) as ask:
        assert await ask.get(f"{CONFIG_MAPS}/a") == first
        assert int((await ask.get(CONFIG_MAPS))["metadata"]["resourceVersion"]) >= int(newest)
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={first['metadata']['resourceVersion']}")
        assert await events.take(3) == [("ADDED", "b"), ("DELETED", "b"), ("ADDED", "c")]
        assert page["metadata"].get("continue") is None
        exact = f"resourceVersion={page['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        then = await ask.get(f"{CONFIG_MAPS}?{exact}")
        assert [each["metadata"]["name"] for each in then["items"]] == ["a"]


async def test_the_service_of_the_api_keeps_its_identity(tmp_path: Path) -> None:
    async with running(tmp_path) as ask:
        before = await ask.get(f"{SERVICES}/kubernetes")
        await ask.create(PODS, pod("p"))
    async with running(tmp_path) as ask:
        assert await ask.get(f"{SERVICES}/kubernetes") == before
        assert (await ask.get(f"{PODS}/p"))["metadata"]["name"] == "p"
