"""kill -9 at any instant: nothing acknowledged is lost, no revision is used twice, watches resume without a gap."""

import multiprocessing
import os
import random
import select
import time
from multiprocessing.connection import Connection
from pathlib import Path

from homeport.store.contract import Event, Revision
from homeport.store.sqlite import SqliteStore
from tests.store.crashing import HISTORY, write_until_killed

ROUNDS = 200
SHORTEST_SECONDS, LONGEST_SECONDS = 0.002, 0.05


def start(path: str, report: Connection, number: int) -> None:
    write_until_killed(path, report.fileno(), number)


def crash(path: Path, number: int, seconds: float) -> dict[int, tuple[str, bytes | None]]:
    """Let a process write for a while, kill it, and return what it was told is durable, by revision."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.store.crashing"])  # every writer imports pytest as its main
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(target=start, args=(str(path), writing, number))
    process.start()
    writing.close()
    reported = bytearray()
    deadline = time.monotonic() + 30
    killed = False
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0] or not killed:
        if not killed and time.monotonic() >= deadline:
            process.kill()
            killed, deadline = True, time.monotonic() + 30
            continue
        chunk = os.read(reading.fileno(), 1 << 16)
        if not chunk:
            break
        if not reported:
            deadline = time.monotonic() + seconds
        reported += chunk
    process.join()
    exit_code = process.exitcode
    process.close()
    reading.close()
    assert exit_code == -9, "the writer ended by itself"
    acknowledged = {}
    for line in reported.decode().splitlines():
        revision, key, value = line.split()
        acknowledged[int(revision)] = (key, None if value == "-" else value.encode())
    return acknowledged


def content(event: Event) -> tuple[str, bytes | None]:
    return event.key, event.entry.value if event.entry is not None else None


async def test_two_hundred_crashes_lose_nothing_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(7)
    path = tmp_path / "state.db"
    history: dict[int, tuple[str, bytes | None]] = {}
    expected: dict[str, bytes | None] = {}
    seen = Revision(0)
    acknowledged_count = 0
    for number in range(ROUNDS):
        acknowledged = crash(path, number, rng.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
        acknowledged_count += len(acknowledged)
        store = await SqliteStore.open(path, HISTORY)
        try:
            assert store.revision >= max(acknowledged, default=0)
            async with store.watch("", after=seen) as batches:
                events = await anext(batches)
            assert [event.revision for event in events] == list(range(seen + 1, store.revision + 1))
            fresh = {event.revision: content(event) for event in events}
            assert {revision: fresh.get(revision) for revision in acknowledged} == acknowledged
            async with store.watch("", after=store.oldest) as batches:
                kept = {event.revision: content(event) for event in await anext(batches)}
            history |= fresh
            assert {revision: history[revision] for revision in kept} == kept
            present = {entry.key: entry.value for entry in (await store.list("")).entries}
            expected |= dict(fresh[revision] for revision in sorted(fresh))
            assert present == {key: value for key, value in expected.items() if value is not None}
            seen = store.revision
        finally:
            await store.close()
    assert acknowledged_count > ROUNDS
