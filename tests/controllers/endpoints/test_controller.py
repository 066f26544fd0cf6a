"""Endpoints over a real server: what a start finds (services-dns 10.11)."""

import asyncio
from typing import Any

import pytest

from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.controllers.endpoints import EndpointsController
from homeport.testing.loop import VirtualClock
from tests.server.inprocess import ADMIN, running

pytestmark = pytest.mark.virtual

ENDPOINTS = "/api/v1/namespaces/default/endpoints"
LEADER = "control-plane.alpha.kubernetes.io/leader"


def endpoints(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "subsets": [{"addresses": [{"ip": "192.0.2.7"}]}]}


async def test_a_start_removes_endpoints_of_no_service_and_leaves_elections_alone() -> None:
    async with running() as ask:
        service = {"metadata": {"name": "db"}, "spec": {"ports": [{"port": 1}]}}
        await ask.create("/api/v1/namespaces/default/services", service)
        elected = {"annotations": {LEADER: "{}"}}
        for name, metadata in (("db", {}), ("left", {}), ("leader", elected)):
            await ask.create(ENDPOINTS, endpoints(name, **metadata))
        client = RestClient(InProcessTransport(ask.server.handle, ADMIN), "test")
        informers = InformerFactory(client)
        controller = EndpointsController(client, VirtualClock(), informers)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run) for run in (informers.run(), controller.run())]
            await asyncio.sleep(1.0)
            await ask.create(ENDPOINTS, endpoints("later"))
            await asyncio.sleep(1.0)
            for task in tasks:
                task.cancel()
        names = [one["metadata"]["name"] for one in (await ask.get(ENDPOINTS))["items"]]
        assert names == ["db", "kubernetes", "later", "leader"]
