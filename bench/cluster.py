"""A whole cluster: cold start, the seed manifests to Ready, memory and CPU at rest, pods per second, news to DNS.

    python -m bench.cluster [--rounds 3] [--pods 40] [--news 200] [--quick]

Baselines in the same run: bare `crun run` of the same program for pods per second. What a client inside learns of a
real pod's readiness, and when, is measured by `bench.news`.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import median, percentile, say, write

ROOT = Path(__file__).parents[1]
SEED = ROOT / "tests" / "seed"
IDLE_SECONDS = 5.0

SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: many}}
spec:
  serviceName: many
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: c, image: homeport.local/host, command: [sleep, infinity]}}
---
apiVersion: v1
kind: Service
metadata: {{name: many}}
spec: {{clusterIP: None, selector: {{app: many}}}}
"""


def homeport(state: str, *words: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "XDG_STATE_HOME": state}
    command = [sys.executable, "-m", "homeport", *words]
    return subprocess.run(command, env=environment, text=True, capture_output=True, check=True, input=stdin)


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


def started_in(done: "subprocess.CompletedProcess[str]") -> float:
    """Return the seconds `up` says the engine needed until its API was ready."""
    line = next(line for line in done.stderr.splitlines() if " started in " in line)
    return float(line.rsplit(" ", 2)[1])


def cpu_seconds(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def at_rest(state: str) -> dict[str, Any]:
    """Return memory per process in MB and CPU in percent of one core, with the seed running and nobody asking."""
    processes = json.loads(homeport(state, "status", "-o", "json").stdout)["processes"]
    pids = [one["pid"] for one in processes]
    before = cpu_seconds(pids)
    time.sleep(IDLE_SECONDS)  # what is measured is the passing of time
    used = cpu_seconds(pids) - before
    memory = {one["name"]: round(one["memoryBytes"] / 1e6, 1) for one in processes}
    return {
        "memory_mb": memory,
        "sum_mb": round(sum(memory.values()), 1),
        "cpu_percent": round(100 * used / IDLE_SECONDS, 2),
    }


def bare_containers(count: int) -> float:
    """Return the seconds `crun run` needs for so many busybox `true`, one after the other: the least there is."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "rootfs"
        root.mkdir()
        shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "busybox")
        subprocess.run(["crun", "spec"], cwd=folder, check=True, capture_output=True)
        config = json.loads((Path(folder) / "config.json").read_text())
        config["process"] |= {"args": ["/busybox", "true"], "terminal": False}
        config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev")]
        config["linux"].pop("resources", None)
        (Path(folder) / "config.json").write_text(json.dumps(config))
        hide = "umount -l /sys/fs/cgroup/unified 2>/dev/null"  # Debian's crun refuses hybrid cgroups it can see
        loop = f"for n in $(seq {count}); do crun --cgroup-manager=disabled run bench-$n || exit 1; done"
        began = time.perf_counter()
        subprocess.run(["unshare", "--mount", "sh", "-c", f"{hide}; {loop}"], cwd=folder, check=True)
        return time.perf_counter() - began


def news(state: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return how many milliseconds after a watcher a client inside knows of a real pod's readiness."""
    api = json.loads(homeport(state, "status", "-o", "json").stdout)["data"] + "/run/api.sock"
    said = homeport(state, "run", "--", sys.executable, "-m", "bench.news", api, str(rounds)).stdout
    return {
        name: {"median": median(late), "p99": percentile(late, 0.99), "max": percentile(late, 1.0)}
        for name, late in json.loads(said).items()
    }


async def replaced(state: str, rounds: int) -> list[float]:
    """Return milliseconds from the moment a watcher sees a new pod Ready to the moment DNS answers with it."""
    from homeport.api.resources import find
    from homeport.client.http import HttpTransport
    from homeport.client.rest import RestClient
    from homeport.client.settings import unix_settings
    from homeport.dns.name import from_text
    from homeport.dns.records import Question, RRType
    from homeport.dns.upstream import Resolver, Upstream

    seen = json.loads(homeport(state, "status", "-o", "json").stdout)
    transport = HttpTransport(unix_settings(f"{seen['data']}/run/api.sock"))
    client = RestClient(transport, "bench")
    resolver = Upstream([Resolver(seen["dns"]["host"], seen["dns"]["port"])], random.Random(1))
    question = Question(from_text("many-0.many.default.svc.cluster.local"), RRType.A)
    pods, latencies = find("Pod"), []
    for _ in range(rounds):
        listing = await client.list(pods, "default")
        old = (await client.get(pods, "default", "many-0"))["metadata"]["uid"]
        async with client.watch(pods, "default", resource_version=listing.resource_version) as events:
            await client.delete(pods, "default", "many-0", grace_seconds=0)
            async for event in events:
                conditions = event.object.get("status", {}).get("conditions") or ()
                ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
                metadata = event.object["metadata"]
                if metadata["name"] == "many-0" and metadata["uid"] != old and ready:
                    address = event.object["status"]["podIP"]
                    break
        began = time.perf_counter()
        while True:
            answer = await resolver.ask(question)
            if answer is not None and any(bytes(record.data[0]) == _packed(address) for record in answer.answer):
                break
        latencies.append((time.perf_counter() - began) * 1000)
    await transport.close()
    return latencies


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pods", type=int, default=40)
    parser.add_argument("--news", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="one round, few pods; nothing is written")
    arguments = parser.parse_args()
    rounds, pods, changes = arguments.rounds, arguments.pods, arguments.news
    if arguments.quick:
        rounds, pods, changes = 1, 5, 10
    cold: list[float] = []
    seed: list[float] = []
    many: list[float] = []
    rest: dict[str, Any] = {}
    latencies: list[float] = []
    heard: dict[str, dict[str, float]] = {}
    bare = median([bare_containers(pods) for _ in range(rounds)])
    say(f"{pods} bare containers: {bare} s")
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as state:
            try:
                with timed(seed):
                    cold.append(started_in(homeport(state, "up", "-f", str(SEED))))
                rest = rest or at_rest(state)
                homeport(state, "delete", "-f", str(SEED))
                with timed(many):
                    homeport(state, "up", "-f", "-", stdin=SET.format(replicas=pods))
                say(f"cold start {cold[-1]} s, seed {seed[-1]:.2f} s, {pods} pods {many[-1]:.2f} s")
                if number == 0:
                    latencies = asyncio.run(replaced(state, min(20, changes)))
                    heard = news(state, changes)
                    say(f"ready: {heard}")
            finally:
                homeport(state, "down", "--purge")
    pods_per_second = pods / median(many)
    write(
        "cluster",
        {
            "cold_start_to_ready_seconds": median(cold),
            "seed_to_all_ready_seconds": median(seed),
            "at_rest": rest,
            "pods_per_second": round(pods_per_second, 1),
            "bare_crun_per_second": round(pods / bare, 1),
            "pods_to_bare_ratio": round(pods_per_second / (pods / bare), 3),
            "milliseconds_from_readiness": heard,
            "new_pod_ready_to_dns_milliseconds": {"median": median(latencies), "max": round(max(latencies), 2)},
            "rounds": {"cold": cold, "seed": seed, "pods": many},
        },
        quick=arguments.quick,
    )


if __name__ == "__main__":
    main()
