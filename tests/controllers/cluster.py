"""A control plane in one process and in virtual time: real server and store, real controllers, pods run by the test."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.controllers.roster import Settings, controllers
from homeport.controllers.volumes.directories import LocalDirectories
from homeport.controllers.volumes.provisioner import class_body
from homeport.errors import NotFound
from homeport.scheduler import Scheduler
from homeport.server.app import Server
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock

PODS, NODES, SERVICES = find("Pod"), find("Node"), find("Service")
ADMIN = User("system:admin", groups=("system:masters", "system:authenticated"))


@dataclass
class Cluster:
    """The admin's client, and the few things a test does over and over."""

    client: Client
    clock: VirtualClock
    _addresses: int = field(default=1)

    async def settle(self, seconds: float = 0.5) -> None:
        """Let virtual time pass: everything that follows from what was done is done."""
        await asyncio.sleep(seconds)

    async def create(self, body: dict[str, Any], namespace: str = "default") -> Object:
        resource = find(body["kind"], body["apiVersion"].rpartition("/")[0])
        return await self.client.create(resource, body, namespace if resource.namespaced else None)

    async def node(self, name: str = "node-1", **labels: str) -> Object:
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        }
        await self.client.create(NODES, body)
        status = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "conditions": [ready(True)]}}
        return await self.client.patch(NODES, None, name, status, subresource="status")

    async def pod(self, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [{"name": "main", "image": "a"}], **spec},
        }
        return await self.create(body)

    async def report(self, name: str, *, is_ready: bool = True, phase: str = "Running") -> Object:
        """Say about a pod what a node agent would."""
        pod = await self.client.get(PODS, "default", name)
        ip = (pod.get("status") or {}).get("podIP")
        if not ip:
            self._addresses += 1
            ip = f"10.244.0.{self._addresses}"
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready(is_ready)]}
        return await self.client.patch(
            PODS, "default", name, {"status": status}, kind=PatchType.STRATEGIC, subresource="status"
        )

    async def exists(self, kind: str, name: str, group: str = "", namespace: str | None = "default") -> bool:
        try:
            await self.client.get(find(kind, group), namespace, name)
        except NotFound:
            return False
        return True

    async def get(self, kind: str, name: str, group: str = "", namespace: str | None = "default") -> Object:
        return await self.client.get(find(kind, group), namespace, name)

    async def items(self, kind: str, group: str = "", namespace: str | None = "default") -> list[Object]:
        return list((await self.client.list(find(kind, group), namespace)).items)

    async def delete(self, kind: str, name: str, group: str = "", propagation: str = "") -> None:
        await self.client.delete(find(kind, group), "default", name, propagation=propagation)

    async def slices(self, service: str) -> list[Object]:
        items = await self.items("EndpointSlice", "discovery.k8s.io")
        return [s for s in items if s["metadata"]["labels"].get("kubernetes.io/service-name") == service]

    async def events(self, reason: str) -> list[str]:
        return [e["message"] for e in await self.items("Event", namespace=None) if e["reason"] == reason]


def ready(value: bool) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": "True" if value else "False",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "KubeletReady",
    }


@asynccontextmanager
async def cluster(tmp_path: Any, *, scheduler: bool = True) -> AsyncIterator[Cluster]:
    """A cluster whose controllers run; everything is at rest when the block begins."""
    clock, rng = VirtualClock(), random.Random(7)
    store = MemoryStore()
    async with Server(store, clock, rng) as server:
        transport = InProcessTransport(server.handle, ADMIN, shared=True)

        def client_for(component: str) -> Client:
            return RestClient(transport, f"{component}/test")

        factory = InformerFactory(client_for("informers"), rng)
        settings = Settings("-----BEGIN CERTIFICATE-----", LocalDirectories(tmp_path / "volumes"))
        running: list[Callable[[], Any]] = [c.run for c in controllers(client_for, clock, factory, settings)]
        if scheduler:
            running.append(Scheduler(client_for("default-scheduler"), clock, factory, rng).run)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run()) for run in (factory.run, *running)]
            world = Cluster(client_for("test"), clock)
            await world.create(class_body())
            await world.settle()
            try:
                yield world
            finally:
                for task in tasks:
                    task.cancel()
