"""What a feed tells is what a list and a watch of the same collection say."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from homeport.api.exchange import Collection, Request
from homeport.api.resources import find
from homeport.errors import BadRequest, Expired
from homeport.server import Server
from homeport.testing.loop import run_virtual
from tests.server.inprocess import ADMIN, Asker, running

pytestmark = pytest.mark.virtual

CONFIG_MAPS, NAMESPACES = find("ConfigMap"), find("Namespace")
PATH = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"

Told = list[tuple[str, str, str]]


def shown(kind: str, obj: Any) -> tuple[str, str, str]:
    metadata = obj["metadata"]
    return kind, metadata.get("name", ""), metadata["resourceVersion"]


class Notes:
    """A follower that writes down what it is told, as a watch that begins with a list would show it."""

    def __init__(self, *, fails_on: str = "") -> None:
        self.listed: Told = []
        self.version = ""
        self.events: Told = []
        self._fails_on = fails_on

    def replaced(self, objects: Sequence[Any], resource_version: str) -> None:
        self.listed, self.version = [shown("ADDED", obj) for obj in objects], resource_version

    def changed(self, kind: str, obj: Any) -> None:
        self.events.append(shown(kind, obj))
        if kind == self._fails_on:
            raise ZeroDivisionError(kind)


class Ends:
    """Hears how feeds ended."""

    def __init__(self) -> None:
        self.heard: list[Exception | None] = []

    def __call__(self, error: Exception | None) -> None:
        self.heard.append(error)


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


async def watched(server: Server, query: str, path: str, seen: Told) -> None:
    pairs = [("watch", "1"), *(tuple(one.split("=", 1)) for one in query.split("&") if one)]
    response = await server.handle(Request("GET", path, tuple(pairs), user=ADMIN, shared=True))  # type: ignore[arg-type]
    assert response.documents is not None
    async for batch in response.documents:
        seen += [shown(document["type"], document["object"]) for document in batch]


async def some_writes(ask: Asker, rng: random.Random, count: int = 30) -> None:
    for _ in range(count):
        name, path = rng.choice("abc"), rng.choice((PATH, PATH.replace("default", "other")))
        match rng.randrange(4):
            case 0:
                await ask("POST", path, config_map(name, k=rng.choice("12")))
            case 1:
                change = {"metadata": {"labels": {"k": rng.choice("12")}}}
                await ask("PATCH", f"{path}/{name}", change, content_type=MERGE)
            case 2:
                await ask("DELETE", f"{path}/{name}")
            case _:
                await asyncio.sleep(rng.choice((0, 0, 1)))


async def one_history(seed: int) -> None:
    rng = random.Random(seed)
    labels, fields = rng.choice(("", "k=1")), rng.choice(("", "metadata.name=a"))
    namespace = rng.choice((None, "default"))
    path = PATH if namespace else "/api/v1/configmaps"
    query = f"labelSelector={labels}&fieldSelector={fields}"
    async with running() as ask:
        await ask.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        await some_writes(ask, rng)
        listing = (await ask("GET", f"{path}?{query}")).body
        notes, collection = Notes(), Collection(CONFIG_MAPS, namespace, labels, fields)
        feed = ask.server.feeds.open(collection, notes)
        assert notes.listed == [shown("ADDED", item) for item in listing["items"]]
        assert notes.version == listing["metadata"]["resourceVersion"]
        events: Told = []
        watching = asyncio.create_task(watched(ask.server, f"{query}&resourceVersion={notes.version}", path, events))
        await some_writes(ask, rng)
        await asyncio.sleep(1)
        assert notes.events == events
        later = Notes()
        ask.server.feeds.open(collection, later, notes.version)
        await asyncio.sleep(1)
        assert (later.events, later.version) == (events, "")
        feed.close()
        await some_writes(ask, rng)
        assert notes.events == events[: len(notes.events)]
        watching.cancel()


@pytest.mark.parametrize("seed", range(30))
def test_a_feed_tells_what_a_watch_says(seed: int) -> None:
    run_virtual(lambda: one_history(seed))


async def test_an_end_comes_after_what_was_pending_and_names_the_version_to_go_on_from() -> None:
    async with running() as ask:
        notes = Notes()
        feed, ends = ask.server.feeds.open(Collection(CONFIG_MAPS, "default"), notes), Ends()
        feed.on_end(ends)
        await ask.create(PATH, config_map("a"))
        last = await ask.create(PATH, config_map("b"))
        expired = Expired("too old")
        feed.end(expired)
        feed.end()
        version = last["metadata"]["resourceVersion"]
        assert [(kind, name) for kind, name, _ in notes.events] == [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")]
        assert notes.events[-1] == ("BOOKMARK", "", version)
        assert ends.heard == [expired]
        assert ask.server.feeds.open_count == 0


async def test_a_follower_that_fails_ends_its_feed_with_its_error() -> None:
    async with running() as ask:
        notes, ends = Notes(fails_on="ADDED"), Ends()
        ask.server.feeds.open(Collection(CONFIG_MAPS, "default"), notes).on_end(ends)
        await ask.create(PATH, config_map("a"))
        await ask.create(PATH, config_map("b"))
        await asyncio.sleep(1)
        assert [type(error) for error in ends.heard] == [ZeroDivisionError]
        assert len(notes.events) == 1


async def test_who_closes_is_told_nothing_more() -> None:
    async with running() as ask:
        notes, ends = Notes(), Ends()
        feed = ask.server.feeds.open(Collection(CONFIG_MAPS, "default"), notes)
        feed.on_end(ends)
        await ask.create(PATH, config_map("a"))
        feed.close()
        feed.end()
        await asyncio.sleep(1)
        assert ends.heard == [None]
        assert len(notes.events) < 2
        assert ask.server.feeds.open_count == 0


async def test_a_server_that_stops_ends_its_feeds() -> None:
    async with running() as ask:
        ends = Ends()
        ask.server.feeds.open(Collection(NAMESPACES), Notes()).on_end(ends)
        await ask.server.stop()
        assert ends.heard == [None]


async def test_what_cannot_be_told_is_refused() -> None:
    async with running() as ask:
        with pytest.raises(BadRequest):
            ask.server.feeds.open(Collection(CONFIG_MAPS, None, "a in"), Notes())
        ask.server._hub.cache(ask.server._services.codec(CONFIG_MAPS)).floor = 100
        with pytest.raises(Expired, match=r"too old resource version: 7 \(100\)"):
            ask.server.feeds.open(Collection(CONFIG_MAPS), Notes(), "7")
