"""The store that stays: one SQLite file, one connection in one thread, one fsync per group of writes.

A row per revision. The connection that writes is the one that checkpoints: SQLite up to 3.51.2 can corrupt a WAL that
another connection resets. `synchronous=FULL` makes a commit wait for the disk, and a commit is one statement where it
can be, because each statement costs the thread a turn for the interpreter lock.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from homeport.store.contract import Entry, Event, OutOfSpace, Revision, Unusable
from homeport.store.log import Done, LogStore
from homeport.store.state import History, State

__all__ = ["FORMAT", "SqliteStore"]

FORMAT: Final = 1
"""The file format this version writes (`PRAGMA user_version`)."""

APPLICATION_ID: Final = 0x484D5054  # "HMPT"
ROWS_PER_STATEMENT: Final = 64
REVISIONS_PER_COMPACTION: Final = 500
CHECKPOINT_PAGES: Final = 4000

_SCHEMA: Final = (
    # created = 0 marks a deletion; otherwise it is the revision that brought the key into being
    "CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, previous INTEGER NOT NULL,"
    " created INTEGER NOT NULL, value BLOB)",
    "CREATE TABLE meta (oldest INTEGER NOT NULL)",
    "INSERT INTO meta VALUES (0)",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={FORMAT}",
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Loaded:
    base: Sequence[Entry]
    events: Sequence[Event]
    oldest: Revision


class SqliteJournal:
    """Writes events to a file; everything touching it happens in one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._database: sqlite3.Connection | None = None
        self._compacted = 0
        self._closing = False

    async def open(self) -> _Loaded:
        """Open or create the file and read it. Raises Unusable."""
        try:
            return await self.run(self._open)
        except BaseException:
            self._thread.shutdown()
            raise

    def run(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        """Do something with the connection in its thread, after all that was asked before."""
        return asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)

    def commit(self, events: Sequence[Event], done: Done) -> None:
        self._report(self.run(lambda database: _insert(database, events)), done)

    def compact(self, before: Revision, done: Done) -> None:
        """Forget in small steps, between which commits go on."""
        until = min(before, self._compacted + REVISIONS_PER_COMPACTION)
        if self._closing or self._compacted >= before:
            done(None)
            return

        def next_step(error: BaseException | None) -> None:
            if error is not None:
                done(error)
                return
            self._compacted = max(self._compacted, until)
            self.compact(before, done)

        since = self._compacted
        self._report(self.run(lambda database: _forget(database, since, until)), next_step)

    async def close(self) -> None:
        self._closing = True
        await self.run(lambda database: database.close())
        self._thread.shutdown()

    @staticmethod
    def _report(future: "asyncio.Future[None]", done: Done) -> None:
        future.add_done_callback(lambda finished: done(finished.exception()))

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._database is None:
                self._database = _connect(self.path)
            return work(self._database)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OutOfSpace(
                    f"{self.path}: no space left for the write: make room; nothing was lost, and the store goes on"
                ) from error
            raise

    def _open(self, database: sqlite3.Connection) -> _Loaded:
        try:
            _prepare(self.path, database)
            loaded = _load(self.path, database)
        except sqlite3.DatabaseError as error:
            database.close()
            raise _unusable(self.path, error) from error
        except Unusable:
            database.close()
            raise
        self._compacted = loaded.oldest
        return loaded


