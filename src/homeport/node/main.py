"""One node put together: informers, events, the Node object, the agent and its HTTP API.

`serve_node` takes every seam as it comes and is what simulated worlds run; `run_node` fills in the real sides and is
what the engine runs in the node process.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from homeport.api.resources import find
from homeport.client.contract import Client, Source
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory
from homeport.clock import Clock
from homeport.node.agent import Agent
from homeport.node.checkpoint import Checkpoints
from homeport.node.context import Capacity, NodeContext
from homeport.node.eviction import Evictions
from homeport.node.handlers import Prober, probe_for_real
from homeport.node.network.contract import Network
from homeport.node.node_object import NodeObject, machine_capacity
from homeport.node.objects import ObjectCache
from homeport.node.pulling import ImagePuller
from homeport.node.reach import Reach, SocketReach
from homeport.node.runtime.contract import Images, Runtime
from homeport.node.server import NodeServer
from homeport.node.settings import NodeSettings
from homeport.node.stats import summary
from homeport.node.volumes.ids import IdMaps, this_process
from homeport.node.volumes.mounts import KernelMounts, Mounts

__all__ = ["PATIENCE_SECONDS", "NodeParts", "at_once", "run_node", "serve_node"]

COMPONENT: Final = "kubelet"
PATIENCE_SECONDS: Final = 1.0
"""How often upstream's agent looks at its containers: what happens within becomes one report."""

PODS: Final = find("Pod")
SERVICES: Final = find("Service")
NODES: Final = find("Node")


async def at_once(_: str) -> None:
    """Wait for nobody: no balancer leads to the pods of this node."""


def unseen(_: Agent) -> None:
    """Nobody else serves what the agent knows."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """Everything a node is made of.

    capacity  what the node has; None asks the machine
    prober    carries out probes
    listens   whether the node serves its own HTTP API
    on_agent  is told the agent, for one who serves its pods in another way
    departed  returns once nothing leads new connections to a deleted pod (by uid); where nothing ever does, at once
    patience  seconds a report that a pod is merely being started may wait for a better one
    source    a server in this process that may tell what informers would list and watch
    ids       the users and groups files may be given to; None asks this process
    """

    settings: NodeSettings
    client: Client
    clock: Clock
    runtime: Runtime
    images: Images
    network: Network
    reach: Reach
    mounts: Mounts
    rng: random.Random
    capacity: Capacity | None = None
    prober: Prober = probe_for_real
    listens: bool = True
    on_agent: Callable[[Agent], None] = unseen
    departed: Callable[[str], Awaitable[None]] = at_once
    patience: float = 0.0
    source: Source | None = None
    ids: IdMaps | None = None


async def run_node(
    settings: NodeSettings,
    client: Client,
    clock: Clock,
    runtime: Runtime,
    images: Images,
    network: Network,
    departed: Callable[[str], Awaitable[None]] = at_once,
) -> None:
    """Serve the node this process is in; ends by cancellation only, and leaves pods running."""
    rng = random.SystemRandom()
    reach, mounts = SocketReach(), KernelMounts()
    parts = NodeParts(settings, client, clock, runtime, images, network, reach, mounts, rng)
    await serve_node(replace(parts, departed=departed, patience=PATIENCE_SECONDS))


async def serve_node(parts: NodeParts) -> None:
    """Serve a node made of `parts`; ends by cancellation only."""
    settings, client, clock = parts.settings, parts.client, parts.clock
    settings.pods.mkdir(0o711, parents=True, exist_ok=True)
    recorder = EventRecorder(client, clock, COMPONENT, settings.name)
    informers = InformerFactory(client, parts.rng, source=parts.source)
    pods = informers.informer(PODS, field_selector=f"spec.nodeName={settings.name}")
    services = informers.informer(SERVICES)
    nodes = informers.informer(NODES, field_selector=f"metadata.name={settings.name}")
    capacity = parts.capacity or machine_capacity(settings)
    objects = ObjectCache(client, parts.rng, parts.source)
    context = NodeContext(
        settings=settings,
        client=client,
        clock=clock,
        rng=parts.rng,
        runtime=parts.runtime,
        network=parts.network,
        reach=parts.reach,
        images=ImagePuller(parts.images, clock),
        objects=objects,
        recorder=recorder,
        mounts=parts.mounts,
        capacity=capacity,
        checkpoints=Checkpoints(settings.checkpoints),
        services=services.list,
        started_at=clock.now(),
        prober=parts.prober,
        departed=parts.departed,
        patience=parts.patience,
        ids=parts.ids or this_process(),
    )
    agent = Agent(context, pods, services, nodes)
    parts.on_agent(agent)
    node = NodeObject(settings, client, clock, parts.runtime, parts.images, capacity, parts.network.gateways, recorder)

    async def register() -> None:
        await agent.settled.wait()  # whoever sees the node's heartbeat may believe what its pods say
        await node.run()

    evictions = Evictions(lambda: agent.workers.values())
    try:
        async with asyncio.TaskGroup() as group:
            for part in (informers.run(), recorder.run(), register(), agent.run(), evictions.run()):
                group.create_task(part)
            if parts.listens:
                stats = partial(summary, settings.name, parts.runtime, clock)
                server = NodeServer(settings.socket, agent, parts.runtime, parts.reach, clock, stats)
                group.create_task(server.run())
    finally:
        await objects.close()
