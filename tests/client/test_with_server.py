"""Client and server together, in one process and in virtual time: writes, informers, events, leases."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessSource, InProcessTransport
from homeport.client.lease import LeaderElector
from homeport.client.rest import RestClient
from homeport.errors import Conflict, NotFound
from homeport.server.app import Server
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock

pytestmark = pytest.mark.virtual

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
CONFIG_MAPS, EVENTS, LEASES = find("ConfigMap"), find("Event"), find("Lease", "coordination.k8s.io")


@asynccontextmanager
async def connected() -> AsyncIterator[RestClient]:
    async with served() as (_, client):
        yield client


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, RestClient]]:
    store = MemoryStore()
    server = Server(store, VirtualClock(), random.Random(1))
    await server.start()
    yield server, RestClient(InProcessTransport(server.handle, ADMIN), "tester/1")
    await server.stop()
    await store.close()


def config_map(name: str, **data: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "data": data,
    }


async def test_an_object_lives_and_dies() -> None:
    async with connected() as client:
        made = await client.create(CONFIG_MAPS, config_map("a", v="1"))
        patched = await client.patch(CONFIG_MAPS, "default", "a", {"data": {"v": "2"}})
        with pytest.raises(Conflict):
            await client.update(CONFIG_MAPS, made)
        again = await client.patch(
            CONFIG_MAPS, "default", "a", [{"op": "test", "path": "/data/v", "value": "2"}], kind=PatchType.JSON
        )
        assert again["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]
        listing = await client.list(CONFIG_MAPS, "default", label_selector="app in (web)", limit=1)
        assert [item["metadata"]["name"] for item in listing.items] == ["a"]
        await client.delete(CONFIG_MAPS, "default", "a", uid=made["metadata"]["uid"])
        with pytest.raises(NotFound):
            await client.get(CONFIG_MAPS, "default", "a")


@pytest.mark.parametrize("way", ["list and watch", "watch list", "told"])
async def test_an_informer_follows_the_server_for_hours(way: str) -> None:
    async with served() as (server, client):
        await client.create(CONFIG_MAPS, config_map("before"))
        source = InProcessSource(server.feeds.open) if way == "told" else None
        factory = InformerFactory(client, random.Random(2), watch_list=way == "watch list", source=source)
        informer = factory.informer(CONFIG_MAPS, "default", label_selector="app=web")
        task = asyncio.create_task(factory.run())
        await factory.synced()
        for hour in range(3):
            await client.create(CONFIG_MAPS, config_map(f"h{hour}"))
            await asyncio.sleep(3600)
        last = await client.patch(CONFIG_MAPS, "default", "h0", {"metadata": {"labels": None}})
        await asyncio.sleep(1)
        assert sorted(obj["metadata"]["name"] for obj in informer.list()) == ["before", "h1", "h2"]
        assert informer.seen(last["metadata"]["resourceVersion"])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_events_are_accepted_and_counted() -> None:
    async with connected() as client:
        about = await client.create(CONFIG_MAPS, config_map("a"))
        recorder = EventRecorder(client, VirtualClock(), "tester")
        task = asyncio.create_task(recorder.run())
        for _ in range(3):
            recorder.warning(about, "Failing", "again")
            await asyncio.sleep(10)
        listing = await client.list(EVENTS, "default", field_selector="involvedObject.name=a,type=Warning")
        assert [(event["reason"], event["count"]) for event in listing.items] == [("Failing", 3)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_leader_is_elected() -> None:
    async with connected() as client:
        leading = asyncio.Event()

        async def lead() -> None:
            leading.set()
            await asyncio.get_running_loop().create_future()

        elector = LeaderElector(client, VirtualClock(), "default", "leader", "me", rng=random.Random(3))
        task = asyncio.create_task(elector.run(lead))
        await leading.wait()
        await asyncio.sleep(60)
        lease = await client.get(LEASES, "default", "leader")
        assert lease["spec"]["holderIdentity"] == "me"
        assert lease["spec"]["renewTime"] > lease["spec"]["acquireTime"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not (await client.get(LEASES, "default", "leader"))["spec"].get("holderIdentity")
