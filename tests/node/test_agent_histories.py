"""Random histories of one node: whatever happens, promises hold all the way and nothing is left at the end."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from homeport.errors import AlreadyExists, NotFound
from homeport.node.runtime.contract import ContainerSpec
from homeport.node.runtime.simulated import Script
from tests.node.world import PODS, World, phase, ready, world

NAMES = ("a", "b", "c")
TERMINAL = ("Succeeded", "Failed")


class Watchman:
    """Looks at every change of every pod, and fails on a broken promise."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.ended: dict[str, str] = {}

    def look(self, pod: Any) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self.ended:
            assert phase(pod) == self.ended[uid], "a terminal phase is never left"
        if phase(pod) in TERMINAL:
            self.ended[uid] = phase(pod)
            assert not ready(pod), "what has ended is not ready"
        for key in ("initContainerStatuses", "containerStatuses"):
            for status in pod["status"].get(key, ()):
                at = (uid, status["name"])
                assert status["restartCount"] >= self.counts.get(at, 0), "a restart count never decreases"
                self.counts[at] = status["restartCount"]
                assert len(status["state"]) == 1
                if phase(pod) in TERMINAL:
                    assert "running" not in status["state"], "a terminal phase waits for the last container"


def script(rng: random.Random) -> Any:
    def chosen(spec: ContainerSpec) -> Script:
        if spec.labels["container"].startswith("init"):
            return Script(runs_for=rng.uniform(0, 3), code=rng.choice([0, 0, 0, 1]))
        runs_for = rng.choice([None, None, rng.uniform(0, 60)])
        return Script(runs_for, rng.choice([0, 1]), rng.choice([None, 0.0, 4.0]), rng.choice([0, 143]))

    return chosen


async def disturb(w: World, rng: random.Random) -> None:
    name = rng.choice(NAMES)
    match rng.randrange(9):
        case 0 | 1 | 2:
            init = [{"name": f"init-{at}", "image": "i:1"} for at in range(rng.randrange(3))]
            if rng.random() < 0.3:
                init.append({"name": "side", "image": "s:1", "restartPolicy": "Always"})
            try:
                await w.pod(
                    name,
                    *[{"name": f"c{at}"} for at in range(rng.randint(1, 2))],
                    initContainers=init,
                    restartPolicy=rng.choice(["Always", "OnFailure", "Never"]),
                    terminationGracePeriodSeconds=rng.choice([0, 1, 10]),
                )
            except AlreadyExists:
                return
        case 3 | 4:
            try:
                await w.client.delete(PODS, "default", name, grace_seconds=rng.choice([None, None, 0, 3]))
            except NotFound:
                return
        case 5:
            running = [one.id for one in await w.runtime.containers() if one.exit is None]
            if running:
                w.runtime.kill(rng.choice(running), code=rng.choice([0, 1, 137]))
        case 6:
            sandboxes = [one.id for one in await w.runtime.sandboxes() if one.running]
            if sandboxes:
                w.runtime.lose_sandbox(rng.choice(sandboxes))
        case 7:
            await w.kill_node()
            await asyncio.sleep(rng.choice([0.0, 1.0, 20.0]))
            w.start_node()
        case _:
            w.network.failing.append("no addresses left")


@pytest.mark.virtual
@pytest.mark.parametrize("seed", range(40))
async def test_any_history_keeps_the_promises_and_leaves_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with world(tmp_path) as w:
        w.runtime.script = script(rng)
        watchman, broken = Watchman(), asyncio.get_running_loop().create_future()

        async def watch() -> None:
            try:
                async with w.client.watch(PODS, "default", resource_version="1") as changes:
                    async for change in changes:
                        watchman.look(change.object)
            except AssertionError as error:
                broken.set_exception(error)

        watching = asyncio.create_task(watch())
        for _ in range(40):
            await disturb(w, rng)
            await asyncio.sleep(rng.choice([0.0, 0.0, 0.5, 5.0, 30.0]))
            if broken.done():
                broken.result()
        w.network.failing.clear()
        for pod in (await w.client.list(PODS, "default")).items:
            await w.client.delete(PODS, "default", pod["metadata"]["name"])
        await asyncio.sleep(60)
        watching.cancel()
        await asyncio.wait([watching])
        if broken.done():
            broken.result()
        broken.cancel()
        assert not (await w.client.list(PODS, "default")).items
        assert not await w.runtime.sandboxes()
        assert not await w.runtime.containers()
        assert not w.network.attached
        assert not list((tmp_path / "pods").iterdir())
        assert not list((tmp_path / "logs").iterdir()) if (tmp_path / "logs").exists() else True
