"""Random lives of Deployments and StatefulSets on a real server: promises kept at every moment, rest in the end."""

import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_of
from homeport.client.contract import Object
from homeport.errors import NotFound
from homeport.testing.world import World
from tests.controllers.workloads import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    image_of,
    pods,
    template,
    workload,
    world,
)

pytestmark = pytest.mark.virtual


class Life:
    """One workload and what happens to it."""

    def __init__(self, cluster: World, rng: random.Random, resource: Any) -> None:
        self.cluster, self.rng, self.resource = cluster, rng, resource
        self.client = cluster.client("test")

    async def change(self, spec: Mapping[str, Any]) -> None:
        await self.client.patch(self.resource, "default", "web", {"spec": spec})

    async def disturb(self) -> None:
        match self.rng.randrange(9):
            case 0 | 1:
                await self.change({"template": template("web", self.rng.choice(["a", "b", "c", "broken"]))})
            case 2:
                await self.change({"replicas": self.rng.randrange(6)})
            case 3:
                await self._to_a_pod("delete")
            case 4:
                await self._to_a_pod("fail")
            case 5:
                await self._to_a_pod("unready")
            case 6:
                await self.cluster.restart()
            case 7:
                self.cluster.kubelet.set({"ready": self.rng.random() < 0.7})
            case 8 if self.resource is DEPLOYMENTS:
                await self.change({"paused": self.rng.random() < 0.5})
        await self.cluster.pass_time(self.rng.choice([0.0, 0.003, 0.05, 2.0]))

    async def _to_a_pod(self, what: str) -> None:
        names = sorted(await pods(self.cluster))
        if not names:
            return
        name = self.rng.choice(names)
        with suppress(NotFound):  # it went meanwhile
            if what == "delete":
                await self.client.delete(PODS, "default", name)
            else:
                phase = "Failed" if what == "fail" else "Running"
                await self.cluster.kubelet.report("default", name, phase)

    async def mend(self) -> None:
        """Ask for something that works, and let everything that waits be ready."""
        self.cluster.kubelet.set({"ready": True})
        good = {"template": template("web", "good"), "replicas": 3}
        await self.change(good | ({"paused": False} if self.resource is DEPLOYMENTS else {}))
        for _ in range(40):
            for name, pod in sorted((await pods(self.cluster)).items()):
                with suppress(NotFound):  # it went meanwhile
                    await self._help(name, pod)
            await self.cluster.pass_time(2)

    async def _help(self, name: str, pod: Object) -> None:
        if image_of(pod) != "broken":
            if not pod_rules.is_ready(pod):
                await self.cluster.kubelet.report("default", name, "Running", ready=True)
        elif self.resource is STATEFUL_SETS:  # a set does not get out of this by itself
            await self.client.delete(PODS, "default", name)


@pytest.mark.parametrize("seed", range(25))
async def test_a_deployment_never_has_too_many_pods_and_comes_to_rest(seed):
    rng = random.Random(seed)
    async with world(seed) as cluster:
        cluster.kubelet.set({"broken_images": frozenset({"broken"})})
        life = Life(cluster, rng, DEPLOYMENTS)
        surge = rng.choice([0, 1, 2])
        strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": rng.choice([1, 2])}}
        if rng.random() < 0.2:
            strategy = {"type": "Recreate"}
        images: set[str] = set()

        def watch_over(pod: Object) -> None:
            alive = [each for each in side.informer(PODS).list("default") if pod_rules.is_active(each)]
            assert len(alive) <= 5 + 5 + surge  # the largest size, and one more while it is scaled
            if strategy.get("type") == "Recreate":
                images.clear()
                images.update(image_of(each) for each in side.informer(PODS).list("default") if not gone(each))
                assert len(images) <= 1, "Recreate mixes no templates"

        side = cluster.watching()
        side.informer(PODS).on_change(watch_over)
        follower = cluster.start(side)
        await side.synced()
        await life.client.create(DEPLOYMENTS, workload("Deployment", "web", 3, strategy=strategy))
        for _ in range(25):
            await life.disturb()
        await life.mend()
        left = [pod for pod in (await pods(cluster)).values() if pod_rules.is_active(pod)]
        assert [image_of(pod) for pod in left] == ["good"] * 3
        status = (await life.client.get(DEPLOYMENTS, "default", "web"))["status"]
        assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (3, 3, 3)
        sets = (await life.client.list(REPLICA_SETS, "default")).items
        assert sorted(each["spec"]["replicas"] for each in sets)[-2:] in ([3], [0, 3])
        follower.cancel()


def gone(pod: Object) -> bool:
    return pod_rules.is_terminal(pod)


@pytest.mark.parametrize("seed", range(25))
async def test_a_set_has_one_pod_per_name_and_comes_to_rest(seed):
    rng = random.Random(seed)
    async with world(seed) as cluster:
        cluster.kubelet.set({"broken_images": frozenset({"broken"})})
        life = Life(cluster, rng, STATEFUL_SETS)
        policy = rng.choice(["OrderedReady", "Parallel"])
        alive: dict[str, str] = {}

        def added(pod: Object) -> None:
            name = pod["metadata"]["name"]
            assert name not in alive, "two pods of one name"
            alive[name] = pod["metadata"]["uid"]
            owner = controller_of(pod)
            assert owner is not None
            assert owner.name == "web"

        def removed(pod: Object) -> None:
            del alive[pod["metadata"]["name"]]

        side = cluster.watching()
        side.informer(PODS).add_handler(add=added, delete=removed)
        follower = cluster.start(side)
        await side.synced()
        await life.client.create(STATEFUL_SETS, workload("StatefulSet", "web", 3, podManagementPolicy=policy))
        for _ in range(25):
            await life.disturb()
        await life.mend()
        left = await pods(cluster)
        assert {name: image_of(pod) for name, pod in left.items()} == {f"web-{n}": "good" for n in range(3)}
        status = (await life.client.get(STATEFUL_SETS, "default", "web"))["status"]
        assert status["currentRevision"] == status["updateRevision"]
        assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (3, 3, 3)
        follower.cancel()
