"""The simulated cluster: making one, going back to a snapshot, and pods per second of a large Parallel set.

    python -m bench.simulation [--replicas 5000] [--rounds 20]

Times are real; everything simulated runs as fast as it can. `reset` returns to a snapshot of three ready pods with
claims, and includes ending what was there; `baseline` is a bare asyncio loop that is made and closed.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from bench.report import median, write
from homeport.testing.cluster import SimulatedCluster

MANIFEST = Path(__file__).parent.parent / "tests" / "testing" / "manifests" / "statefulset.yaml"


def timed(action: Any) -> float:
    """Return how long a call takes, in milliseconds."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def create(rounds: int) -> float:
    """Return milliseconds until a new cluster answers, with two nodes ready."""
    taken = []
    for _ in range(rounds):
        cluster = SimulatedCluster()
        taken.append(timed(lambda made=cluster: made.wait("node/node-2", until=lambda node: True)))
        cluster.close()
    return median(taken)


def reset(rounds: int) -> tuple[float, float]:
    """Return milliseconds of a snapshot and of the way back to it."""
    cluster = SimulatedCluster()
    cluster.apply(MANIFEST)
    cluster.wait("statefulset/db")
    cluster.settle()
    snapshots = [timed(cluster.snapshot) for _ in range(rounds)]
    saved = cluster.snapshot()
    resets = [timed(lambda: cluster.restore(saved)) for _ in range(rounds)]
    cluster.close()
    return median(snapshots), median(resets)


def bare_loop() -> None:
    """Make, run and close a loop, as every cluster must."""
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))


def many(replicas: int) -> float:
    """Return pods per second, from the set's creation to all of them ready."""
    cluster = SimulatedCluster()
    template = {
        "metadata": {"labels": {"app": "many"}},
        "spec": {"containers": [{"name": "main", "image": "app:1"}]},
    }
    spec = {
        "serviceName": "many",
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "many"}},
        "template": template,
    }
    tree = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "many"}, "spec": spec}
    cluster.advance(seconds=1)
    began = time.perf_counter()
    cluster.apply(tree)
    cluster.wait("statefulset/many", ready=replicas, timeout=36_000)
    taken = time.perf_counter() - began
    cluster.close()
    return replicas / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    snapshot, back = reset(arguments.rounds)
    figures = {
        "create_milliseconds": create(arguments.rounds),
        "snapshot_milliseconds": snapshot,
        "reset_milliseconds": back,
        "pods_per_second": many(arguments.replicas),
    }
    baseline = {"loop_milliseconds": median([timed(bare_loop) for _ in range(arguments.rounds)])}
    write(
        "simulation",
        {
            "simulation": {name: round(value, 2) for name, value in figures.items()},
            "bare loop": {name: round(value, 2) for name, value in baseline.items()},
        },
    )


if __name__ == "__main__":
    main()
