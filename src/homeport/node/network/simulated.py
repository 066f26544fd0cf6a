"""A pod network of names only: addresses are handed out, and what listens is a function. For tests and simulations."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TypeAlias

from homeport.node.network.contract import Attachment, NetworkFailure
from homeport.node.reach import HttpAnswer

__all__ = ["SimulatedNetwork", "SimulatedReach"]


class SimulatedNetwork:
    """The simulated side of `contract.Network`. `failing` makes the next attachments fail, one per entry.

    gateways  the node's address of each family; pods get those that follow
    """

    def __init__(self, *gateways: str) -> None:
        self._gateways = gateways or ("10.244.0.1",)
        self.given = 0  # how many addresses were handed out
        self.attached: dict[str, Attachment] = {}
        self.failing: list[str] = []

    @property
    def gateways(self) -> tuple[str, ...]:
        return self._gateways

    async def attach(self, sandbox_id: str, pid: int) -> Attachment:
        known = self.attached.get(sandbox_id)
        if known is None:
            if self.failing:
                raise NetworkFailure(self.failing.pop(0))
            self.given += 1
            addresses = tuple(str(ip_address(gateway) + self.given) for gateway in self._gateways)
            known = self.attached[sandbox_id] = Attachment(sandbox_id, addresses, self._gateways)
        return known

    async def detach(self, sandbox_id: str) -> None:
        self.attached.pop(sandbox_id, None)

    async def adopt(self, attachments: dict[str, int]) -> None:
        for sandbox_id in [known for known in self.attached if known not in attachments]:
            del self.attached[sandbox_id]


Answers: TypeAlias = Callable[[str, int, str], HttpAnswer]
"""(address, port, path) → answer; raises OSError for one that cannot be reached."""

Listener: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class SimulatedReach:
    """The simulated side of `reach.Reach`: everything answers 200 unless `answers` says otherwise."""

    def __init__(self, answers: Answers = lambda address, port, path: HttpAnswer(200)) -> None:
        self.answers = answers
        self.listeners: dict[int, Listener] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def http_get(
        self, scheme: str, address: str, port: int, path: str, headers: tuple[tuple[str, str], ...]
    ) -> HttpAnswer:
        return self.answers(address, port, path)

    async def tcp(self, address: str, port: int) -> None:
        self.answers(address, port, "")

    async def dial(self, pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        listener = self.listeners.get(port)
        if listener is None:
            raise ConnectionRefusedError(111, "Connection refused")
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)

        async def serve() -> None:
            try:
                await listener(reader, writer)
            finally:
                writer.close()

        task = asyncio.create_task(serve())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return await asyncio.open_connection(sock=ours)
