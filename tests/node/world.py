"""A whole small cluster for the node agent: the real API server in process, simulated runtime, network and pods."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from homeport.api.exchange import User
from homeport.api.resources import Resource, find
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.clock import Clock
from homeport.errors import NotFound
from homeport.node.main import NodeParts, at_once, serve_node
from homeport.node.network.simulated import SimulatedNetwork, SimulatedReach
from homeport.node.runtime.simulated import SimulatedImages, SimulatedRuntime
from homeport.node.settings import NodeSettings
from homeport.node.volumes.mounts import PlainMounts
from homeport.server.app import Server
from homeport.server.settings import Settings
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock

PODS = find("Pod")
EVENTS = find("Event")
ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
NODE = "node-1"


class World:
    """What a test touches. Times are virtual seconds since the world began."""

    def __init__(self, data: Path, *, clock: Clock | None = None, node_socket: str = "") -> None:
        self.clock = clock or VirtualClock()
        self.rng = random.Random(7)
        self.settings = NodeSettings(NODE, data)
        self.server = Server(
            MemoryStore(),
            self.clock,
            self.rng,
            Settings(disabled_admission=frozenset({"ServiceAccount"}), node_socket=node_socket),
        )
        self.client = RestClient(InProcessTransport(self.server.handle, ADMIN, shared=True), "test")
        self.runtime = SimulatedRuntime(self.clock)
        self.images = SimulatedImages()
        self.network = SimulatedNetwork()
        self.reach = SimulatedReach()
        self.departed: Callable[[str], Awaitable[None]] = at_once
        self.patience = 0.0
        self.parts: NodeParts | None = None
        self._node: asyncio.Task[None] | None = None

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def start_node(self) -> None:
        self.parts = NodeParts(self.settings, self.client, self.clock, self.runtime, self.images, self.network,
                               self.reach, PlainMounts(), self.rng, departed=self.departed,
                               patience=self.patience)  # fmt: skip
        self._node = asyncio.create_task(serve_node(self.parts))

    async def kill_node(self) -> None:
        """End the agent as a crash would: at once, with nothing said."""
        assert self._node is not None
        self._node.cancel()
        await asyncio.wait([self._node])
        self._node = None

    async def create(
        self, kind: str, name: str, group: str = "", namespace: str | None = "default", **body: Any
    ) -> Any:
        resource: Resource = find(kind, group)
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **body.pop("metadata", {})}
        tree = {"apiVersion": resource.api_version, "kind": kind, "metadata": metadata, **body}
        return await self.client.create(resource, tree, namespace)

    async def pod(self, name: str, *containers: Mapping[str, Any], **spec: Any) -> Any:
        """Create a pod bound to the node; containers default to one called `main`."""
        chosen = containers or ({"name": "main"},)
        metadata = spec.pop("metadata", {})
        body = {
            "nodeName": NODE,
            "containers": [{"image": "app:1", **container} for container in chosen],
            **spec,
        }
        return await self.create("Pod", name, metadata=metadata, spec=body)

    async def get(self, name: str) -> Any:
        return await self.client.get(PODS, "default", name)

    async def until(self, name: str, holds: Callable[[Any], bool], limit: float = 600.0) -> Any:
        """Return the pod once `holds`, having looked after every change of it."""
        async with asyncio.timeout(limit):
            pod = await self.get(name)
            while not holds(pod):
                async with self.client.watch(
                    PODS, "default", field_selector=f"metadata.name={name}",
                    resource_version=pod["metadata"]["resourceVersion"],
                ) as changes:  # fmt: skip
                    async for change in changes:
                        pod = change.object
                        if holds(pod):
                            break
        return pod

    async def until_gone(self, name: str, limit: float = 600.0) -> None:
        async with asyncio.timeout(limit):
            while True:
                try:
                    pod = await self.get(name)
                except NotFound:
                    return
                async with self.client.watch(
                    PODS, "default", field_selector=f"metadata.name={name}",
                    resource_version=pod["metadata"]["resourceVersion"],
                ) as changes:  # fmt: skip
                    async for change in changes:
                        if change.kind == "DELETED":
                            return

    async def events(self, name: str) -> list[tuple[str, str, str]]:
        """Return (type, reason, message) of a pod's events, oldest first, once what is recorded now was sent."""
        await asyncio.sleep(0.01)
        listing = await self.client.list(EVENTS, "default")
        about = [event for event in listing.items if event["involvedObject"]["name"] == name]
        about.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["type"], event["reason"], event["message"]) for event in about]


@asynccontextmanager
async def world(
    data: Path, *, start: bool = True, patience: float = 0.0, gateways: tuple[str, ...] = ()
) -> AsyncIterator[World]:
    made = World(data)
    made.patience = patience
    made.network = SimulatedNetwork(*gateways)
    async with made.server:
        if start:
            made.start_node()
        try:
            yield made
        finally:
            if made._node is not None:
                await made.kill_node()


def condition(pod: Any, kind: str) -> str:
    return next((c["status"] for c in pod.get("status", {}).get("conditions", ()) if c["type"] == kind), "")


def ready(pod: Any) -> bool:
    return condition(pod, "Ready") == "True"


def phase(pod: Any) -> str:
    return str(pod.get("status", {}).get("phase", ""))


def main_status(pod: Any, name: str = "main") -> Any:
    for key in ("containerStatuses", "initContainerStatuses"):
        for entry in pod.get("status", {}).get(key, ()):
            if entry["name"] == name:
                return entry
    return {}


def waiting_reason(pod: Any) -> str:
    return str(main_status(pod).get("state", {}).get("waiting", {}).get("reason", ""))


def running_id(pod: Any) -> str:
    return str(main_status(pod)["containerID"]).partition("://")[2]
