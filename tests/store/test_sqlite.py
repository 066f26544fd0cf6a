"""What only the file-backed side can do: keep things, refuse files, survive a full disk."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from homeport.store.contract import Compacted, Delete, OutOfSpace, Put, Revision, StoreError, Unusable
from homeport.store.sqlite import SqliteStore
from homeport.store.state import History

R = Revision


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    await store.put("/a", b"1", expect=R(0))
    await store.put("/b", b"1", expect=R(0))
    await store.put("/a", b"2", expect=R(1))
    await store.delete("/b", expect=R(2))
    before = [await store.list("", at=R(n)) for n in range(5)]
    async with store.watch("", after=R(0)) as batches:
        events = await anext(batches)
    await store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    again = await SqliteStore.open(path)
    assert (again.revision, again.oldest) == (4, 0)
    assert [await again.list("", at=R(n)) for n in range(5)] == before
    async with again.watch("", after=R(0)) as batches:
        assert await anext(batches) == events
    assert (await again.put("/b", b"3", expect=R(0))).revision == 5
    await again.close()


async def test_compacted_history_is_gone_from_the_file_and_the_rest_is_not(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    revision = R(0)
    for n in range(30):
        revision = (await store.transact([Put("/a", b"%d" % n, R(revision + i)) for i in range(50)]))[-1]
    await store.put("/kept", b"old", expect=R(0))
    gone = await store.put("/gone", b"", expect=R(0))
    await store.delete("/gone", expect=gone.revision)
    await store.put("/last", b"", expect=R(0))
    await store.compact(R(1503))
    expected = [await store.list("", at=R(n)) for n in (1503, 1504)]
    await store.close()

    with sqlite3.connect(path) as database:
        assert [row[0] for row in database.execute("SELECT revision FROM log")] == [1500, 1501, 1502, 1503, 1504]
    database.close()
    again = await SqliteStore.open(path)
    assert (again.revision, again.oldest) == (1504, 1503)
    assert [await again.list("", at=R(n)) for n in (1503, 1504)] == expected
    kept = await again.get("/kept")
    assert kept is not None
    assert (kept.revision, kept.created) == (1501, 1501)
    oldest = await again.get("/a")
    assert oldest is not None
    assert (oldest.revision, oldest.created) == (1500, 1)
    with pytest.raises(Compacted):
        await again.list("", at=R(1502))
    async with again.watch("", after=R(1502)) as batches:
        assert [(e.revision, e.entry is None) for e in await anext(batches)] == [(1503, True), (1504, False)]
    await again.compact(R(1504))
    await again.close()
    with sqlite3.connect(path) as database:
        assert [row[0] for row in database.execute("SELECT revision FROM log")] == [1500, 1501, 1504]
    database.close()


async def test_history_trims_itself_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path, History(revisions=200, seconds=0.0, max_revisions=2000))
    for _ in range(60):
        first = store.revision + 1
        puts = [Put("/a", b"x", R(first + n - 1 if n else 0)) for n in range(99)]
        await store.transact([*puts, Delete("/a", R(first + 98))])
    assert store.oldest >= 4000
    await store.close()
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT count(*) FROM log").fetchone()[0]
    database.close()
    assert rows < 3000


async def test_compactions_that_overlap_agree(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    for _ in range(20):
        first = store.revision + 1
        await store.transact([Put("/a", b"", R(first + n - 1)) for n in range(100)])
    await asyncio.gather(store.compact(R(1900)), store.compact(R(1200)), store.compact(R(700)))
    await store.close()
    again = await SqliteStore.open(path)
    assert (again.oldest, again.revision) == (1900, 2000)
    await again.close()


async def test_a_second_engine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom homeport.store.sqlite import SqliteStore\n"
        "try: asyncio.run(SqliteStore.open(Path(sys.argv[1])))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode() == (
        f"Unusable {path}: is in use by another engine: stop that one, or use another data directory\n"
    )
    with pytest.raises(Unusable, match="another engine"):
        await SqliteStore.open(path)
    await store.put("/a", b"", expect=R(0))
    await store.close()


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["PRAGMA application_id=1213026388", "PRAGMA user_version=2"], "newer version .format 2, this one knows 1."),
        (["CREATE TABLE other (x)"], "is a database of something else"),
    ],
)
async def test_a_foreign_file_is_refused(tmp_path: Path, statements: list[str], message: str) -> None:
    path = tmp_path / "state.db"
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.close()
    with pytest.raises(Unusable, match=message) as refused:
        await SqliteStore.open(path)
    assert str(path) in str(refused.value)


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(Unusable, match="restore it"):
        await SqliteStore.open(path)
    with pytest.raises(Unusable, match="cannot be opened"):
        await SqliteStore.open(tmp_path / "none" / "state.db")


async def test_a_hole_in_the_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    for n in range(5):
        await store.put(f"/{n}", b"", expect=R(0))
    await store.close()
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM log WHERE revision = 3")
    database.close()
    with pytest.raises(Unusable, match="damaged at revision 4"):
        await SqliteStore.open(path)


async def test_a_full_disk_refuses_writes_loses_nothing_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await SqliteStore.open(path)
    first = await store.put("/a", b"1", expect=R(0))
    pages = (await store.journal.run(lambda db: db.execute("PRAGMA page_count").fetchone()))[0]
    await store.journal.run(lambda db: db.execute(f"PRAGMA max_page_count={pages + 2}").fetchall())
    async with store.watch("", after=R(1)) as batches:
        results = await asyncio.gather(
            store.put("/a", b"x" * 50_000, expect=first.revision),
            store.put("/a", b"y", expect=R(2)),  # stands on the one that fails
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [OutOfSpace, OutOfSpace]
        assert str(path) in str(results[0])
        assert (await store.get("/a"), store.revision) == (first, 1)
        await store.journal.run(lambda db: db.execute("PRAGMA max_page_count=1000000").fetchall())
        again = await store.put("/a", b"2", expect=first.revision)
        assert again.revision == 2
        assert [event.revision for event in await anext(batches)] == [2]
    await store.close()


async def test_after_a_failure_of_another_kind_nothing_more_is_accepted(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    await store.journal.run(lambda db: db.execute("DROP TABLE log").fetchall())
    with pytest.raises(StoreError, match="may not have reached the disk"):
        await store.put("/a", b"", expect=R(0))
    with pytest.raises(StoreError, match="stopped accepting writes"):
        await store.put("/a", b"", expect=R(0))
    await store.close()
