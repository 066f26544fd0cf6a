"""Waiting until a cluster is ready: what its node must have said, and when."""

import asyncio
from pathlib import Path

import pytest

from homeport.cli.progress import Progress
from homeport.cli.waiting import ExpectedNode, wait_until_ready
from homeport.node.node_object import RENEW_SECONDS
from tests.node.world import NODE, world

pytestmark = pytest.mark.virtual


async def test_what_a_node_said_in_the_same_second_before_it_died_is_old(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        loop = asyncio.get_running_loop()
        await wait_until_ready(here.client, [], 60, node=ExpectedNode(NODE, 0), progress=Progress())
        begun, reborn = loop.time(), ExpectedNode(NODE, here.clock.now() + 0.001)
        soon = await wait_until_ready(here.client, [], 1, node=reborn, progress=Progress())
        assert soon == [f"node/{NODE} waits for the node agent to look after its pods"]
        assert await wait_until_ready(here.client, [], 60, node=reborn, progress=Progress()) == []
        assert 1 < loop.time() - begun <= RENEW_SECONDS
