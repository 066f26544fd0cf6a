"""Tokens are asked for when they are due, and taken over from what an earlier agent left in the pod's volume."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.node.pod import Pod, parse_pod
from homeport.node.volumes.payload import TokenRequest
from homeport.node.volumes.tokens import PodTokens
from tests.node.world import World
from tests.node.world import world as running

pytestmark = pytest.mark.virtual

REQUEST = TokenRequest("", 3607)


class Counting:
    """A client that counts the tokens it asks for."""

    def __init__(self, world: World) -> None:
        self.world, self.count = world, 0

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return await self.world.client.create(*args, **kwargs)


async def pod_of(world: World, name: str) -> Pod:
    return parse_pod(await world.pod(name, serviceAccountName="default"))


def tokens(client: Any, world: World) -> PodTokens:
    return PodTokens(client, world.clock, random.Random(1))


async def account(world: World) -> None:
    await world.client.create(
        find("ServiceAccount"), {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}},
        "default",
    )  # fmt: skip


async def test_a_token_is_kept_until_it_is_due(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await account(world)
        client, pod = Counting(world), await pod_of(world, "a")
        kept = tokens(client, world)
        first = await kept.get(pod, REQUEST)
        await asyncio.sleep(0.8 * 3607 - 20)
        assert await kept.get(pod, REQUEST) == first
        await asyncio.sleep(20)
        assert await kept.get(pod, REQUEST) != first
        assert client.count == 2


async def test_a_later_agent_takes_over_what_it_finds(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await account(world)
        client, pod = Counting(world), await pod_of(world, "a")
        left = await tokens(client, world).get(pod, REQUEST)
        later = tokens(client, world)
        later.adopt(pod, REQUEST, left)
        assert await later.get(pod, REQUEST) == left
        assert later.refresh_at is not None
        assert world.clock.now() < later.refresh_at <= world.clock.now() + 0.8 * 3607
        assert client.count == 1


async def test_what_is_due_or_somebody_elses_or_no_token_is_not_taken_over(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await account(world)
        client, pod, other = Counting(world), await pod_of(world, "a"), await pod_of(world, "b")
        left = await tokens(client, world).get(pod, REQUEST)
        later = tokens(client, world)
        later.adopt(other, REQUEST, left)
        later.adopt(pod, TokenRequest("vault", 3607), left)
        for text in ("", "a.b.c", "..", left.split(".")[0], "a.\u00e9.c", "e30.W10.e30"):
            later.adopt(pod, REQUEST, text)
        await asyncio.sleep(0.8 * 3607)
        later.adopt(pod, REQUEST, left)
        assert later.refresh_at is None


async def test_an_agent_that_restarts_leaves_volumes_as_they_are(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        await account(world)
        source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
        await world.pod(
            "a",
            {"name": "main", "volumeMounts": [{"name": "t", "mountPath": "/t"}]},
            volumes=[{"name": "t", "projected": {"sources": [source]}}],
            serviceAccountName="default",
        )
        pod = await world.until("a", lambda pod: pod["status"].get("phase") == "Running")
        volume = world.settings.pod_directory(pod["metadata"]["uid"]) / "volumes/kubernetes.io~projected/t"
        before = (volume / "token").read_text(), (volume / "..data").readlink()
        await world.kill_node()
        world.start_node()
        await asyncio.sleep(60)
        assert ((volume / "token").read_text(), (volume / "..data").readlink()) == before
        await asyncio.sleep(0.8 * 3607)
        assert (volume / "token").read_text() != before[0]
