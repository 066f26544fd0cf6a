"""How fast real pods start: a Parallel StatefulSet from its creation to all Ready, beside bare container starts.

    python -m bench.pods [--rounds 5] [--pods 100]

Turn by turn in every round, bare starts before the pods and again after them, so that whatever else the machine does
hits all alike; ratios are taken within a round, and their medians are given. `load_average` is the machine's, before
and after. Where others are busy, a pod waits for its turn in four processes, a bare start in one; `processor seconds of
pods` depend less on it.

- `smallest`: `crun run` of the smallest bundle (`crun spec`, busybox `true`), one after the other.
- `same, one by one`: `crun run --detach` of the very bundle a pod's container has (same root, mounts, capabilities) in
  new network, IPC and UTS namespaces. No overlay mounted, no address, no volumes, no log, nothing kept.
- `same, two at a time`: the same from two callers, since the machine has two cores.
- `pods`: what a user waits for, with the API, claims to identity, addresses, Services, DNS and status in it.
"""

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from bench.cluster import SET, bare_containers, cpu_seconds, homeport
from bench.report import median, write
from homeport.api.resources import Resource, find
from homeport.client.contract import Client
from homeport.client.http import HttpTransport
from homeport.client.rest import RestClient
from homeport.client.settings import unix_settings
from homeport.node.namespaces import enter, find_holder
from homeport.node.runtime.state import Directories, Records

PODS, SERVICES, SETS = find("Pod"), find("Service"), find("StatefulSet", "apps")
SINGLE = 10
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def until(client: Client, wanted: Callable[[dict[str, bool]], bool], act: Callable[[], Awaitable[Any]]) -> float:
    """Do something and return the seconds until the pods (by name: whether Ready) are as wanted."""
    listing = await client.list(PODS, "default")
    seen = {pod["metadata"]["name"]: is_ready(pod) for pod in listing.items}
    async with client.watch(PODS, "default", resource_version=listing.resource_version) as events:
        began = time.perf_counter()
        await act()
        async with aclosing(events):
            async for event in events:
                if event.kind == "BOOKMARK":
                    continue
                name = event.object["metadata"]["name"]
                if event.kind == "DELETED":
                    seen.pop(name, None)
                else:
                    seen[name] = is_ready(event.object)
                if wanted(seen):
                    break
    return time.perf_counter() - began


def documents(replicas: int) -> tuple[dict[str, Any], dict[str, Any]]:
    whole, service = (msgspec.yaml.decode(text) for text in SET.format(replicas=replicas).split("---"))
    return whole, service


