"""One process that holds a thousand nodes and up to 100,000 pods: memory, lists, watches, and what one more set costs.

    python -m bench.scale [--pods 100 1000 10000 100000] [--nodes 1000]

The pods are bound and ready, ten to a StatefulSet, on a store in memory. Measured, in a process of its own per size:

memory    resident kB per pod: in the server alone, and with one complete informer copy beside it
list      microseconds per pod of a complete list as JSON, the first and a repeated one, and of one decoded in process
watch     microseconds of processor time from one status patch until all who watch were told: three watches of all pods,
          with and without one more per node that asks for its own pods
new set   milliseconds of processor time until a new set of ten pods is created and bound, controllers and scheduler
          included, per pod: this is what has to stay flat as the number of other sets grows
"""

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench.report import write
from homeport.api.exchange import Request
from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.client.informer import Informer, InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.controllers.roster import Settings as ControllerSettings
from homeport.controllers.roster import controllers
from homeport.controllers.volumes.directories import LocalDirectories
from homeport.scheduler.controller import Scheduler
from homeport.server.app import Server
from homeport.server.settings import Settings
from homeport.store.contract import Revision
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock
from homeport.testing.simulation import ADMIN, run_simulated

PODS, NODES, SETS = find("Pod"), find("Node"), find("StatefulSet", "apps")
OF_A_SET = 10
PATCHES = 300
SETTLED_SECONDS = 25.0
"""Virtual seconds in which everything that is there has been looked at. Nodes are not thought silent yet, and the pod
collector's round over all pods, every 20 s, is over."""

NAMESPACE = "default"
encode = msgspec.json.Encoder().encode


def resident() -> float:
    """Return how many kB this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


def a_set(name: str, replicas: int = OF_A_SET) -> dict[str, Any]:
    """Return the manifest of a Parallel set."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    spec = {
        "serviceName": name,
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}


