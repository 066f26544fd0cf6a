"""One simulated node: the real agent on a simulated runtime, network and set of images."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from homeport.client.contract import Client, Source
from homeport.clock import Clock
from homeport.node.agent import Agent
from homeport.node.context import Capacity
from homeport.node.main import PATIENCE_SECONDS, NodeParts, serve_node
from homeport.node.network.contract import Attachment
from homeport.node.network.settings import Family
from homeport.node.network.simulated import SimulatedNetwork, SimulatedReach
from homeport.node.runtime.contract import ContainerSpec, ImageError, Usage
from homeport.node.runtime.simulated import SavedRuntime, Script, SimulatedImages, SimulatedRuntime
from homeport.node.settings import NodeSettings
from homeport.node.volumes.ids import IdMaps, this_process
from homeport.node.volumes.mounts import PlainMounts
from homeport.testing.behaviour import Behaviours

__all__ = ["CAPACITY", "Machine", "SavedMachine"]

ADDRESSES: Final = 1 << 14
"""How many addresses each node has for itself and its pods."""

MOST_PODS: Final = 16_000
"""How many pods each node takes: no more than it has addresses for."""

_SIZE: Final = {"cpu": "64", "ephemeral-storage": "1Ti", "memory": "256Gi", "pods": str(MOST_PODS)}
CAPACITY: Final = Capacity(_SIZE, _SIZE, 256 << 30)
"""What a simulated node has, the same wherever the simulation runs."""


@dataclass(frozen=True, slots=True)
class SavedMachine:
    """A node at one moment, but for its files."""

    runtime: SavedRuntime
    attached: Mapping[str, Attachment]
    next_address: int
    present: frozenset[str]
    broken_images: Mapping[str, ImageError]
    serving: bool


@cache
def _ids() -> IdMaps:
    return this_process()  # nobody enters other namespaces here


class Machine:
    """A node that can lose its agent, its power and its connection. `party` is its name on the way to the server."""

    def __init__(
        self, number: int, data: Path, client: Client, source: Source, clock: Clock, behaviours: Behaviours,
        rng: random.Random, started: Callable[[str, ContainerSpec], None], ranges: Sequence[Family],
    ) -> None:  # fmt: skip
        self.name = f"node-{number}"
        self.settings = NodeSettings(self.name, data / self.name, max_pods=MOST_PODS)
        self._client, self._source = client, source
        self._clock, self._behaviours, self._rng = clock, behaviours, rng
        self._started = started
        self.images = SimulatedImages()
        self.network = SimulatedNetwork(*(str(one.gateway + (number - 1) * ADDRESSES) for one in ranges))
        self.runtime = SimulatedRuntime(clock, self._script, behaviours.command, first_pid=number * 1_000_000)
        self.serving: asyncio.Task[None] | None = None
        """What the agent runs in, None while there is none."""
        self.agent: Agent | None = None
        """The agent that serves, None before its first start."""

    def _script(self, spec: ContainerSpec) -> Script:
        self._started(self.name, spec)
        return self._behaviours.script(spec)

    def _met(self, agent: Agent) -> None:
        self.agent = agent

    def start(self) -> None:
        """Start the agent; it adopts what runs. One that serves already goes on."""
        if self.serving is None:
            parts = NodeParts(
                self.settings, self._client, self._clock, self.runtime, self.images, self.network, SimulatedReach(),
                PlainMounts(), self._rng, CAPACITY, self._behaviours.probe, listens=False,
                on_agent=self._met, patience=PATIENCE_SECONDS, source=self._source, ids=_ids(),
            )  # fmt: skip
            self.serving = asyncio.create_task(serve_node(parts), name=self.name)

    async def kill(self) -> None:
        """End the agent as a crash would; pods go on running."""
        if self.serving is not None:
            self.serving.cancel()
            await asyncio.wait([self.serving])
            if not self.serving.cancelled() and (error := self.serving.exception()) is not None:
                raise error
            self.serving = None

    async def lose_power(self) -> None:
        """End the agent and everything that runs here."""
        await self.kill()
        for sandbox in await self.runtime.sandboxes():
            if sandbox.running:
                self.runtime.lose_sandbox(sandbox.id)

    def usage(self) -> Usage:
        """Return what all its containers together use and have used."""
        return self.runtime.total()

    def check(self) -> None:
        """Raise what the agent ended with, if it did: it never should."""
        if self.serving is not None and self.serving.done():
            self.serving.result()

    def save(self) -> SavedMachine:
        """Return everything the node is, as values."""
        return SavedMachine(
            self.runtime.save(), dict(self.network.attached), self.network.given, frozenset(self.images.present),
            dict(self.images.failing), self.serving is not None,
        )  # fmt: skip

    def resume(self, saved: SavedMachine) -> None:
        """Become what was saved; the agent is not started."""
        self.runtime.resume(saved.runtime)
        self.network.attached = dict(saved.attached)
        self.network.given = saved.next_address
        self.images.present, self.images.failing = set(saved.present), dict(saved.broken_images)