def single(name: str) -> dict[str, Any]:
    template = documents(1)[0]["spec"]["template"]["spec"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": template}


class Cluster:
    """A running cluster of ours, asked over its socket."""

    def __init__(self, state: str) -> None:
        seen = json.loads(homeport(state, "status", "-o", "json").stdout)
        self.data = Path(seen["data"])
        self.pids = [one["pid"] for one in seen["processes"]]
        self.transport = HttpTransport(unix_settings(f"{self.data}/run/api.sock"))
        self.client = RestClient(self.transport, "bench")

    async def create(self, resource: Resource, tree: dict[str, Any]) -> None:
        tree["metadata"].setdefault("namespace", "default")
        await self.client.create(resource, tree)

    async def start_set(self, pods: int) -> float:
        """Create the set; return the seconds until all its pods are Ready."""
        whole, service = documents(pods)

        async def act() -> None:
            await self.create(SERVICES, service)
            await self.create(SETS, whole)

        return await until(self.client, lambda seen: _of_set(seen).count(True) == pods, act)

    async def remove_set(self) -> float:
        """Delete the set; return the seconds until nothing of its pods is left on the machine."""

        async def act() -> None:
            await self.client.delete(SETS, "default", "many")
            await self.client.delete(SERVICES, "default", "many")

        began = time.perf_counter()
        await until(self.client, lambda seen: not _of_set(seen), act)
        while any(Records(self.data / "run").sandboxes()):  # noqa: ASYNC110 - another process's records
            await asyncio.sleep(0.01)  # the API has forgotten pods without grace before their processes have ended
        return time.perf_counter() - began

    async def start_one(self, name: str) -> float:
        return await until(self.client, lambda seen: seen.get(name, False), lambda: self.create(PODS, single(name)))

    async def remove_one(self, name: str) -> None:
        delete = self.client.delete
        await until(self.client, lambda seen: name not in seen, lambda: delete(PODS, "default", name))

    def cpu(self) -> float:
        """Return the processor seconds the engine has used, with all its children that have ended."""
        ended = 0.0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ended += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        return cpu_seconds(self.pids) + ended


def _of_set(seen: Mapping[str, bool]) -> list[bool]:
    return [ready for name, ready in seen.items() if name.startswith("many-")]


class Bare:
    """Starts of a pod's own bundle by the bare runtime. Lives in a process inside the cluster's namespaces."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder = folder
        models = (one.id for one in Records(data / "run").containers() if one.labels["pod-name"] == "model")
        bundle = Directories(data / "run").bundle(next(models))
        config = json.loads((bundle / "config.json").read_text())
        for namespace in config["linux"]["namespaces"]:
            namespace.pop("path", None)
        (folder / "config.json").write_text(json.dumps(config))

    def command(self, *words: str) -> list[str]:
        return ["/usr/bin/crun", "--root", str(self.folder / "state"), "--cgroup-manager=disabled", *words]

    def start(self, name: str) -> None:
        null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)]
        argv = self.command("run", "--detach", "--bundle", str(self.folder), name)
        _, status = os.waitpid(os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=null), 0)
        if status:
            raise RuntimeError(f"crun run: status {status}")

    def timed(self, count: int, callers: int) -> float:
        """Return the seconds until so many have been started by so many callers."""
        names = [f"bare-{number}" for number in range(count)]
        began = time.perf_counter()
        if callers == 1:
            for name in names:
                self.start(name)
        else:
            with ThreadPoolExecutor(callers) as pool:
                list(pool.map(self.start, names))
        took = time.perf_counter() - began
        for name in names:
            subprocess.run(self.command("delete", "--force", name), check=True)
        return took


def bare_same(data: Path, counts: Sequence[tuple[int, int]]) -> list[float]:
    """Run `Bare.timed` for every (count, callers), in a process of its own that enters the cluster's namespaces."""
    holder = find_holder(data / "run")
    assert holder is not None
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            enter(holder)
            with tempfile.TemporaryDirectory() as folder, open(writer, "w") as out:
                bare = Bare(data, Path(folder))
                json.dump([bare.timed(*each) for each in counts], out)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)  # what the parent does at its end is not ours to do
    os.close(writer)
    with open(reader) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return [float(value) for value in json.loads(text)]


async def bare_now(cluster: Cluster, pods: int) -> list[float]:
    """Return the seconds bare starts take: so many one by one, two at a time, and a single one."""
    await cluster.start_one("model")
    seconds = bare_same(cluster.data, [(pods, 1), (pods, 2), (1, 1)])
    await cluster.remove_one("model")
    return seconds


async def one_round(cluster: Cluster, pods: int, figures: dict[str, list[float]]) -> None:
    def note(name: str, seconds: float) -> None:
        figures.setdefault(name, []).append(seconds)

    note("smallest, one by one", bare_containers(pods))
    earlier = await bare_now(cluster, pods)
    before = cluster.cpu()
    note("pods", await cluster.start_set(pods))
    await asyncio.sleep(0.5)  # events are still being sent: they are part of the price
    note("processor seconds of pods", cluster.cpu() - before)
    note("pods deleted", await cluster.remove_set())
    names = ("same, one by one", "same, two at a time", "same, a single one")
    for name, once, again in zip(names, earlier, await bare_now(cluster, pods), strict=True):
        note(name, (once + again) / 2)
    for number in range(SINGLE):
        note("a single pod", await cluster.start_one(f"one-{number}"))
        await cluster.remove_one(f"one-{number}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pods", type=int, default=100)
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    load = os.getloadavg()[0]

    async def rounds() -> None:
        cluster = Cluster(state)
        for _ in range(arguments.rounds):
            await one_round(cluster, arguments.pods, figures)
        await cluster.start_set(arguments.pods)
        await cluster.transport.close()

    with tempfile.TemporaryDirectory() as state:
        try:
            homeport(state, "up")
            asyncio.run(rounds())
            began = time.perf_counter()
            homeport(state, "down")
            figures["homeport down"] = [time.perf_counter() - began]
        finally:
            homeport(state, "down", "--purge")

    def ratio(over: str, under: str) -> float:
        return median([a / b for a, b in zip(figures[over], figures[under], strict=True)])

    write(
        "pods",
        {
            "load_average": [round(load, 1), round(os.getloadavg()[0], 1)],
            "pods": arguments.pods,
            "seconds": {name: median(values) for name, values in figures.items()},
            "pods_per_second": round(arguments.pods / median(figures["pods"]), 1),
            "pods_to_bare": {
                name: ratio("pods", name)
                for name in ("smallest, one by one", "same, one by one", "same, two at a time")
            },
            "rounds": figures,
        },
    )


if __name__ == "__main__":
    main()
