"""Workload controllers on a real server: histories, crashes between any two steps, and what is left in the end."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.client.informer import Informer
from homeport.testing.world import World
from tests.controllers.workloads import (
    CLAIM_TEMPLATE,
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    PODS,
    REPLICA_SETS,
    REVISIONS,
    STATEFUL_SETS,
    image_of,
    pods,
    template,
    workload,
    world,
)

pytestmark = pytest.mark.virtual


class Watcher:
    """Follows pods from the side and holds every moment against the promises of an ordered set."""

    def __init__(self, informer: Informer) -> None:
        self.created: list[str] = []
        self.alive: dict[str, str] = {}
        informer.add_handler(add=self._added, delete=self._gone)

    def _added(self, pod: Object) -> None:
        metadata = pod["metadata"]
        assert metadata["name"] not in self.alive, "two pods of one name"
        self.alive[metadata["name"]] = metadata["uid"]
        self.created.append(metadata["name"])

    def _gone(self, pod: Object) -> None:
        del self.alive[pod["metadata"]["name"]]


async def patch(world: World, name: str, spec: Mapping[str, Any]) -> None:
    await world.client("test").patch(STATEFUL_SETS, "default", name, {"spec": spec})


async def test_an_ordered_set_starts_in_order_and_stops_in_reverse():
    async with world() as cluster:
        watcher = Watcher(cluster.informers.informer(PODS))
        await cluster.client("test").create(STATEFUL_SETS, workload("StatefulSet", "web", 3, serviceName="web"))
        await cluster.pass_time(1)
        assert watcher.created == ["web-0", "web-1", "web-2"]
        cluster.kubelet.set({"finish": False})
        await patch(cluster, "web", {"replicas": 0})
        for name in ("web-2", "web-1", "web-0"):
            await cluster.pass_time(1)
            going = [each for each, pod in (await pods(cluster)).items() if "deletionTimestamp" in pod["metadata"]]
            assert going == [name]
            await cluster.kubelet.finish("default", name)
        await cluster.pass_time(1)
        assert await pods(cluster) == {}


async def test_a_pod_that_is_lost_comes_back_with_its_name_and_its_claim():
    async with world() as cluster:
        client = cluster.client("test")
        await client.create(STATEFUL_SETS, workload("StatefulSet", "db", 2, volumeClaimTemplates=[CLAIM_TEMPLATE]))
        await cluster.pass_time(1)
        before = (await pods(cluster))["db-1"]["metadata"]["uid"]
        claim = (await client.get(CLAIMS, "default", "data-db-1"))["metadata"]["uid"]
        await client.delete(PODS, "default", "db-1")
        await cluster.pass_time(1)
        assert (await pods(cluster))["db-1"]["metadata"]["uid"] != before
        assert (await client.get(CLAIMS, "default", "data-db-1"))["metadata"]["uid"] == claim


async def test_a_broken_template_stays_stuck_until_the_broken_pod_is_deleted():
    async with world() as cluster:
        client = cluster.client("test")
        await client.create(STATEFUL_SETS, workload("StatefulSet", "web", 2))
        await cluster.pass_time(1)
        cluster.kubelet.set({"broken_images": frozenset({"broken"})})
        await patch(cluster, "web", {"template": template("web", "broken")})
        await cluster.pass_time(1)
        await patch(cluster, "web", {"template": template("web", "a")})
        await cluster.pass_time(60)
        assert image_of((await pods(cluster))["web-1"]) == "broken"
        await client.delete(PODS, "default", "web-1")
        await cluster.pass_time(1)
        assert image_of((await pods(cluster))["web-1"]) == "a"
        revisions = (await client.list(REVISIONS, "default")).items
        assert sorted(each["revision"] for each in revisions) == [2, 3]


async def test_min_ready_seconds_turn_pods_available_without_any_event():
    async with world() as cluster:
        client = cluster.client("test")
        await client.create(STATEFUL_SETS, workload("StatefulSet", "web", 2, minReadySeconds=10))
        await client.create(DEPLOYMENTS, workload("Deployment", "app", 2, minReadySeconds=10))
        await cluster.pass_time(9)
        assert "web-1" not in await pods(cluster)
        await cluster.pass_time(13)
        status = (await client.get(STATEFUL_SETS, "default", "web"))["status"]
        assert (status["readyReplicas"], status["availableReplicas"]) == (2, 2)
        assert (await client.get(DEPLOYMENTS, "default", "app"))["status"]["availableReplicas"] == 2


async def test_a_stuck_rollout_misses_its_deadline_without_any_event():
    async with world() as cluster:
        client = cluster.client("test")
        cluster.kubelet.set({"ready": False})
        await client.create(DEPLOYMENTS, workload("Deployment", "app", 1, progressDeadlineSeconds=30))
        await cluster.pass_time(29)
        assert await progress(cluster) == ("True", "ReplicaSetUpdated")
        await cluster.pass_time(5)
        assert await progress(cluster) == ("False", "ProgressDeadlineExceeded")


async def progress(cluster: World) -> tuple[str, str]:
    status = (await cluster.client("test").get(DEPLOYMENTS, "default", "app"))["status"]
    (found,) = [each for each in status["conditions"] if each["type"] == "Progressing"]
    return found["status"], found["reason"]


async def test_a_set_whose_name_is_too_long_says_why_it_has_no_pods():
    async with world() as cluster:
        name = "a" * 53
        await cluster.client("test").create(STATEFUL_SETS, workload("StatefulSet", name, 1))
        await cluster.pass_time(1)
        events = (await cluster.client("test").list(EVENTS, "default")).items
        (event,) = [each for each in events if each["reason"] == "FailedCreate"]
        assert event["type"] == "Warning"
        assert "must be no more than 63 bytes" in event["message"]
        assert event["count"] > 1


SEQUENCES = {
    "ordered": ("StatefulSet", {"volumeClaimTemplates": [CLAIM_TEMPLATE]}),
    "parallel": ("StatefulSet", {"podManagementPolicy": "Parallel"}),
    "rolling": ("Deployment", {}),
}


async def play(kind: str, spec: Mapping[str, Any], crashes: list[float]) -> tuple[list[str], Any]:
    """Create, roll, grow, shrink; crash at given moments. Return the images of all pods ever made, and what is left."""
    resource = {"StatefulSet": STATEFUL_SETS, "Deployment": DEPLOYMENTS}[kind]
    made: dict[str, str] = {}
    async with world() as cluster, asyncio.TaskGroup() as group:
        client = cluster.client("test")

        def seen(pod: Object) -> None:
            made[pod["metadata"]["uid"]] = f"{_role(pod)} {image_of(pod)}"

        side = cluster.watching()
        side.informer(PODS).on_change(seen)
        follower = cluster.start(side)
        await side.synced()

        async def crash() -> None:
            for pause in crashes:
                await asyncio.sleep(pause)
                await cluster.restart()

        crashing = group.create_task(crash())
        await client.create(resource, workload(kind, "web", 3, **spec))
        await cluster.pass_time(1)
        for change in ({"template": template("web", "b")}, {"replicas": 5}, {"replicas": 1}):
            await client.patch(resource, "default", "web", {"spec": change})
            await cluster.pass_time(1)
        await cluster.pass_time(60)
        await crashing
        await cluster.pass_time(60)
        left = {_role(pod): image_of(pod) for pod in (await pods(cluster)).values()}
        status = (await client.get(resource, "default", "web"))["status"]
        sets = sorted(each["spec"]["replicas"] for each in (await client.list(REPLICA_SETS, "default")).items)
        follower.cancel()
    return sorted(made.values()), (left, _counts(status), sets)


def _role(pod: Object) -> str:
    labels = pod["metadata"]["labels"]
    return str(labels.get("apps.kubernetes.io/pod-index", "any"))


def _counts(status: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name != "conditions"}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("seed", range(12))
async def test_crashes_change_neither_the_end_nor_the_pods_on_the_way(sequence, seed):
    kind, spec = SEQUENCES[sequence]
    rng = random.Random(seed)
    undisturbed = await play(kind, spec, [])
    crashes = [rng.uniform(0, 0.02) if rng.random() < 0.5 else rng.uniform(0, 1.0) for _ in range(8)]
    assert await play(kind, spec, crashes) == undisturbed


async def test_pods_that_are_refused_show_as_a_failure_up_to_the_deployment():
    async with World() as cluster:
        client = cluster.client("test")
        await cluster.pass_time(1)
        manifest = workload("Deployment", "app", 2)
        manifest["spec"]["template"]["spec"]["serviceAccountName"] = "ghost"
        await client.create(DEPLOYMENTS, manifest)
        await cluster.pass_time(5)
        (replica_set,) = (await client.list(REPLICA_SETS, "default")).items
        assert await failure(replica_set) == ("FailedCreate", True)
        assert await failure(await client.get(DEPLOYMENTS, "default", "app")) == ("FailedCreate", True)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ghost"}}
        await client.create(find("ServiceAccount"), account, "default")
        await cluster.pass_time(60)
        assert await failure(await client.get(DEPLOYMENTS, "default", "app")) == ("", False)
        assert len(await pods(cluster)) == 2


async def failure(obj: Object) -> tuple[str, bool]:
    for condition in obj["status"].get("conditions") or ():
        if condition["type"] == "ReplicaFailure":
            return condition["reason"], "ghost" in condition["message"]
    return "", False


async def test_a_replica_set_name_that_is_taken_counts_as_a_collision():
    async with world() as cluster:
        client = cluster.client("test")
        await client.create(DEPLOYMENTS, workload("Deployment", "app", 1))
        await cluster.pass_time(1)
        (taken,) = (await client.list(REPLICA_SETS, "default")).items
        await client.delete(DEPLOYMENTS, "default", "app")
        await cluster.pass_time(1)
        stranger = workload("ReplicaSet", taken["metadata"]["name"], 0, image="other")
        await client.create(REPLICA_SETS, stranger)
        await client.create(DEPLOYMENTS, workload("Deployment", "app", 1))
        await cluster.pass_time(5)
        status = (await client.get(DEPLOYMENTS, "default", "app"))["status"]
        assert (status["collisionCount"], status["availableReplicas"]) == (1, 1)


async def test_a_revision_name_that_is_taken_counts_as_a_collision():
    async with world() as cluster:
        client = cluster.client("test")
        await client.create(STATEFUL_SETS, workload("StatefulSet", "web", 0))
        await cluster.pass_time(1)
        (taken,) = (await client.list(REVISIONS, "default")).items
        await client.delete(STATEFUL_SETS, "default", "web")
        await cluster.pass_time(1)
        stranger = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": taken["metadata"]["name"], "namespace": "default"},
            "data": {"spec": {"template": template("web", "other")}},
            "revision": 1,
        }
        await client.create(REVISIONS, stranger)
        await client.create(STATEFUL_SETS, workload("StatefulSet", "web", 1))
        await cluster.pass_time(5)
        status = (await client.get(STATEFUL_SETS, "default", "web"))["status"]
        assert (status["collisionCount"], status["readyReplicas"]) == (1, 1)
        assert status["updateRevision"] != taken["metadata"]["name"]
