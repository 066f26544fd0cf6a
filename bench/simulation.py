"""The simulated cluster: making one, going back to a snapshot, and pods per second of large Parallel sets.

    python -m bench.simulation [--replicas 5000] [--sets 100 1000] [--rounds 20]

Times are of the processor; what is simulated runs as fast as it can. `reset` returns to a snapshot of three ready pods
with claims, and includes ending what was there; `reset and begun` also lets happen what components that begin anew do
first, which otherwise comes with the next call. `fork` makes a second world and ends it. `baseline` is a bare asyncio
loop that is made and closed. Pods per second are medians of three runs; 50,000 pods are made once.
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import median, write
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.machine import MOST_PODS

MANIFEST = Path(__file__).parent.parent / "tests" / "testing" / "manifests" / "statefulset.yaml"
MOST_REPEATED = 10_000
"""Runs of more pods are made once."""


def timed(action: Any) -> float:
    """Return how much processor time a call takes, in milliseconds: nothing here waits for anything else."""
    began = time.process_time()
    action()
    return (time.process_time() - began) * 1000


def create(rounds: int) -> float:
    """Return milliseconds until a new cluster answers, with two nodes ready."""
    taken = []
    for _ in range(rounds):
        cluster = SimulatedCluster()
        taken.append(timed(lambda made=cluster: made.wait("node/node-2", until=lambda node: True)))
        cluster.close()
    return median(taken)


def going_back(cluster: SimulatedCluster, rounds: int) -> dict[str, float]:
    """Return milliseconds of a snapshot, of the way back to it, and of a fork."""

    def begin() -> None:
        cluster.restore(saved)
        cluster.advance(seconds=0.001)

    def fork() -> None:
        with cluster.fork() as other:
            assert other.simulation

    saved = cluster.snapshot()
    taken = {
        "snapshot_milliseconds": [timed(cluster.snapshot) for _ in range(rounds)],
        "reset_milliseconds": [timed(lambda: cluster.restore(saved)) for _ in range(rounds)],
        "reset_and_begun_milliseconds": [timed(begin) for _ in range(rounds)],
        "fork_milliseconds": [timed(fork) for _ in range(rounds)],
    }
    return {name: median(values) for name, values in taken.items()}


def small(rounds: int) -> dict[str, float]:
    """Return what going back takes with three pods and their claims."""
    with SimulatedCluster() as cluster:
        cluster.apply(MANIFEST)
        cluster.wait("statefulset/db")
        cluster.settle()
        return going_back(cluster, rounds)


def large(replicas: int, rounds: int) -> dict[str, float]:
    """Return what going back takes with many pods."""
    with SimulatedCluster() as cluster:
        cluster.apply(a_set("many", replicas))
        cluster.wait("statefulset/many", ready=replicas, timeout=36_000)
        cluster.settle()
        return going_back(cluster, rounds)


def bare_loop() -> None:
    """Make, run and close a loop, as every cluster must."""
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))


def a_set(name: str, replicas: int) -> dict[str, Any]:
    """Return the manifest of a Parallel set without claims."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "app:1"}]},
    }
    spec = {
        "serviceName": name,
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": name}},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}


def a_service(name: str) -> dict[str, Any]:
    """Return the manifest of a set's headless Service."""
    spec = {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def many(replicas: int, sets: int = 1, *, services: bool = False) -> tuple[float, float]:
    """Return pods per second, from the sets' creation to all of them ready: of time, and of processor time."""
    cluster = SimulatedCluster(nodes=max(2, -(-replicas * sets // (MOST_PODS - 1000))))
    cluster.advance(seconds=1)
    gc.collect()  # the world before this one is not this one's to find
    began, used = time.perf_counter(), time.process_time()
    for number in range(sets):
        if services:
            cluster.apply(a_service(f"many-{number}"))
        cluster.apply(a_set(f"many-{number}", replicas))
    for number in range(sets):
        cluster.wait(f"statefulset/many-{number}", ready=replicas, timeout=36_000)
    taken, spent = time.perf_counter() - began, time.process_time() - used
    cluster.close()
    return replicas * sets / taken, replicas * sets / spent


def rates(measured: tuple[float, float]) -> dict[str, float]:
    """Return pods per second by clock and by processor time: on a busy machine the first says little."""
    return {"pods_per_second": round(measured[0], 1), "pods_per_second_of_processor_time": round(measured[1], 1)}


def bulk(replicas: int, sets: Sequence[int]) -> dict[str, dict[str, float]]:
    """Return pods per second of one large set, and of many sets of 50 with and without a Service for each."""

    def measured(replicas: int, sets: int = 1, *, services: bool = False) -> dict[str, float]:
        runs = [many(replicas, sets, services=services) for _ in range(1 if replicas * sets > MOST_REPEATED else 3)]
        return rates((median([wall for wall, _ in runs]), median([used for _, used in runs])))

    found = {f"one set of {replicas:,}": measured(replicas)}
    for number in sets:
        found[f"{number:,} sets of 50"] = measured(50, number)
        if number * 50 <= MOST_REPEATED:
            found[f"{number:,} sets of 50, a Service for each"] = measured(50, number, services=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=5000)
    parser.add_argument("--sets", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    baseline = {"loop_milliseconds": median([timed(bare_loop) for _ in range(arguments.rounds)])}
    figures = {"create_milliseconds": create(arguments.rounds), **small(arguments.rounds)}
    crowds = {f"a world of {pods:,} pods": large(pods, 5) for pods in (100, 1000)}
    write(
        "simulation",
        {
            "simulation": {name: round(value, 2) for name, value in figures.items()},
            **crowds,
            **bulk(arguments.replicas, arguments.sets),
            "bare loop": {name: round(value, 2) for name, value in baseline.items()},
        },
    )


if __name__ == "__main__":
    main()
