"""Waiting until a cluster is ready: what its node must have said, and when."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from homeport.cli.progress import Progress
from homeport.cli.waiting import ExpectedNode, wait_until_ready
from homeport.node.node_object import RENEW_SECONDS
from tests.node.world import NODE, world

pytestmark = pytest.mark.virtual


async def at_once(_: str) -> None:
    """Slices are in effect as soon as they are there."""


waiting = partial(wait_until_ready, progress=Progress(), applied=at_once)


async def test_what_a_node_said_in_the_same_second_before_it_died_is_old(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        loop = asyncio.get_running_loop()
        await waiting(here.client, [], 60, node=ExpectedNode(NODE, 0))
        begun, reborn = loop.time(), ExpectedNode(NODE, here.clock.now() + 0.001)
        soon = await waiting(here.client, [], 1, node=reborn)
        assert soon == [f"node/{NODE} waits for the node agent to look after its pods"]
        assert await waiting(here.client, [], 60, node=reborn) == []
        assert 1 < loop.time() - begun <= RENEW_SECONDS
