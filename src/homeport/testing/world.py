"""A whole control plane in one process and in virtual time: store, API server, controllers and a fake kubelet.

async def scenario() -> None:
    async with World(seed=7) as world:
        await world.client("test").create(STATEFUL_SETS, manifest)
        await world.pass_time(1.0)

run_virtual(scenario)
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.client.contract import Client
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.clock import Clock
from homeport.controllers.roster import Controller, controllers
from homeport.controllers.roster import Settings as ControllerSettings
from homeport.server.app import Server
from homeport.server.settings import Settings
from homeport.store.memory import MemoryStore
from homeport.testing.kubelet import FakeKubelet
from homeport.testing.loop import VirtualClock

__all__ = ["ADMIN", "Controller", "World", "everything"]

ADMIN: Final = User("admin", groups=("system:masters", "system:authenticated"))
NODES: Final = find("Node")


def everything(client_for: Callable[[str], Client], clock: Clock, informers: InformerFactory) -> Sequence[Controller]:
    """Return every controller, but none that makes volumes or takes a node that says nothing for lost."""
    return controllers(
        client_for, clock, informers, ControllerSettings("ca\n", watch_nodes=False, claim_retell_seconds=5.0)
    )


class World:
    """Starts with `async with`, on a virtual loop; everything ends with the block.

    seed         where all randomness comes from: a world repeats itself
    roster       makes the controllers to run; all of them when not told
    nodes        names of the nodes the fake kubelet plays
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        roster: Callable[[Callable[[str], Client], Clock, InformerFactory], Sequence[Controller]] = everything,
        nodes: Sequence[str] = ("node-1", "node-2", "node-3"),
        settings: Settings | None = None,
    ) -> None:
        self.clock = VirtualClock()
        self.rng = random.Random(seed)
        self.server = Server(MemoryStore(), self.clock, self.rng, settings)
        self.transport = InProcessTransport(self.server.handle, ADMIN)
        self.nodes = nodes
        self._roster = roster
        self._control: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._stack = AsyncExitStack()
        self.informers, self.kubelet, self._controllers = self._build()

    def _build(self) -> tuple[InformerFactory, FakeKubelet, Sequence[Controller]]:
        informers = InformerFactory(self.client("controllers"), self.rng)
        kubelet = FakeKubelet(self.client("kubelet"), self.clock, informers, self.nodes)
        return informers, kubelet, self._roster(self.client, self.clock, informers)

    def client(self, user_agent: str) -> RestClient:
        """Return a client of its own name, as administrator."""
        return RestClient(self.transport, user_agent)

    async def __aenter__(self) -> "World":
        await self._stack.enter_async_context(self.server)
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        admin = self.client("world")
        for name in self.nodes:
            await admin.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        await self._start_control()
        return self

    async def _start_control(self) -> None:
        self._control = [self.start(runner) for runner in (self.informers, *self._controllers, self.kubelet)]
        await self.informers.synced()

    async def restart(self) -> None:
        """End controllers and kubelet as a crash would, between any two steps of theirs, and start new ones."""
        for task in self._control:
            task.cancel()
        await asyncio.wait(self._control)
        switches = self.kubelet.switches
        self.informers, self.kubelet, self._controllers = self._build()
        self.kubelet.switches = switches
        await self._start_control()

    async def __aexit__(self, *failure: object) -> None:
        for task in reversed(self._tasks):
            task.cancel()
        await self._stack.aclose()

    def start(self, runner: Controller) -> asyncio.Task[None]:
        """Run something more until the world ends."""
        assert self._group is not None
        task = self._group.create_task(runner.run(), name=type(runner).__name__)
        self._tasks.append(task)
        return task

    def watching(self) -> InformerFactory:
        """Return informers of one's own, to `start`: they go on when the controllers are restarted."""
        return InformerFactory(self.client("watching"), self.rng)

    async def pass_time(self, seconds: float) -> None:
        """Let virtual time go on; everything that is due in between happens."""
        await asyncio.sleep(seconds)
