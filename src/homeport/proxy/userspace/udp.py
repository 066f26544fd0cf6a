"""One UDP front end: each client's datagrams go to one endpoint, and its answers come back from the virtual address.

A flow ends when nothing went either way for a while, as the kernel's tracking of flows has it, or when its endpoint
serves no more; the client's next datagram begins a new one. Source: `services-dns` 17.2.
"""

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Any, Final, TypeAlias, cast

from homeport.proxy.model import Target
from homeport.proxy.userspace.choice import Choice, Way

__all__ = ["IDLE_SECONDS", "UdpFrontend"]

IDLE_SECONDS: Final = 30.0
MOST_FLOWS: Final = 16_384
"""Of one front end; beyond, datagrams of new clients are dropped."""

Address: TypeAlias = tuple[Any, ...]


class _Flow(asyncio.DatagramProtocol):
    """A client and its endpoint, by a socket of their own."""

    def __init__(self, frontend: "UdpFrontend", client: Address, target: Target, ended: Callable[[], None]) -> None:
        self.target, self.ended = target, ended
        self.used = frontend.now()
        self._frontend, self._client = frontend, client
        self._transport: asyncio.DatagramTransport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # by its methods alone, in asyncio and uvloop
        for data in self._early:
            self._transport.sendto(data)
        self._early.clear()

    def datagram_received(self, data: bytes, _: Address) -> None:
        self.used = self._frontend.now()
        self._frontend.answer(data, self._client)

    def error_received(self, _: Exception) -> None:
        """Nobody listens at the endpoint: the client hears nothing, and its next datagram may go elsewhere."""
        self._frontend.end(self._client)

    def send(self, data: bytes) -> None:
        self.used = self._frontend.now()
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.sendto(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class UdpFrontend(asyncio.DatagramProtocol):
    """Serves one bound socket until closed. `choice` says where each client goes."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._flows: dict[Address, _Flow] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = asyncio.Event()
        self._timer = self._loop.call_later(IDLE_SECONDS / 2, self._sweep)

    @classmethod
    async def open(cls, sock: socket.socket, choice: Choice) -> "UdpFrontend":
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(lambda: cls(choice), sock=sock)
        return protocol

    def now(self) -> float:
        return self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # by its methods alone, in asyncio and uvloop

    def connection_lost(self, _: Exception | None) -> None:
        self._closed.set()

    def datagram_received(self, data: bytes, client: Address) -> None:
        flow = self._flows.get(client)
        if flow is None:
            flow = self._begin(client)
        if flow is not None:
            flow.send(data)

    def answer(self, data: bytes, client: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, client)

    def end(self, client: Address) -> None:
        """Forget a flow; the client's next datagram begins another."""
        flow = self._flows.pop(client, None)
        if flow is not None:
            flow.ended()
            flow.close()

    def keep(self, serving: Collection[Target]) -> int:
        """End the flows of endpoints that serve no more; return how many there were."""
        stale = [client for client, flow in self._flows.items() if flow.target not in serving]
        for client in stale:
            self.end(client)
        return len(stale)

    async def close(self) -> None:
        self._timer.cancel()
        for client in list(self._flows):
            self.end(client)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def _begin(self, client: Address) -> _Flow | None:
        address = str(client[0])
        if self._choice.way(address) is Way.IGNORE or len(self._flows) >= MOST_FLOWS:
            return None
        target = next(iter(self._choice.targets(address)), None)
        if target is None:
            return None
        flow = self._flows[client] = _Flow(self, client, target, self._choice.opened(target))
        remote = str(target.address), target.port
        task = self._loop.create_task(self._loop.create_datagram_endpoint(lambda: flow, remote_addr=remote))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._connected(done, client))
        return flow

    def _connected(self, task: asyncio.Task[Any], client: Address) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.end(client)

    def _sweep(self) -> None:
        oldest = self.now() - IDLE_SECONDS
        for client in [client for client, flow in self._flows.items() if flow.used < oldest]:
            self.end(client)
        self._timer = self._loop.call_later(IDLE_SECONDS / 2, self._sweep)
