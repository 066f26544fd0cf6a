"""Whatever happens between server and informer, the copy comes to rest equal to the collection, and handlers add up."""

import asyncio
import random

import pytest

from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.errors import ServiceUnavailable, TooManyRequests
from homeport.testing.loop import run_virtual
from tests.client.scripted import ScriptedServer


class Mirror:
    """Applies what handlers are told, and complains when a call does not fit what came before."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}

    def add(self, new: Object) -> None:
        assert new["metadata"]["name"] not in self.objects
        self.objects[new["metadata"]["name"]] = new

    def update(self, old: Object, new: Object) -> None:
        assert self.objects[old["metadata"]["name"]] is old
        self.objects[new["metadata"]["name"]] = new

    def delete(self, last: Object) -> None:
        del self.objects[last["metadata"]["name"]]


async def one_history(seed: int) -> None:
    rng = random.Random(seed)
    server, mirror = ScriptedServer(), Mirror()
    client = RestClient(InProcessTransport(server.handle, User("tester")), "tester/1")
    factory = InformerFactory(client, rng, watch_list=rng.random() < 0.3)
    informer = factory.informer(find("ConfigMap"), indexers={"v": lambda obj: [obj["data"]["v"]]})
    informer.add_handler(add=mirror.add, update=mirror.update, delete=mirror.delete)
    task = asyncio.create_task(factory.run())
    for _ in range(60):
        match rng.randrange(8):
            case 0 | 1 | 2:
                server.put(rng.choice("abcdef"), v=str(rng.randrange(3)))
            case 3 if server.objects:
                server.remove(rng.choice(sorted(server.objects)))
            case 4:
                server.drop()
            case 5:
                server.fail_next(rng.choice([ServiceUnavailable("x"), TooManyRequests("x"), ConnectionResetError()]))
            case 6:
                server.compact()
            case _:
                await asyncio.sleep(rng.choice([0, 0.01, 1, 700]))
    await asyncio.sleep(120)
    expected = {name: obj["metadata"]["resourceVersion"] for name, obj in server.objects.items()}
    assert {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in informer.list()} == expected
    assert {name: obj["metadata"]["resourceVersion"] for name, obj in mirror.objects.items()} == expected
    filed = {obj["metadata"]["name"] for value in "012" for obj in informer.by_index("v", value)}
    assert filed == expected.keys()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not server.watches


@pytest.mark.parametrize("seed", range(100))
def test_any_history_ends_with_an_equal_copy(seed: int) -> None:
    run_virtual(lambda: one_history(seed))
