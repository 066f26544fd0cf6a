"""What every store promises, run against all sides."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from homeport.store.contract import Compacted, Delete, Event, Mismatch, Put, Revision, StoreError, TooSlow
from homeport.store.state import History
from tests.store.sides import Open

R = Revision


def shape(events: Sequence[Event]) -> list[tuple[int, str, bytes | None, bytes | None]]:
    return [
        (e.revision, e.key, e.entry.value if e.entry else None, e.previous.value if e.previous else None)
        for e in events
    ]


async def collect(batches: Any, count: int) -> list[Event]:
    events: list[Event] = []
    while len(events) < count:
        events += await asyncio.wait_for(anext(batches), 10)
    return events


async def test_a_write_is_read_back_with_its_revisions(open_store: Open) -> None:
    async with open_store() as store:
        assert (store.revision, store.oldest) == (0, 0)
        first = await store.put("/a", b"1", expect=R(0))
        second = await store.put("/a", b"2", expect=first.revision)
        assert (first.revision, second.revision, second.created) == (1, 2, 1)
        assert await store.get("/a") == second
        assert await store.get("/b") is None
        assert await store.delete("/a", expect=second.revision) == 3
        assert await store.get("/a") is None
        again = await store.put("/a", b"3", expect=R(0))
        assert (again.revision, again.created, store.revision) == (4, 4, 4)


@pytest.mark.parametrize("expect", [0, 1, 3])
async def test_a_stale_expectation_is_refused_with_the_present_entry(open_store: Open, expect: int) -> None:
    async with open_store() as store:
        await store.put("/a", b"1", expect=R(0))
        current = await store.put("/a", b"2", expect=R(1))
        with pytest.raises(Mismatch) as put:
            await store.put("/a", b"x", expect=R(expect))
        with pytest.raises(Mismatch) as delete:
            await store.delete("/a", expect=R(expect))
        assert put.value.current == delete.value.current == current
        with pytest.raises(Mismatch) as absent:
            await store.delete("/none", expect=R(0))
        assert absent.value.current is None
        assert store.revision == 2


async def test_pipelined_writes_to_one_key_see_each_other(open_store: Open) -> None:
    async with open_store() as store:
        results = await asyncio.gather(
            store.put("/a", b"1", expect=R(0)),
            store.put("/a", b"2", expect=R(1)),
            store.put("/a", b"no", expect=R(1)),
            store.delete("/a", expect=R(2)),
            store.put("/a", b"4", expect=R(0)),
            return_exceptions=True,
        )
        refused = results[2]
        assert isinstance(refused, Mismatch)
        assert [r if isinstance(r, int) else r.revision for r in results if not isinstance(r, Mismatch)] == [1, 2, 3, 4]
        entry = await store.get("/a")
        assert entry is not None
        assert (entry.value, entry.revision, entry.created) == (b"4", 4, 4)


async def test_of_many_racing_writers_one_wins(open_store: Open) -> None:
    async with open_store() as store:
        results = await asyncio.gather(
            *(store.put("/a", b"%d" % n, expect=R(0)) for n in range(20)), return_exceptions=True
        )
        losers = [result for result in results if isinstance(result, Mismatch)]
        assert len(losers) == 19
        assert all(loser.current is not None and loser.current.value == b"0" for loser in losers)


async def test_a_transaction_happens_whole_or_not_at_all(open_store: Open) -> None:
    async with open_store() as store:
        await store.put("/a", b"1", expect=R(0))
        done = await store.transact([Put("/b", b"1", R(0)), Put("/b", b"2", R(2)), Delete("/a", R(1))])
        assert list(done) == [2, 3, 4]
        with pytest.raises(Mismatch):
            await store.transact([Put("/c", b"1", R(0)), Put("/b", b"3", R(1))])
        assert await store.get("/c") is None
        assert (store.revision, list(await store.transact([]))) == (4, [])


async def test_a_listing_is_in_byte_order_and_pages(open_store: Open) -> None:
    async with open_store() as store:
        keys = ["/p/a", "/p/a/x", "/p/a0", "/p/b", "/p/é", "/p0", "/o"]
        for key in keys:
            await store.put(key, key.encode(), expect=R(0))
        whole = await store.list("/p/")
        expected = sorted((key for key in keys if key.startswith("/p/")), key=str.encode)
        assert [entry.key for entry in whole.entries] == expected
        assert (whole.revision, whole.more, whole.remaining) == (7, False, 0)
        page = await store.list("/p/", limit=2)
        assert ([e.key for e in page.entries], page.more, page.remaining) == (expected[:2], True, 3)
        rest = await store.list("/p/", start=expected[2], limit=3)
        assert ([e.key for e in rest.entries], rest.more) == (expected[2:], False)
        assert [e.key for e in (await store.list("")).entries] == sorted(keys, key=str.encode)
        assert (await store.list("/nothing/")).entries == []


async def test_the_past_can_be_read_until_it_is_compacted(open_store: Open) -> None:
    async with open_store() as store:
        await store.put("/p/a", b"1", expect=R(0))
        await store.put("/p/b", b"1", expect=R(0))
        await store.put("/p/a", b"2", expect=R(1))
        await store.delete("/p/b", expect=R(2))
        values = []
        for at in range(5):
            listing = await store.list("/p/", at=R(at))
            assert listing.revision == at
            values.append({entry.key[-1]: entry.value for entry in listing.entries})
            for key in ("a", "b"):
                entry = await store.get(f"/p/{key}", at=R(at))
                assert (entry.value if entry else None) == values[-1].get(key)
        assert values == [{}, {"a": b"1"}, {"a": b"1", "b": b"1"}, {"a": b"2", "b": b"1"}, {"a": b"2"}]
        await store.compact(R(3))
        assert store.oldest == 3
        with pytest.raises(Compacted) as old:
            await store.list("/p/", at=R(2))
        assert old.value.oldest == 3
        assert len((await store.list("/p/", at=R(3))).entries) == 2
        await store.compact(R(1))  # going back is not possible and not an error
        assert store.oldest == 3


async def test_a_watch_delivers_every_change_in_order_with_what_was_before(open_store: Open) -> None:
    async with open_store() as store:
        await store.put("/p/a", b"1", expect=R(0))
        async with store.watch("/p/", after=R(0)) as batches:
            await store.put("/q/x", b"1", expect=R(0))
            await store.put("/p/a", b"2", expect=R(1))
            await store.delete("/p/a", expect=R(3))
            assert shape(await collect(batches, 3)) == [
                (1, "/p/a", b"1", None),
                (3, "/p/a", b"2", b"1"),
                (4, "/p/a", None, b"2"),
            ]


async def test_a_watch_starts_after_the_revision_given_even_a_future_one(open_store: Open) -> None:
    async with open_store() as store:
        for n in range(5):
            await store.put(f"/{n}", b"", expect=R(0))
        async with store.watch("", after=R(3)) as now, store.watch("", after=R(6)) as later:
            await store.put("/5", b"", expect=R(0))
            await store.put("/6", b"", expect=R(0))
            assert [e.revision for e in await collect(now, 4)] == [4, 5, 6, 7]
            assert [e.revision for e in await collect(later, 1)] == [7]


async def test_writes_of_one_turn_arrive_as_one_batch(open_store: Open) -> None:
    async with open_store() as store, store.watch("", after=R(0)) as batches:
        await asyncio.gather(*(store.put(f"/{n}", b"", expect=R(0)) for n in range(50)))
        assert [event.revision for event in await anext(batches)] == list(range(1, 51))


async def test_what_is_acknowledged_has_been_offered_to_watchers(open_store: Open) -> None:
    async with open_store() as store, store.watch("", after=R(0)) as batches:
        entry = await store.put("/a", b"1", expect=R(0))
        assert (await asyncio.wait_for(anext(batches), 0.01))[0].entry == entry


async def test_a_watch_into_compacted_history_is_refused(open_store: Open) -> None:
    async with open_store() as store:
        for n in range(5):
            await store.put(f"/{n}", b"", expect=R(0))
        await store.compact(R(4))
        with pytest.raises(Compacted):
            async with store.watch("", after=R(2)):
                pass
        async with store.watch("", after=R(3)) as batches:
            assert [e.revision for e in await collect(batches, 2)] == [4, 5]


async def test_a_watcher_that_falls_behind_gets_what_waits_and_then_the_news(open_store: Open) -> None:
    async with open_store() as store, store.watch("", after=R(0)) as batches:
        revision = 0
        for _ in range(12):
            done = await store.transact([Put(f"/{n}", b"", R(max(0, revision - 99 + n))) for n in range(100)])
            revision = done[-1]
        assert len(await anext(batches)) == 1000
        with pytest.raises(TooSlow):
            await anext(batches)
        async with store.watch("", after=R(1000)) as resumed:
            assert [e.revision for e in await collect(resumed, 200)] == list(range(1001, 1201))


async def test_a_large_batch_alone_is_not_too_much(open_store: Open) -> None:
    async with open_store() as store, store.watch("", after=R(0)) as batches:
        await store.transact([Put(f"/{n}", b"", R(0)) for n in range(3000)])
        assert len(await collect(batches, 3000)) == 3000


async def test_closing_ends_watches_and_refuses_writes(open_store: Open) -> None:
    async with open_store() as store:
        async with store.watch("", after=R(0)) as batches:
            write = asyncio.create_task(store.put("/a", b"", expect=R(0)))
            await asyncio.sleep(0)
            await store.close()
            assert (await write).revision == 1
            assert [[e.revision for e in batch] async for batch in batches] == [[1]]
        with pytest.raises(StoreError, match="closed"):
            await store.put("/b", b"", expect=R(0))


async def test_a_cancelled_writer_leaves_the_others_alone(open_store: Open) -> None:
    async with open_store() as store:
        first = asyncio.create_task(store.put("/a", b"", expect=R(0)))
        second = asyncio.create_task(store.put("/b", b"", expect=R(0)))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).key == "/b"
        assert store.revision == 2


async def test_history_beyond_the_policy_goes_by_itself(open_store: Open) -> None:
    async with open_store(History(revisions=100, seconds=0.0, max_revisions=1000)) as store:
        revision = R(0)
        for _ in range(30):
            writes = [Put("/a", b"", R(revision + n)) for n in range(100)]
            revision = (await store.transact(writes))[-1]
            await asyncio.sleep(0)
        assert 100 <= store.revision - store.oldest <= 1200
