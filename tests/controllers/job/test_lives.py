"""Random lives of Jobs: whatever happens to the pods, each is counted once and none keeps its finalizer."""

import random
from contextlib import suppress
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.errors import NotFound
from homeport.testing.loop import run_virtual
from homeport.testing.world import World

JOBS, PODS = find("Job", "batch"), find("Pod")


def manifest(rng: random.Random) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "completions": rng.randint(1, 5),
        "parallelism": rng.randint(1, 4),
        "backoffLimit": 1000,
        "podReplacementPolicy": rng.choice(["Failed", "TerminatingOrFailed"]),
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "a"}]}},
    }
    if rng.random() < 0.5:
        spec["completionMode"] = "Indexed"
        if rng.random() < 0.5:
            spec["backoffLimitPerIndex"] = 1000
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec}


@pytest.mark.parametrize("seed", range(12))
def test_every_pod_is_counted_once(seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        async with World(seed=seed) as world:
            client = world.client("test")
            await world.pass_time(1.0)
            job = await client.create(JOBS, manifest(rng), "default")
            seen: set[str] = set()
            for _ in range(200):
                await world.pass_time(rng.choice([0.0, 0.3, 30.0]))
                pods = (await client.list(PODS, "default")).items
                seen |= {pod["metadata"]["uid"] for pod in pods}
                going = [
                    p for p in pods if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]
                ]
                for pod in going:
                    name = pod["metadata"]["name"]
                    match rng.randrange(8):
                        case 0 | 1:
                            await world.kubelet.report("default", name, "Succeeded")
                        case 2:
                            await world.kubelet.report("default", name, "Failed")
                        case 3:
                            with suppress(NotFound):  # replaced or gone by now
                                await client.delete(PODS, "default", name)
                                await world.kubelet.report("default", name, "Failed")  # as a node does at the end
                if rng.random() < 0.1:
                    await client.patch(JOBS, "default", "j", {"spec": {"parallelism": rng.randint(1, 4)}})
                status = (await client.get(JOBS, "default", "j"))["status"]
                if status.get("completionTime"):
                    break
                await world.pass_time(rng.choice([0.0, 700.0]))
            else:
                pytest.fail(f"never over: {status}")
            await world.pass_time(5.0)
            status = (await client.get(JOBS, "default", "j"))["status"]
            assert status["succeeded"] == job["spec"]["completions"]
            assert status["succeeded"] + status.get("failed", 0) <= len(seen)
            assert status["uncountedTerminatedPods"] == {}
            assert (status["terminating"], status["ready"], status.get("active", 0)) == (0, 0, 0)
            left = (await client.list(PODS, "default")).items
            assert not [pod for pod in left if pod["metadata"].get("finalizers")]
            if job["spec"].get("completionMode") != "Indexed":
                assert status["succeeded"] + status.get("failed", 0) == len(seen)

    run_virtual(scenario)
