"""The DNS server: an index, a memo, and what answers a message from them."""

import asyncio
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from homeport.clock import Clock
from homeport.dns.answercache import AnswerCache, Lifetimes
from homeport.dns.index import Index
from homeport.dns.listeners import TcpListener, UdpListener
from homeport.dns.memo import Memo
from homeport.dns.message import FormatError, parse_query, peek_header
from homeport.dns.metrics import Counts
from homeport.dns.objects import Part
from homeport.dns.querylog import QueryLog
from homeport.dns.records import Answer, Question
from homeport.dns.reply import respond
from homeport.dns.settings import DnsSettings, Emulation
from homeport.dns.transfer import TRANSFERS, transfer

__all__ = ["DnsServer"]


MAX_CACHED: Final = 10_000
CACHE_LEAST_SECONDS: Final = 5
"""The reference's cache keeps everything that long, whatever its TTL (services-dns 14.6)."""


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _emulated_cache(emulation: Emulation, monotonic: Callable[[], float]) -> AnswerCache | None:
    if not emulation.cache:
        return None
    bounds = Lifetimes(CACHE_LEAST_SECONDS, present=emulation.cache, absent=emulation.cache)
    return AnswerCache(MAX_CACHED, bounds, monotonic)


class DnsServer:
    """Answers from `index`; whoever changes the index says so with `changed`, in the same step."""

    def __init__(
        self,
        settings: DnsSettings,
        clock: Clock,
        rng: random.Random,
        ask: Callable[[Question], Awaitable[Answer | None]],
        monotonic: Callable[[], float] = _loop_time,
        log: QueryLog | None = None,
    ) -> None:
        self.settings, self.index, self.memo = settings, Index(int(clock.now()), synced=False), Memo()
        self.memo.closed = log is not None
        self.counts = Counts()
        self.cache = _emulated_cache(settings.emulation, monotonic)
        self._clock, self._rng, self._ask, self._log = clock, rng, ask, log
        self._listeners: list[UdpListener | TcpListener] = []

    def now(self) -> float:
        return self._clock.now()

    def changed(self, names: Iterable[Part]) -> None:
        """Move the serial and forget the replies made from these parts of Services."""
        self.counts.changes += 1
        self.index.touch(self._clock.now())
        self.memo.drop(names)

    def synced(self) -> None:
        """The first lists are in: absence now means something."""
        self.index.synced = True
        self.memo.clear()

    async def respond(self, message: bytes, tcp: bool) -> bytes | None:
        """Return the reply to one message, asking upstream where the answer lies outside."""
        started = self._clock.now()
        steps = respond(message, self.index, self.settings, self._rng, tcp=tcp, cache=self.cache)
        upstream: Answer | None = None
        while True:
            try:
                question = steps.send(upstream)
            except StopIteration as stop:
                reply = stop.value
                break
            upstream = await self._ask(question)
        self.counts.seconds += self._clock.now() - started
        if reply is None:
            return None
        if not tcp:
            self.memo.keep(message, reply)
        wire: bytes = reply.orders[0]
        self.counts.made["tcp" if tcp else "udp", reply.type, wire[3] & 0xF] += 1
        return wire

    async def respond_stream(self, message: bytes) -> Sequence[bytes]:
        """Return all replies to a message that came over TCP; whole zones take several."""
        try:
            query = parse_query(message) if _asks_transfer(message) else None
        except FormatError:
            query = None
        if query is not None and query.question.type in TRANSFERS:
            return transfer(query, self.index, self.settings)
        reply = await self.respond(message, True)
        return () if reply is None else (reply,)

    def given(self) -> int:
        """Return how many kept replies the UDP listeners gave."""
        return sum(one.given + one.shared for one in self._listeners if isinstance(one, UdpListener))

    async def serve_udp(self, sock: socket.socket) -> None:
        self._listeners.append(UdpListener(sock, self.memo, self.respond, self._log))

    async def serve_tcp(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve a bound socket; with a TLS context as DNS over TLS."""
        listener = TcpListener(self.respond_stream, self._log)
        await listener.start(sock, tls)
        self._listeners.append(listener)

    async def close(self) -> None:
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()


def _asks_transfer(message: bytes) -> bool:
    """Tell at little cost whether a message may ask for a transfer: a query whose question ends in such a type."""
    header = peek_header(message)
    if header is None or header.is_response or header.opcode or header.counts[0] != 1:
        return False
    end = message.find(b"\0", 12) + 1
    return int.from_bytes(message[end : end + 2], "big") in TRANSFERS
