"""Durable writes per second, by number of writers, against a bare SQLite loop on the same disk.

    python -m bench.store [--seconds 2] [--rounds 3] [--directory DIR]

`baseline` commits single statements with the same settings and no store around it. Rounds interleave, so that a
neighbour's noise falls on all of them; the figures are medians.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import uvloop

from bench.report import median, write
from homeport.store.contract import Revision
from homeport.store.log import LogStore
from homeport.store.memory import MemoryStore
from homeport.store.sqlite import SqliteStore

VALUE = b"x" * 1024
WRITERS = (1, 64)


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


async def measure(store: LogStore, writers: int, seconds: float) -> Mapping[str, float]:
    """Return puts per second, and their median and 99th percentile latency in milliseconds."""
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
    await store.close()
    latencies.sort()
    return {
        "puts_per_second": len(latencies) / elapsed,
        "median_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


async def one_round(directory: Path, seconds: float) -> Mapping[str, Mapping[str, float]]:
    found = {"baseline": {"commits_per_second": baseline(directory / "baseline.db", seconds)}}
    for writers in WRITERS:
        found[f"memory, writers: {writers}"] = dict(await measure(MemoryStore(), writers, seconds))
        store = await SqliteStore.open(directory / f"{writers}.db")
        found[f"sqlite, writers: {writers}"] = dict(await measure(store, writers, seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="on the disk to measure; a temporary one by default")
    options = parser.parse_args()
    rounds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            for side, figures in uvloop.run(one_round(Path(directory), options.seconds)).items():
                for name, figure in figures.items():
                    rounds[side][name].append(figure)
    medians = {side: {name: median(all_) for name, all_ in figures.items()} for side, figures in rounds.items()}
    write("store", {"value_bytes": len(VALUE), "rounds": options.rounds, **medians})


if __name__ == "__main__":
    main()
