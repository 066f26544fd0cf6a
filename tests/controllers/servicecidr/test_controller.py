"""Ranges of cluster addresses over a real server: made, drawn from, and given up."""

from pathlib import Path
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.client.contract import Object
from homeport.errors import NotFound
from tests.controllers.cluster import Cluster, cluster

pytestmark = pytest.mark.virtual

CIDRS = find("ServiceCIDR", "networking.k8s.io")
SERVICES = find("Service")


def ranges(name: str, *cidrs: str) -> dict[str, Any]:
    meta = {"name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": meta, "spec": {"cidrs": [*cidrs]}}


def service(name: str, address: str) -> dict[str, Any]:
    spec = {"clusterIP": address, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ready(obj: Object) -> tuple[str, str, str]:
    (condition,) = obj["status"]["conditions"]
    return condition["status"], condition["reason"], condition["message"]


async def gone(world: Cluster, name: str) -> bool:
    try:
        await world.client.get(CIDRS, None, name)
    except NotFound:
        return True
    return False


async def test_ranges_become_ready_and_wait_for_their_last_address(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.create(ranges("more", "10.200.0.0/24"))
        await world.settle()
        for name in ("kubernetes", "more"):
            obj = await world.client.get(CIDRS, None, name)
            assert obj["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
            assert ready(obj) == ("True", "", "Kubernetes Service CIDR is ready")
        await world.create(service("s", "10.200.0.9"))
        await world.client.delete(CIDRS, None, "more")
        await world.settle()
        assert ready(await world.client.get(CIDRS, None, "more"))[:2] == ("False", "Terminating")
        await world.settle(60)
        assert not await gone(world, "more")
        await world.client.delete(SERVICES, "default", "s")
        await world.settle()
        assert await gone(world, "more")


async def test_a_range_within_another_goes_after_ten_seconds(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.create(ranges("more", "10.200.0.0/24"))
        await world.create(service("s", "10.200.0.9"))
        await world.settle()
        await world.client.delete(CIDRS, None, "more")
        await world.settle()
        await world.create(ranges("wide", "10.200.0.0/16"))
        await world.settle(5)
        assert not await gone(world, "more")
        await world.settle(7)
        assert await gone(world, "more")
        assert (await world.client.get(SERVICES, "default", "s"))["spec"]["clusterIP"] == "10.200.0.9"
