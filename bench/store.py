"""Durable writes per second, by number of writers, against a bare SQLite loop on the same disk.

    python bench/store.py [--seconds 2] [--directory DIR]

Prints one JSON object. `baseline` commits single statements with the same settings and no store around it.
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

import uvloop

from homeport.store.contract import Revision
from homeport.store.log import LogStore
from homeport.store.memory import MemoryStore
from homeport.store.sqlite import SqliteStore

VALUE = b"x" * 1024


def baseline(path: Path, seconds: float) -> float:
    """Return commits per second of one statement each."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}").fetchall()
    database.execute("CREATE TABLE log (revision INTEGER PRIMARY KEY, key TEXT, value BLOB)")
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        database.execute("INSERT INTO log VALUES (NULL, ?, ?)", (f"/registry/pods/default/{count}", VALUE))
        count += 1
    database.close()
    return count / seconds


async def write(store: LogStore, writers: int, seconds: float) -> dict[str, float]:
    """Return puts per second and the median and 99th percentile latency in milliseconds."""
    end = time.perf_counter() + seconds
    latencies: list[float] = []

    async def writer(number: int) -> None:
        key, revision = f"/registry/pods/default/w{number}", Revision(0)
        while (begun := time.perf_counter()) < end:
            revision = (await store.put(key, VALUE, expect=revision)).revision
            latencies.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(writers)))
    elapsed = time.perf_counter() - begun
    latencies.sort()
    return {
        "puts_per_second": round(len(latencies) / elapsed),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 3),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 3),
    }


async def measure(directory: Path, seconds: float) -> dict[str, object]:
    result: dict[str, object] = {"baseline_commits_per_second": round(baseline(directory / "baseline.db", seconds))}
    for writers in (1, 64):
        memory = MemoryStore()
        result[f"memory_{writers}"] = await write(memory, writers, seconds)
        await memory.close()
        stored = await SqliteStore.open(directory / f"{writers}.db")
        result[f"sqlite_{writers}"] = await write(stored, writers, seconds)
        await stored.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--directory", help="on the disk to measure; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        print(json.dumps(uvloop.run(measure(Path(directory), options.seconds)), indent=2))


if __name__ == "__main__":
    main()
