"""The DNS server: an index, a memo, and what answers a message from them."""

import random
import socket
from collections.abc import Awaitable, Callable, Iterable

from homeport.clock import Clock
from homeport.dns.index import Index
from homeport.dns.listeners import TcpListener, UdpListener
from homeport.dns.memo import Memo
from homeport.dns.objects import Part
from homeport.dns.records import Answer, Question
from homeport.dns.reply import respond
from homeport.dns.settings import DnsSettings

__all__ = ["DnsServer"]


class DnsServer:
    """Answers from `index`; whoever changes the index says so with `changed`, in the same step."""

    def __init__(
        self,
        settings: DnsSettings,
        clock: Clock,
        rng: random.Random,
        ask: Callable[[Question], Awaitable[Answer | None]],
    ) -> None:
        self.settings, self.index, self.memo = settings, Index(int(clock.now()), synced=False), Memo()
        self._clock, self._rng, self._ask = clock, rng, ask
        self._listeners: list[UdpListener | TcpListener] = []

    def now(self) -> float:
        return self._clock.now()

    def changed(self, names: Iterable[Part]) -> None:
        """Move the serial and forget the replies made from these parts of Services."""
        self.index.touch(self._clock.now())
        self.memo.drop(names)

    def synced(self) -> None:
        """The first lists are in: absence now means something."""
        self.index.synced = True
        self.memo.clear()

    async def respond(self, message: bytes, tcp: bool) -> bytes | None:
        """Return the reply to one message, asking upstream where the answer lies outside."""
        steps = respond(message, self.index, self.settings, self._rng, tcp=tcp)
        upstream: Answer | None = None
        while True:
            try:
                question = steps.send(upstream)
            except StopIteration as stop:
                reply = stop.value
                break
            upstream = await self._ask(question)
        if reply is None:
            return None
        if not tcp:
            self.memo.keep(message, reply)
        return bytes(reply.orders[0])

    async def serve_udp(self, sock: socket.socket) -> None:
        self._listeners.append(UdpListener(sock, self.memo, self.respond))

    async def serve_tcp(self, sock: socket.socket) -> None:
        listener = TcpListener(self.respond)
        await listener.start(sock)
        self._listeners.append(listener)

    async def close(self) -> None:
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()