class SqliteStore(LogStore):
    """A `LogStore` over a file: what is acknowledged is on disk."""

    def __init__(self, state: State, journal: SqliteJournal) -> None:
        super().__init__(state, journal)
        self.journal = journal

    @classmethod
    async def open(cls, path: Path, history: History | None = None) -> Self:
        """Open a store, creating it when there is none. Raises Unusable: locked, newer, damaged, not ours."""
        journal = SqliteJournal(path)
        loaded = await journal.open()
        state = State(history or History())
        state.restore(loaded.base, loaded.events, loaded.oldest, asyncio.get_running_loop().time())
        return cls(state, journal)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unusable(f"{path}: cannot be opened: {error.strerror}") from error
    return sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=2 * ROWS_PER_STATEMENT)


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    """Take the file for ourselves alone, see that it is ours, create what is missing."""
    for pragma in (
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        "temp_store=MEMORY",
    ):
        database.execute(f"PRAGMA {pragma}").fetchall()
    version, application = _one(database, "PRAGMA user_version"), _one(database, "PRAGMA application_id")
    if version > FORMAT and application == APPLICATION_ID:
        raise Unusable(
            f"{path}: was written by a newer version (format {version}, this one knows {FORMAT}):"
            " upgrade, or use another data directory"
        )
    if _one(database, "SELECT count(*) FROM sqlite_master") and application != APPLICATION_ID:
        raise Unusable(f"{path}: is a database of something else: use another data directory")
    database.execute("BEGIN IMMEDIATE")
    if not application:
        for statement in _SCHEMA:
            database.execute(statement)
    database.execute("COMMIT")


def _one(database: sqlite3.Connection, statement: str) -> Any:
    return database.execute(statement).fetchone()[0]


def _load(path: Path, database: sqlite3.Connection) -> _Loaded:
    oldest = Revision(_one(database, "SELECT oldest FROM meta"))
    present: dict[str, Entry] = {}
    rows = database.execute("SELECT revision, key, created, value FROM log WHERE revision < ?", (oldest,))
    for revision, key, created, value in rows:
        present[key] = Entry(key, value, revision, created)
    base = tuple(present.values())
    events: list[Event] = []
    rows = database.execute("SELECT * FROM log WHERE revision >= ? ORDER BY revision", (oldest,))
    for revision, key, previous, created, value in rows:
        before = present.get(key)
        if (before.revision if before else 0) != previous or (events and events[-1].revision + 1 != revision):
            raise Unusable(f"{path}: is damaged at revision {revision}: restore it from a copy")
        entry = Entry(key, value, revision, created) if created else None
        if entry is None:
            del present[key]
        else:
            present[key] = entry
        events.append(Event(key, revision, entry, before))
    return _Loaded(base, events, oldest)


def _statement(rows: int) -> str:
    return "INSERT INTO log VALUES " + ",".join(["(?,?,?,?,?)"] * rows)


_STATEMENTS: Final = [_statement(rows) for rows in range(ROWS_PER_STATEMENT + 1)]


def _insert(database: sqlite3.Connection, events: Sequence[Event]) -> None:
    if len(events) <= ROWS_PER_STATEMENT:
        database.execute(_STATEMENTS[len(events)], _values(events))
        return
    database.execute("BEGIN")
    try:
        for start in range(0, len(events), ROWS_PER_STATEMENT):
            chunk = events[start : start + ROWS_PER_STATEMENT]
            database.execute(_STATEMENTS[len(chunk)], _values(chunk))
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _values(events: Sequence[Event]) -> list[Any]:
    values: list[Any] = []
    for event in events:
        previous = event.previous.revision if event.previous is not None else 0
        entry = event.entry
        if entry is None:
            values += (event.revision, event.key, previous, 0, None)
        else:
            values += (event.revision, event.key, previous, entry.created, entry.value)
    return values


def _forget(database: sqlite3.Connection, since: int, before: int) -> None:
    """Drop what the revisions from `since` to below `before` superseded or deleted."""
    span = (since, before)
    database.execute("BEGIN")
    try:
        database.execute(
            "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE revision >= ? AND revision < ?)", span
        )
        database.execute("DELETE FROM log WHERE revision >= ? AND revision < ? AND created = 0", span)
        database.execute("UPDATE meta SET oldest = max(oldest, ?)", (before,))
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def _unusable(path: Path, error: sqlite3.DatabaseError) -> Unusable:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unusable(f"{path}: is in use by another engine: stop that one, or use another data directory")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Unusable(f"{path}: is damaged or no database ({error}): restore it from a copy")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return Unusable(f"{path}: cannot be written ({error}): check its owner, mode and file system")
    if code == sqlite3.SQLITE_FULL:
        return Unusable(f"{path}: no space left to open it: make room")
    return Unusable(f"{path}: {error}")
