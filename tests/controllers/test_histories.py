"""Random histories under a server that fails now and then: at rest, everything agrees with everything."""

import asyncio
import random
from pathlib import Path

import pytest

from homeport.api.exchange import Handler, Request, Response
from homeport.api.resources import find
from homeport.client.contract import Client
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.controllers.roster import Controller, Settings, controllers
from homeport.controllers.volumes.directories import LocalDirectories
from homeport.controllers.volumes.provisioner import class_body
from homeport.errors import ApiError, ServiceUnavailable
from homeport.scheduler import Scheduler
from homeport.testing.world import ADMIN, World
from tests.controllers.cluster import Cluster

pytestmark = pytest.mark.virtual

CLAIMS, PODS, VOLUMES, NODES = find("PersistentVolumeClaim"), find("Pod"), find("PersistentVolume"), find("Node")
DEEDS = ("pod", "pod", "pod with claim", "delete pod", "delete claim", "service", "delete service", "label")
REFUSAL = b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503}'


def flaky(handler: Handler, rng: random.Random, rate: list[float]) -> Handler:
    """Refuse requests or lose their answers; a write whose answer is lost has happened all the same."""

    async def handle(request: Request) -> Response:
        dice = rng.random()
        if dice < rate[0] / 2:
            return Response(ServiceUnavailable.code, [("content-type", "application/json")], REFUSAL)
        response = await handler(request)
        if dice < rate[0] and response.stream is None:
            raise ConnectionResetError("the answer was lost")
        return response

    return handle


class FlakyWorld(World):
    """A world whose controllers talk to the server over a bad line and may be killed at any time."""

    def __init__(self, *, seed: int, directories: Path) -> None:
        self.rate = [0.0]
        self._directories = directories
        self._alive: list[asyncio.Task[None]] = []
        super().__init__(seed=seed, roster=lambda *_: ())

    def client(self, user_agent: str) -> RestClient:
        made = super().client(user_agent)
        if user_agent not in ("world", "test", "kubelet"):
            made.transport = InProcessTransport(flaky(self.server.handle, random.Random(user_agent), self.rate), ADMIN)
        return made

    async def restart(self) -> None:
        """Kill every controller and the scheduler where they stand; others, who know nothing, take their place."""
        for task in self._alive:
            task.cancel()
        await asyncio.gather(*self._alive, return_exceptions=True)
        informers = InformerFactory(self.client("controllers"), self.rng)
        settings = Settings("ca\n", LocalDirectories(self._directories), watch_nodes=False)
        runners: list[Controller] = [informers, *controllers(self.client, self.clock, informers, settings)]
        runners.append(Scheduler(self.client("default-scheduler"), self.clock, informers, self.rng))
        self._alive = [self.start(runner) for runner in runners]


async def disturb(world: Cluster, rng: random.Random, number: int) -> None:
    """Do one thing a user may do; what is refused is refused."""
    client: Client = world.client
    pods = await world.items("Pod")
    claims = await world.items("PersistentVolumeClaim")
    match rng.choice(
        ["pod", "pod", "pod with claim", "delete pod", "delete claim", "service", "delete service", "label"]
    ):
        case "pod":
            await world.pod(f"p{number}", labels={"app": rng.choice("ab")})
        case "pod with claim":
            body = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"c{number}"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
            await world.create(body)
            volume = {"name": "v", "persistentVolumeClaim": {"claimName": f"c{number}"}}
            await world.pod(f"p{number}", labels={"app": rng.choice("ab")}, volumes=[volume])
        case "delete pod" if pods:
            await client.delete(PODS, "default", rng.choice(pods)["metadata"]["name"])
        case "delete claim" if claims:
            await client.delete(CLAIMS, "default", rng.choice(claims)["metadata"]["name"])
        case "service":
            spec = {"selector": {"app": rng.choice("ab")}, "ports": [{"port": 80}]}
            body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": rng.choice("xyz")}, "spec": spec}
            await world.create(body)
        case "delete service":
            await world.delete("Service", rng.choice("xyz"))
        case "label" if pods:
            patch = {"metadata": {"labels": {"app": rng.choice("abc")}}}
            await client.patch(PODS, "default", rng.choice(pods)["metadata"]["name"], patch)


async def check(world: Cluster, directories: Path) -> None:
    pods = await world.items("Pod")
    claims = {c["metadata"]["name"]: c for c in await world.items("PersistentVolumeClaim")}
    volumes = {v["metadata"]["name"]: v for v in await world.items("PersistentVolume", namespace=None)}
    for pod in pods:
        mounted = [
            v["persistentVolumeClaim"]["claimName"] for v in pod["spec"].get("volumes") or () if v["name"] == "v"
        ]
        if all(name in claims and "deletionTimestamp" not in claims[name]["metadata"] for name in mounted):
            assert pod["spec"].get("nodeName"), f"{pod['metadata']['name']} has no node"
    services = [s for s in await world.items("Service") if s["spec"].get("selector")]
    for service in services:
        label = service["spec"]["selector"]["app"]
        expected = sorted(
            p["metadata"]["name"]
            for p in pods
            if (p["metadata"].get("labels") or {}).get("app") == label and (p.get("status") or {}).get("podIP")
        )
        slices = await world.slices(service["metadata"]["name"])
        shown = [e["targetRef"]["name"] for s in slices for e in s.get("endpoints") or ()]
        assert sorted(shown) == expected
        endpoints = await world.get("Endpoints", service["metadata"]["name"])
        listed = [a["targetRef"]["name"] for s in endpoints.get("subsets") or () for a in s.get("addresses") or ()]
        assert sorted(listed) == expected
        assert all(s["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"] for s in slices)
    managed = [
        s for s in await world.items("EndpointSlice", "discovery.k8s.io") if s["metadata"].get("ownerReferences")
    ]
    assert {s["metadata"]["ownerReferences"][0]["name"] for s in managed} == {s["metadata"]["name"] for s in services}
    bound = {}
    for name, claim in claims.items():
        if claim["status"]["phase"] == "Bound":
            volume = volumes[claim["spec"]["volumeName"]]
            assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
            assert volume["status"]["phase"] == "Bound"
            bound[claim["spec"]["volumeName"]] = name
    assert set(bound) == set(volumes), "volumes of claims that are gone must be gone"
    on_disk = {p.name.split("_")[0] for p in directories.glob("pvc-*") if p.is_dir()}
    assert on_disk == set(volumes)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("restarts", [0.0, 0.2], ids=["", "killed"])
async def test_everything_comes_to_rest_in_agreement(seed: int, restarts: float, tmp_path: Path) -> None:
    rng = random.Random(seed)
    async with FlakyWorld(seed=seed, directories=tmp_path) as simulated:
        simulated.kubelet.set({"bind": False})
        world = Cluster(simulated.client("test"), simulated.clock)
        await world.create(class_body())
        for node in simulated.nodes:
            status = {"status": {"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "110"}}}
            labels = {"metadata": {"labels": {"kubernetes.io/hostname": node}}}
            await world.client.patch(NODES, None, node, labels)
            await world.client.patch(NODES, None, node, status, subresource="status")
        await simulated.restart()
        await simulated.pass_time(1.0)
        simulated.rate[0] = 0.1
        for number in range(60):
            if rng.random() < restarts:
                await simulated.restart()
            try:
                await disturb(world, rng, number)
            except ApiError:
                continue
            await asyncio.sleep(rng.choice([0.0, 0.0, 0.01, 0.3]))
        simulated.rate[0] = 0.0
        await simulated.pass_time(1500.0)
        await check(world, tmp_path)
