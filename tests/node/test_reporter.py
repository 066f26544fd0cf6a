"""How many writes a start takes: what is out of date before it could matter is not said."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeport.node.runtime.contract import ImageError
from tests.node.world import PODS, World, phase, ready, running_id, waiting_reason, world


async def create(w: World, **spec: Any) -> float:
    """Create a pod once the agent has settled: what it finds at its start it reports at once. Return when."""
    await asyncio.sleep(0.5)
    await w.pod("web", **spec)
    return w.now


async def versions(w: World, name: str) -> list[Any]:
    """Return every form the pod has from its creation until it is ready."""
    seen: list[Any] = []
    async with w.client.watch(PODS, "default", resource_version="1") as changes:
        async for change in changes:
            if change.object["metadata"]["name"] == name:
                seen.append(change.object)
                if ready(change.object):
                    break
    return seen


@pytest.mark.virtual
@pytest.mark.parametrize(("patience", "writes"), [(1.0, 1), (0.0, 3)])
async def test_a_quick_start_is_told_in_one_write(tmp_path: Path, patience: float, writes: int) -> None:
    async with world(tmp_path, patience=patience) as w:
        w.runtime.start_seconds = w.images.pull_seconds = 0.2
        began = await create(w)
        await w.until("web", ready)
        assert w.now - began < 1.0
        assert len(await versions(w, "web")) == 1 + writes


@pytest.mark.virtual
async def test_a_slow_start_is_told_after_a_second(tmp_path: Path) -> None:
    async with world(tmp_path, patience=1.0) as w:
        w.images.pull_seconds = 30.0
        began = await create(w)
        pod = await w.until("web", lambda pod: bool(pod["status"].get("containerStatuses")))
        assert w.now - began == pytest.approx(1.0, abs=0.01)
        assert waiting_reason(pod) == "ContainerCreating"
        assert pod["status"]["podIP"] == "10.244.0.2"
        await w.until("web", ready)
        assert w.now - began == pytest.approx(30.0, abs=0.1)


@pytest.mark.virtual
async def test_trouble_is_told_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, patience=1.0) as w:
        w.images.failing["app:1"] = ImageError("ErrImagePull", "no such image")
        began = await create(w)
        pod = await w.until("web", lambda pod: bool(pod["status"].get("containerStatuses")))
        assert waiting_reason(pod) == "ErrImagePull"
        assert w.now - began < 0.1


@pytest.mark.virtual
async def test_a_pod_deleted_meanwhile_leaves_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, patience=1.0) as w:
        w.images.pull_seconds = 30.0
        began = await create(w)
        await w.client.delete(PODS, "default", "web")
        await w.until_gone("web")
        assert w.now - began < 0.2


@pytest.mark.virtual
async def test_an_end_is_told_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, patience=1.0) as w:
        await create(w, restartPolicy="Never")
        pod = await w.until("web", ready)
        began = w.now
        w.runtime.kill(running_id(pod), 0)
        pod = await w.until("web", lambda pod: phase(pod) == "Succeeded")
        assert w.now - began < 0.1
