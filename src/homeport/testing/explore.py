"""Play many random histories, and tell those that break a promise as short as they can be told.

python -m homeport.testing.explore --seeds 1000 --jobs 2
python -m homeport.testing.explore --first 4711 --seeds 1      # one of them again
python -m homeport.testing.explore --replay history.yaml       # one from a file
python -m homeport.testing.explore --seeds 1000000 --resume nightly.json
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TextIO

from homeport.testing.histories import LENGTH, make_history, parse_history
from homeport.testing.shrinking import Failure, shrink, trial

__all__ = ["Failure", "explore", "main", "shrink", "trial"]

CHUNK: Final = 10
"""How many histories a process plays before it says so."""


@dataclass(slots=True)
class Progress:
    """How far an exploration has come. Kept in a file, it goes on where it was ended."""

    done: int = 0
    failed: list[int] = field(default_factory=list)

    @staticmethod
    def load(path: Path | None) -> "Progress":
        """Return what a file says; a beginning when there is none. Raises ValueError."""
        if path is None or not path.exists():
            return Progress()
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Progress(int(tree["done"]), [int(seed) for seed in tree["failed"]])

    def save(self, path: Path | None) -> None:
        if path is not None:
            path.write_text(json.dumps({"done": self.done, "failed": self.failed}) + "\n", encoding="utf-8")


def _play(seeds: Sequence[int], length: int) -> list[Failure]:
    """Play some seeds in a process of a pool."""
    logging.disable(logging.CRITICAL)
    return [failure for seed in seeds if (failure := trial(make_history(seed, length))) is not None]


def explore(first: int, count: int, length: int = LENGTH, jobs: int = 1) -> Iterator[tuple[int, list[Failure]]]:
    """Play the histories of consecutive seeds; yields how many more are done, and those that failed, in order."""
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            yield len(chunk), _play(chunk, length)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
        window = [pool.submit(_play, chunk, length) for chunk in chunks[: 4 * jobs]]
        for number, chunk in enumerate(chunks):
            found = window.pop(0).result()
            if (upcoming := number + 4 * jobs) < len(chunks):
                window.append(pool.submit(_play, chunks[upcoming], length))
            yield len(chunk), found


def _report(failure: Failure, number: int, save: Path | None, out: TextIO) -> None:
    seed = failure.history.seed
    shortest = shrink(failure)
    print(f"\n{shortest}\n", file=out)
    print(f"again: python -m homeport.testing.explore --first {seed} --seeds 1 --steps {number}", file=out)
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
        path = save / f"seed-{seed}.yaml"
        path.write_text(f"{shortest.history}\n", encoding="utf-8")
        print(f"the short one: python -m homeport.testing.explore --replay {path}", file=out)
    out.flush()


def _replay(path: Path) -> int:
    failure = trial(parse_history(path.read_text(encoding="utf-8")))
    print(failure if failure is not None else f"{path} keeps every promise")
    return 1 if failure is not None else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0 all promises kept, 1 not all, 2 for a bad file."""
    parser = argparse.ArgumentParser(
        prog="python -m homeport.testing.explore", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("HOMEPORT_SEEDS", "100")), help="how many")
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--steps", type=int, default=LENGTH, help="how many steps each has")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many processes play")
    parser.add_argument("--resume", type=Path, help="file that keeps how far it came; an ended run goes on from there")
    parser.add_argument("--save", type=Path, help="directory for the short forms of histories that failed")
    parser.add_argument("--replay", type=Path, help="play the history of a file, and nothing else")
    arguments = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    try:
        if arguments.replay is not None:
            return _replay(arguments.replay)
        progress = Progress.load(arguments.resume)
    except (OSError, ValueError) as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2
    return _explore(arguments, progress)


def _explore(arguments: argparse.Namespace, progress: Progress) -> int:
    began, before = time.perf_counter(), progress.done
    first, count = arguments.first + before, max(0, arguments.seeds - before)
    for played, failures in explore(first, count, arguments.steps, arguments.jobs):
        for failure in failures:
            _report(failure, arguments.steps, arguments.save, sys.stdout)
            progress.failed.append(failure.history.seed)
        progress.done += played
        progress.save(arguments.resume)
        rate = (progress.done - before) / (time.perf_counter() - began)
        line = f"{progress.done} of {arguments.seeds} histories, {len(progress.failed)} failed, {rate:.1f} a second"
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - began
    print(file=sys.stderr)
    print(f"{progress.done} histories, {len(progress.failed)} failed, {seconds:.1f} s")
    if progress.failed:
        print(f"seeds that failed: {' '.join(map(str, progress.failed))}")
    return 1 if progress.failed else 0


if __name__ == "__main__":
    sys.exit(main())
