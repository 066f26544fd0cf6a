"""Watches see every change once, in order, as their selector and representation have it (api-machinery 10)."""

import asyncio

import pytest

from homeport.store.memory import MemoryStore
from tests.server.inprocess import CONFIG_MAPS, MERGE, config_map, running

pytestmark = pytest.mark.virtual


async def test_a_watch_from_a_list_tells_exactly_what_came_after() -> None:
    async with running() as ask:
        await ask.create(CONFIG_MAPS, config_map("a"))
        listed = await ask.get(CONFIG_MAPS)
        await ask.create(CONFIG_MAPS, config_map("b"))
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}")
        await ask("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "1"}}, content_type=MERGE)
        await ask("DELETE", f"{CONFIG_MAPS}/b")
        assert await events.take(3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_versions_of_one_watch_ascend() -> None:
    async with running() as ask:
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=1")
        for number in range(50):
            await ask.create(CONFIG_MAPS, config_map(f"c-{number}"))
        seen = [int((await events.next())["object"]["metadata"]["resourceVersion"]) for _ in range(50)]
        assert seen == sorted(set(seen))


async def test_leaving_the_selector_is_a_deletion_with_the_old_content() -> None:
    async with running() as ask:
        labelled = {**config_map("a"), "metadata": {"name": "a", "labels": {"k": "1"}}}
        first = await ask.create(CONFIG_MAPS, labelled)
        version = first["metadata"]["resourceVersion"]
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={version}&labelSelector=k=1")
        changed = await ask("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"k": "2"}}}, content_type=MERGE)
        gone = await events.next()
        assert gone["type"] == "DELETED"
        assert gone["object"]["metadata"]["labels"] == {"k": "1"}
        assert gone["object"]["metadata"]["resourceVersion"] == changed.body["metadata"]["resourceVersion"]
        await ask("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"k": "1"}}}, content_type=MERGE)
        assert await events.take(1) == [("ADDED", "a")]


async def test_a_watch_list_ends_its_initial_events_with_one_bookmark() -> None:
    async with running() as ask:
        await ask.create(CONFIG_MAPS, config_map("a"))
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        events = await ask.watch(f"{CONFIG_MAPS}?{query}")
        assert await events.take(1) == [("ADDED", "a")]
        mark = await events.next()
        assert mark["type"] == "BOOKMARK"
        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_quietly_at_its_timeout_after_a_last_bookmark() -> None:
    async with running() as ask:
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=600&allowWatchBookmarks=true&resourceVersion=5")
        started = asyncio.get_running_loop().time()
        kinds = []
        while (event := await events.next()) is not None:
            kinds.append(event["type"])
        assert asyncio.get_running_loop().time() - started == 600.0
        assert set(kinds) == {"BOOKMARK"}
        assert len(kinds) >= 10  # one a minute, and one before the end


async def test_a_server_that_lost_its_history_says_expired() -> None:
    store = MemoryStore()
    async with running(store=store) as ask:
        for number in range(30):
            await ask.create(CONFIG_MAPS, config_map(f"c-{number}"))
        await store.compact(store.revision)
    async with running(store=store) as ask:
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=10")
        error = await events.next()
        assert error["type"] == "ERROR"
        assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")
        assert await events.next() is None
    await store.close()


async def test_a_watch_resumes_over_a_restart() -> None:
    store = MemoryStore()
    async with running(store=store) as ask:
        first = await ask.create(CONFIG_MAPS, config_map("a"))
        await ask.create(CONFIG_MAPS, config_map("b"))
    async with running(store=store) as ask:
        version = first["metadata"]["resourceVersion"]
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={version}")
        assert await events.take(1) == [("ADDED", "b")]
    await store.close()


async def test_shutdown_ends_streams_without_an_event() -> None:
    async with running() as ask:
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=5")
        await ask.server.stop()
        assert await events.next() is None


async def test_nothing_between_the_answer_and_the_first_read_is_lost() -> None:
    async with running() as ask:
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1")
        await ask.create(CONFIG_MAPS, config_map("late"))
        assert await events.take(1) == [("ADDED", "late")]


async def test_a_reader_that_never_reads_is_closed() -> None:
    async with running() as ask:
        events = await ask.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=5")
        await ask.create(CONFIG_MAPS, config_map("a"))
        for number in range(10_001):
            await ask("PATCH", f"{CONFIG_MAPS}/a", {"data": {"n": str(number)}}, content_type=MERGE)
        assert await events.next() is None


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("resourceVersion=abc", 500, None),
        ("labelSelector=!!", 400, "BadRequest"),
        ("fieldSelector=data.x=1", 400, "BadRequest"),
        ("sendInitialEvents=true", 422, "Invalid"),
    ],
)
async def test_what_is_wrong_is_told_before_the_stream_starts(query: str, status: int, reason: str | None) -> None:
    async with running() as ask:
        answer = await ask("GET", f"{CONFIG_MAPS}?watch=1&{query}")
        assert (answer.status, answer.body.get("reason")) == (status, reason)