def a_node(number: int) -> dict[str, Any]:
    """Return a ready node with room for all."""
    name = f"node-{number}"
    room = {"cpu": "640", "memory": "2Ti", "pods": "20000"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
    status = {"capacity": room, "allocatable": room, "conditions": [ready]}
    labels = {"kubernetes.io/hostname": name}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


class World:
    """A server with its store, and a client of it."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.clock, self.rng = VirtualClock(), random.Random(1)
        self.store = MemoryStore()
        self.server = Server(self.store, self.clock, self.rng, Settings())
        self.client = RestClient(InProcessTransport(self.server.handle, ADMIN, shared=True), "bench")

    async def fill(self, pods: int) -> None:
        """Put nodes, sets and pods into the store: copies of what the server and the controllers make of one each."""
        for number in range(self.nodes):
            await self.client.create(NODES, a_node(number))
        models = await self._models()
        for first in range(0, pods // OF_A_SET, 100):
            entries = [entry for number in range(first, min(first + 100, pods // OF_A_SET))
                       for entry in self._copies(models, number)]  # fmt: skip
            await asyncio.gather(*(self.store.put(key, value, expect=Revision(0)) for key, value in entries))

    async def _models(self) -> dict[str, Any]:
        """Return a set, its revision and a ready pod, as they are once a controller is done with them."""
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            tasks = self.control(group)
            await self.client.create(SETS, a_set("model", 1), NAMESPACE)
            await asyncio.sleep(1)  # virtual, as above
            ready = [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                     for kind in ("Ready", "ContainersReady", "Initialized", "PodScheduled")]  # fmt: skip
            status = {
                "phase": "Running",
                "podIP": "10.244.0.2",
                "hostIP": "10.244.0.1",
                "startTime": "2026-01-01T00:00:00Z",
                "conditions": ready,
                "containerStatuses": [
                    {"name": "main", "ready": True, "started": True, "restartCount": 0, "image": "app:1",
                     "imageID": "sha256:" + "0" * 64, "containerID": "simulated://" + "1" * 64,
                     "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
                ],
            }  # fmt: skip
            patch = {"status": status}
            await self.client.patch(PODS, NAMESPACE, "model-0", patch, kind=PatchType.STRATEGIC, subresource="status")
            await asyncio.sleep(5)
            for task in tasks:
                task.cancel()
        found = {}
        for prefix in ("pods", "apps/statefulsets", "apps/controllerrevisions"):
            listing = await self.store.list(f"/registry/{prefix}/")
            found[prefix] = listing.entries[0].value.decode()
        return found

    def _copies(self, models: dict[str, str], number: int) -> Iterator[tuple[str, bytes]]:
        """Yield the keys and values of one more set of ten pods; uids follow from the number."""
        name = f"set-{number}"
        uid = {kind: json.loads(text)["metadata"]["uid"] for kind, text in models.items()}
        own = {kind: f"{number:08x}-{index:04x}-4000-8000-000000000000" for index, kind in enumerate(models)}

        def copied(kind: str, name_before: str, name_after: str) -> str:
            text = models[kind].replace(name_before, name_after) if name_before else models[kind]
            for each, before in uid.items():
                text = text.replace(before, own[each])
            return text.replace('"model"', f'"{name}"').replace('"model-', f'"{name}-')

        tree = json.loads(copied("apps/statefulsets", "", ""))
        tree["spec"]["replicas"] = OF_A_SET
        for field in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"):
            tree["status"][field] = OF_A_SET
        yield f"/registry/apps/statefulsets/{NAMESPACE}/{name}", encode(tree)
        revision = copied("apps/controllerrevisions", "", "")
        yield (
            f"/registry/apps/controllerrevisions/{NAMESPACE}/{json.loads(revision)['metadata']['name']}",
            (revision.encode()),
        )
        for ordinal in range(OF_A_SET):
            pod = json.loads(copied("pods", "model-0", f"{name}-{ordinal}"))
            pod["metadata"]["uid"] = f"{number:08x}-ffff-4000-8000-{ordinal:012x}"
            pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = str(ordinal)
            pod["spec"]["nodeName"] = f"node-{(number * OF_A_SET + ordinal) % self.nodes}"
            yield f"/registry/pods/{NAMESPACE}/{name}-{ordinal}", encode(pod)

    def control(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start controllers and scheduler, as the engine does."""
        informers = InformerFactory(self.client, self.rng)
        settings = ControllerSettings("ca\n", LocalDirectories(Path(tempfile.gettempdir())))
        roster = controllers(lambda name: self.client, self.clock, informers, settings)
        scheduler = Scheduler(self.client, self.clock, informers, self.rng)
        return [group.create_task(part.run()) for part in (informers, *roster, scheduler)]


async def measure(pods: int, nodes: int) -> dict[str, float]:
    """Return the figures of one size."""
    figures: dict[str, float] = {}
    world = World(nodes)
    async with world.server:
        empty = resident()
        await world.fill(pods)
        figures["memory_kB_per_pod"] = (resident() - empty) / pods
        figures |= await lists(world, pods)
        async with asyncio.TaskGroup() as group:
            informer = Informer(world.client, PODS, rng=world.rng)
            following = [group.create_task(informer.run())]
            await informer.synced.wait()
            figures["memory_kB_per_pod_with_a_copy"] = (resident() - empty) / pods
            for _ in range(2):
                more = Informer(world.client, PODS, rng=world.rng)
                following.append(group.create_task(more.run()))
                await more.synced.wait()
            figures["watch_microseconds"] = await changes(world)
            for number in range(nodes):
                own = Informer(world.client, PODS, rng=world.rng, field_selector=f"spec.nodeName=node-{number}")
                following.append(group.create_task(own.run()))
            await asyncio.sleep(1)
            figures["watch_microseconds_with_one_per_node"] = await changes(world)
            for task in following:
                task.cancel()
        figures["new_set_milliseconds_per_pod"] = await new_sets(world)
    return figures


async def lists(world: World, pods: int) -> dict[str, float]:
    request = Request("GET", "/api/v1/pods", user=ADMIN)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        await world.server.handle(request)
        taken.append(time.perf_counter() - began)
    began = time.perf_counter()
    await world.client.list(PODS)
    await world.client.list(PODS)  # the first decodes what nobody has looked at yet
    began, decoded = time.perf_counter(), await world.client.list(PODS)
    shared = time.perf_counter() - began
    assert len(decoded.items) >= pods // OF_A_SET * OF_A_SET
    per_pod = 1e6 / pods
    return {
        "list_microseconds_per_pod": taken[0] * per_pod,
        "list_again_microseconds_per_pod": taken[-1] * per_pod,
        "list_in_process_microseconds_per_pod": shared * per_pod,
    }


async def changes(world: World) -> float:
    """Return microseconds of processor time per status patch, everybody told."""
    began = time.process_time()
    for number in range(PATCHES):
        body = {"status": {"message": f"{number}.{world.rng.random()}"}}
        await world.client.patch(
            PODS, NAMESPACE, f"set-0-{number % OF_A_SET}", body, kind=PatchType.STRATEGIC, subresource="status"
        )
    await asyncio.sleep(0.1)
    return (time.process_time() - began) * 1e6 / PATCHES


async def new_sets(world: World, count: int = 5) -> float:
    """Return milliseconds of processor time per pod of a new set, until it is bound."""
    async with asyncio.TaskGroup() as group:
        tasks = world.control(group)
        await asyncio.sleep(SETTLED_SECONDS)
        began = time.process_time()
        for number in range(count):
            name = f"new-{number}"
            await world.client.create(SETS, a_set(name), NAMESPACE)
            await asyncio.sleep(0.2)  # virtual: it is all done when time moves
            for ordinal in range(OF_A_SET):
                pod = await world.client.get(PODS, NAMESPACE, f"{name}-{ordinal}")
                assert pod["spec"].get("nodeName"), pod["metadata"]["name"]
        taken = time.process_time() - began
        for task in tasks:
            task.cancel()
    return taken * 1000 / count / OF_A_SET


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--one", type=int, help="measure this number of pods alone, and print the figures")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_simulated(lambda: measure(options.one, options.nodes))))
        return
    by_size: dict[str, dict[str, float]] = {}
    for pods in options.pods:
        command = [sys.executable, "-m", "bench.scale", "--one", str(pods), "--nodes", str(options.nodes)]
        figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name, value in figures.items():
            by_size.setdefault(name, {})[f"{pods:,} pods"] = float(f"{value:.3g}")
    write("scale", {"nodes": {"count": options.nodes}, **by_size})


if __name__ == "__main__":
    main()
