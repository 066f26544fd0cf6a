import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from homeport.api.exchange import Collection, Follower, User
from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.client.informer import Informer, InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.errors import Expired, Invalid, ServiceUnavailable
from tests.client.scripted import ScriptedServer, config_map

CONFIG_MAPS = find("ConfigMap")

pytestmark = pytest.mark.virtual


def by_color(obj: Object) -> list[str]:
    return [obj["data"]["color"]] if "color" in obj["data"] else []


class Seen:
    """What handlers were told, in order."""

    def __init__(self, informer: Informer) -> None:
        self.calls: list[str] = []
        informer.add_handler(
            add=lambda new: self.calls.append(f"+{new['metadata']['name']}"),
            update=lambda old, new: self.calls.append(f"{old['data']['v']}>{new['data']['v']}"),
            delete=lambda last: self.calls.append(f"-{last['metadata']['name']}"),
        )

    def take(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


@asynccontextmanager
async def running(server: ScriptedServer, *, watch_list: bool = False) -> AsyncIterator[Informer]:
    client = RestClient(InProcessTransport(server.handle, User("tester")), "tester/1")
    factory = InformerFactory(client, random.Random(1), watch_list=watch_list)
    informer = factory.informer(CONFIG_MAPS, indexers={"color": by_color})
    task = asyncio.create_task(factory.run())
    try:
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    await asyncio.sleep(1)


@pytest.mark.parametrize("watch_list", [False, True])
async def test_the_copy_follows_the_collection(watch_list: bool) -> None:
    server = ScriptedServer()
    server.put("a", v="1", color="red")
    async with running(server, watch_list=watch_list) as informer:
        seen = Seen(informer)
        await informer.synced.wait()
        server.put("b", v="1")
        server.put("a", v="2", color="blue")
        server.remove("b")
        await settle()
        assert seen.take() == ["+a", "+b", "1>2", "-b"]
        found = informer.get("default", "a")
        assert found is not None
        assert (found["kind"], found["data"]["v"]) == ("ConfigMap", "2")
        assert informer.list("default") == informer.list() == [found]
        assert informer.list("other") == []
        assert (informer.by_index("color", "red"), informer.by_index("color", "blue")) == ([], [found])
        assert informer.seen("4")
        assert not informer.seen("99")


async def test_a_dropped_watch_resumes_where_it_was_without_listing() -> None:
    server = ScriptedServer()
    async with running(server) as informer:
        seen = Seen(informer)
        await informer.synced.wait()
        server.put("a", v="1")
        await settle()
        server.drop()
        server.put("a", v="2")  # while nobody watches, or the old watch is ending
        await settle()
        server.put("a", v="3")
        await settle()
        assert seen.take() == ["+a", "1>2", "2>3"]
        assert len([query for _, _, query in server.requests if not query.get("watch")]) == 1


async def test_bookmarks_move_the_place_to_resume_from() -> None:
    server = ScriptedServer()
    async with running(server) as informer:
        await informer.synced.wait()
        await settle()
        server.version = 50
        server.bookmark()
        await settle()
        assert informer.resource_version == "50"


async def test_after_compaction_it_lists_again_and_tells_only_differences() -> None:
    server = ScriptedServer()
    for name in ("keep", "change", "go"):
        server.put(name, v="1")
    async with running(server) as informer:
        await informer.synced.wait()
        await settle()
        seen = Seen(informer)
        assert seen.take() == ["+keep", "+change", "+go"]
        server.fail_next(ServiceUnavailable("away"), times=2)
        server.drop()
        await asyncio.sleep(0)
        server.watches.clear()
        server.put("change", v="2")
        server.remove("go")
        server.put("come", v="1")
        server.compact()
        await settle()
        assert sorted(seen.take()) == ["+come", "-go", "1>2"]


async def test_errors_back_off_and_grow_with_jitter() -> None:
    server = ScriptedServer()
    server.fail_next(ConnectionRefusedError("not up yet"), times=6)
    async with running(server) as informer:
        await informer.synced.wait()
        waited = asyncio.get_running_loop().time()
        least = sum(0.05 * 2**n for n in range(6))
        assert least <= waited <= 2 * least


async def test_a_server_without_streamed_lists_is_listed() -> None:
    server = ScriptedServer()
    server.put("a", v="1")
    server.fail_next(Invalid("sendInitialEvents is forbidden"))
    async with running(server, watch_list=True) as informer:
        await informer.synced.wait()
        assert len(informer.list()) == 1


async def test_one_informer_is_shared_per_selector() -> None:
    server = ScriptedServer()
    client = RestClient(InProcessTransport(server.handle, User("tester")), "tester/1")
    factory = InformerFactory(client)
    first = factory.informer(CONFIG_MAPS, indexers={"color": by_color})
    assert factory.informer(CONFIG_MAPS, indexers={"color": by_color}) is first
    assert factory.informer(CONFIG_MAPS, "default") is not first
    assert factory.informer(CONFIG_MAPS, label_selector="a=b") is not first
    with pytest.raises(ValueError, match="color"):
        first.add_indexer("color", lambda _: [])


async def test_an_informer_asked_for_later_is_filled_too() -> None:
    server = ScriptedServer()
    server.put("a", v="1")
    client = RestClient(InProcessTransport(server.handle, User("tester")), "tester/1")
    factory = InformerFactory(client, random.Random(1))
    task = asyncio.create_task(factory.run())
    await settle()
    late = factory.informer(CONFIG_MAPS, "default")
    await factory.synced()
    assert len(late.list()) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert server.closed_watches == 1


class Told:
    """A source that tells one follower at a time, or declines, or fails."""

    def __init__(self) -> None:
        self.declines = False
        self.error: Exception | None = None
        self.follower: Follower | None = None
        self.after: list[str] = []
        self.ends: list[Callable[[Exception | None], None]] = []

    def follow(self, collection: Collection, follower: Follower, after: str = "") -> "Told | None":
        if self.error is not None:
            raise self.error
        if self.declines:
            return None
        self.after.append(after)
        self.follower = follower
        if not after:
            follower.replaced([config_map("a", 1, v="1")], "1")
        return self

    def end(self, error: Exception | None = None) -> None:
        ends, self.ends, self.follower = self.ends, [], None
        for call in ends:
            call(error)

    close = end

    def on_end(self, call: Callable[[Exception | None], None]) -> None:
        self.ends.append(call)


@asynccontextmanager
async def told(server: ScriptedServer, source: Told) -> AsyncIterator[Informer]:
    client = RestClient(InProcessTransport(server.handle, User("tester")), "tester/1")
    factory = InformerFactory(client, random.Random(1), source=source)
    informer = factory.informer(CONFIG_MAPS)
    task = asyncio.create_task(factory.run())
    try:
        await asyncio.sleep(0)
        yield informer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_a_source_tells_needs_no_request() -> None:
    server, source = ScriptedServer(), Told()
    async with told(server, source) as informer:
        seen = Seen(informer)
        assert informer.synced.is_set()
        assert source.follower is not None
        source.follower.changed("MODIFIED", config_map("a", 2, v="2"))
        source.follower.changed("DELETED", config_map("a", 3, v="2"))
        assert seen.take() == ["+a", "1>2", "-a"]
        assert informer.resource_version == "3"
    assert source.follower is None
    assert server.requests == []


async def test_a_feed_that_breaks_is_resumed_after_a_pause() -> None:
    server, source = ScriptedServer(), Told()
    async with told(server, source):
        source.end(ConnectionResetError())
        await asyncio.sleep(0.01)
        assert source.follower is None
        await settle()
        assert source.follower is not None
        assert source.after == ["", "1"]
        source.end(Expired("too old"))
        await settle()
        assert source.after == ["", "1", ""]
    assert server.requests == []


async def test_who_is_told_no_more_watches_from_there() -> None:
    server, source = ScriptedServer(), Told()
    async with told(server, source) as informer:
        source.declines = True
        source.end()
        await settle()
        (request,) = server.requests
        assert (request[2]["watch"], request[2]["resourceVersion"]) == ("true", "1")
        server.put("b", v="1")
        await settle()
        assert informer.get("default", "b") is not None


async def test_a_source_that_nobody_serves_is_asked_again() -> None:
    server, source = ScriptedServer(), Told()
    source.error = ConnectionRefusedError()
    async with told(server, source) as informer:
        await settle()
        assert not informer.synced.is_set()
        source.error = None
        await asyncio.sleep(10)
        assert informer.synced.is_set()
