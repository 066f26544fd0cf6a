"""Budgets and evictions together: controllers, server and a fake kubelet in virtual time."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from homeport.api.exchange import Request
from homeport.api.resources import find
from homeport.testing.loop import run_virtual
from homeport.testing.world import World

BUDGETS, PODS, SETS = find("PodDisruptionBudget", "policy"), find("Pod"), find("ReplicaSet", "apps")
LABELS = {"app": "web"}


def replica_set(replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"}, "spec": spec}


def budget(**spec: Any) -> dict[str, Any]:
    selected = {"selector": {"matchLabels": LABELS}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": selected}


async def evict(world: World, name: str, version: str = "policy/v1", query: str = "") -> tuple[int, dict[str, Any]]:
    path = PODS.path("default", name, "eviction")
    body = json.dumps({"apiVersion": version, "kind": "Eviction", "metadata": {"name": name}}).encode()
    pairs = (("dryRun", "All"),) if query else ()
    headers = {"content-type": "application/json", "accept": "application/json"}
    response = await world.transport.send(Request("POST", path, pairs, headers, body))
    return response.status, json.loads(response.body)


def in_world(story: Callable[[World], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with World(seed=3) as world:
            await world.pass_time(1.0)
            await story(world)

    run_virtual(scenario)


async def status(world: World) -> dict[str, Any]:
    found: dict[str, Any] = (await world.client("test").get(BUDGETS, "default", "b"))["status"]
    return found


async def names(world: World) -> list[str]:
    listed = await world.client("test").list(PODS, "default")
    return sorted(pod["metadata"]["name"] for pod in listed.items)


def test_evictions_stop_where_the_budget_ends():
    async def story(world: World) -> None:
        client = world.client("test")
        await client.create(SETS, replica_set(3), "default")
        await client.create(BUDGETS, budget(maxUnavailable=1), "default")
        await world.pass_time(2.0)
        first, second, _ = await names(world)
        world.kubelet.set({"ready": False})  # replacements stay unready
        assert (await evict(world, first, query="dryRun=All"))[0] == 201
        assert (await status(world))["disruptionsAllowed"] == 1
        assert (await evict(world, first))[0] == 201
        code, refusal = await evict(world, second)
        assert (code, refusal["reason"]) == (429, "TooManyRequests")
        await world.pass_time(2.0)
        assert (await status(world))["currentHealthy"] == 2
        cause = (await evict(world, second))[1]["details"]["causes"][0]
        assert cause["message"] == "The disruption budget b needs 2 healthy pods and has 2 currently"
        assert second in await names(world)

    in_world(story)


def test_an_eviction_of_the_former_version_is_one():
    async def story(world: World) -> None:
        await world.client("test").create(SETS, replica_set(1), "default")
        await world.pass_time(2.0)
        (name,) = await names(world)
        assert (await evict(world, name, "policy/v1beta1"))[0] == 201
        await world.pass_time(2.0)
        assert name not in await names(world)

    in_world(story)


def test_a_share_of_pods_nobody_can_scale_lets_nothing_go():
    async def story(world: World) -> None:
        client = world.client("test")
        pod = {"metadata": {"name": "p", "labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "a"}]}}
        owner = {"apiVersion": "x/v1", "kind": "Thing", "name": "t", "uid": "u", "controller": True}
        pod["metadata"]["ownerReferences"] = [owner]
        await client.create(PODS, pod, "default")
        await client.create(BUDGETS, budget(minAvailable="50%"), "default")
        await world.pass_time(0.1)
        seen = await status(world)
        assert seen["disruptionsAllowed"] == 0
        assert [(each["reason"], each["message"]) for each in seen["conditions"]] == [
            ("SyncFailed", 'no matches for kind "Thing" in version "x/v1"')
        ]

    in_world(story)
