"""A node of both address families: what it says of itself, and what its pods are given."""

import asyncio
from pathlib import Path

import pytest

from homeport.api.resources import find
from tests.node.world import NODE, ready, world

pytestmark = pytest.mark.virtual

GATEWAYS = ("10.244.0.1", "fd00:10:244::1")


async def test_pods_have_an_address_of_each_family(tmp_path: Path) -> None:
    async with world(tmp_path, gateways=GATEWAYS) as here:
        variables = [
            {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            {"name": "HOSTS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIPs"}}},
        ]
        await here.pod("db", {"name": "main", "env": variables})
        status = (await here.until("db", ready))["status"]
        assert (status["podIP"], status["hostIP"]) == ("10.244.0.2", "10.244.0.1")
        assert status["podIPs"] == [{"ip": "10.244.0.2"}, {"ip": "fd00:10:244::2"}]
        assert status["hostIPs"] == [{"ip": address} for address in GATEWAYS]
        given = dict(here.runtime.specs()[-1].environment)
        assert (given["IPS"], given["HOSTS"]) == ("10.244.0.2,fd00:10:244::2", ",".join(GATEWAYS))


async def test_a_node_reports_both_addresses_again_and_again(tmp_path: Path) -> None:
    async with world(tmp_path, gateways=GATEWAYS) as here:
        for _ in range(2):
            await asyncio.sleep(700)
            node = await here.client.get(find("Node"), None, NODE)
            assert [one["address"] for one in node["status"]["addresses"]] == [*GATEWAYS, NODE]
        beats = {one["type"]: one["lastHeartbeatTime"] for one in node["status"]["conditions"]}
        assert beats["Ready"] > node["metadata"]["creationTimestamp"]
