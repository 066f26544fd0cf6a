"""A world that went back to a snapshot is a world made from it: whatever it did before, it goes on the same way."""

import asyncio
import gc
from collections import Counter
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from homeport.errors import ApiError
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.files import File, Tree
from homeport.testing.histories import History, make_history
from homeport.testing.snapshot import Snapshot, relocated
from homeport.testing.steps import Player

MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"
RESETS = 60


def play(cluster: SimulatedCluster, history: History, latency: float = 0.0) -> None:
    """Create a history's workloads, and perform its steps upon them."""
    simulation = cluster.simulation

    async def perform() -> None:
        simulation.faults.latency_seconds = latency
        player = Player(simulation, history.world)
        for workload in history.world:
            with suppress(ApiError, OSError):  # nobody may answer
                await player.create(workload)
        for step in history.steps:
            await asyncio.sleep(step.wait)
            await player.perform(step)

    cluster.run(perform())


def without_tokens(tree: Tree) -> dict[str, object]:
    """Return a tree with the lengths of tokens alone: no signature is like another."""
    return {
        path: len(entry.content) if isinstance(entry, File) and path.endswith("/token") else entry
        for path, entry in tree.items()
    }


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """Return all a world is, but where its files lie."""
    here = relocated(snapshot, Path("/here"))
    state = {field.name: getattr(here, field.name) for field in fields(here)}
    del state["states"]  # follows from the store
    broken = [{name: str(error) for name, error in machine.broken_images.items()} for machine in here.machines]
    machines = [replace(machine, broken_images={}) for machine in here.machines]
    return {**state, "machines": machines, "broken": broken, "files": without_tokens(here.files)}


@pytest.mark.parametrize("seed", range(12))
def test_what_went_before_a_reset_is_forgotten(seed: int) -> None:
    """Prepare a world by a history and save it. Then play another history there and in a world made anew."""
    prepared, before, after = (make_history(1000 * place + seed, length=6) for place in (1, 2, 3))
    latency = 0.02 if seed % 3 == 2 else 0.0
    with SimulatedCluster(seed=seed, nodes=2) as used:
        play(used, prepared)
        saved = used.snapshot()
        play(used, before, latency)
        used.restore(saved)
        play(used, after, latency)
        with SimulatedCluster(seed=99, nodes=1, start=saved) as fresh:
            play(fresh, after, latency)
            assert used.story() == fresh.story()
            assert used.history() == fresh.history()
            assert shown(used.snapshot()) == shown(fresh.snapshot())


def test_a_snapshot_taken_right_after_a_reset_is_the_same_again(db: SimulatedCluster) -> None:
    saved = db.snapshot()
    db.delete("sts/db")
    db.advance(minutes=1)
    db.restore(saved)
    first = shown(db.snapshot())
    db.restore(saved)
    assert shown(db.snapshot()) == first
    assert without_tokens(db.snapshot().files) == without_tokens(saved.files)


def test_nothing_is_left_of_worlds_that_are_no_more(db: SimulatedCluster) -> None:
    saved = db.snapshot()

    def use(times: int) -> Counter[str]:
        for _ in range(times):
            db.restore(saved)
            db.pods["db-0"].crash()
            db.advance(seconds=0.001)
        gc.collect()
        return Counter(type(one).__qualname__ for one in gc.get_objects())

    use(3)
    before = use(1)
    after = use(RESETS)
    more = {name: count - before[name] for name, count in after.items() if count - before[name] > RESETS // 10}
    assert more == {}
    assert after["Task"] == before["Task"]
