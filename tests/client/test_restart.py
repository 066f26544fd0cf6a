"""A server that is stopped and started again over its file: informers resume where they were, over the socket."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from homeport.api.exchange import Request, Response
from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.client.http import HttpTransport
from homeport.client.informer import InformerFactory
from homeport.client.rest import RestClient
from homeport.client.settings import unix_settings
from homeport.clock import WallClock
from homeport.server.app import Server
from homeport.server.listener import Listener
from homeport.store.sqlite import SqliteStore

CONFIG_MAPS = find("ConfigMap")


def config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


@asynccontextmanager
async def serving(directory: Path, requests: list[Request]) -> AsyncIterator[None]:
    store = await SqliteStore.open(directory / "state.db")
    server = Server(store, WallClock(), random.Random(1))
    await server.start()

    async def handle(request: Request) -> Response:
        requests.append(request)
        return await server.handle(request)

    listener = Listener(handle, 3 * 1024 * 1024)
    await listener.listen_unix(directory / "api.sock")
    yield
    await server.stop()
    await listener.close()
    await store.close()


async def test_an_informer_resumes_after_a_restart(tmp_path: Path) -> None:
    requests: list[Request] = []
    transport = HttpTransport(unix_settings(str(tmp_path / "api.sock")))
    client = RestClient(transport, "tester/1")
    factory = InformerFactory(client, random.Random(1))
    informer = factory.informer(CONFIG_MAPS, "default")
    calls: list[str] = []
    arrived: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("a", "b", "c")}

    def added(obj: Object) -> None:
        name = obj["metadata"]["name"]
        calls.append(name)
        if name in arrived:
            arrived[name].set()

    informer.add_handler(add=added)
    task = asyncio.create_task(factory.run())  # before there is a server
    async with serving(tmp_path, requests):
        await asyncio.wait_for(factory.synced(), 20)
        await client.create(CONFIG_MAPS, config_map("a"))
        await asyncio.wait_for(arrived["a"].wait(), 20)
    async with serving(tmp_path, requests):
        await client.create(CONFIG_MAPS, config_map("b"))
        await asyncio.wait_for(arrived["b"].wait(), 20)
        await client.create(CONFIG_MAPS, config_map("c"))
        await asyncio.wait_for(arrived["c"].wait(), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await transport.close()
    assert [name for name in calls if name in arrived] == ["a", "b", "c"]
    lists = [r for r in requests if r.method == "GET" and r.path.endswith("/configmaps") and not _watching(r)]
    assert len(lists) == 1


def _watching(request: Request) -> bool:
    return ("watch", "true") in request.query
