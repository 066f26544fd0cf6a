"""A few servers that stand for each other: those that fail are passed over until a probe finds them well again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from homeport.dns.exchange import Resolver, exchange
from homeport.dns.message import FormatError, Header
from homeport.dns.records import Answer, Question, Rcode, RRType

__all__ = ["Exchange", "Resolver", "Upstream"]

Exchange: TypeAlias = Callable[[Resolver, Question, random.Random], Awaitable[tuple[Header, Answer]]]

TIMEOUT_SECONDS: Final = 2.0
"""For one server."""

PATIENCE_SECONDS: Final = 5.0
"""For all of them: resolvers give up then (resolv.conf(5), `timeout`)."""

FAILURES: Final = 2
"""In a row, after which a server is passed over."""

PROBE_SECONDS: Final = 0.5
PROBE_LIMIT_SECONDS: Final = 5.0
_PROBE: Final = Question((), RRType.NS)
_NEXT: Final = (Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED)
"""Codes that say something of the server asked, not of the name; another one may know."""


@dataclass(slots=True)
class _Server:
    resolver: Resolver
    failures: int = 0
    probe: asyncio.Task[None] | None = field(default=None)

    @property
    def well(self) -> bool:
        return self.failures < FAILURES


class Upstream:
    """Asks its servers in order. Owns the probes of those that failed."""

    def __init__(self, resolvers: Sequence[Resolver], rng: random.Random, exchange: Exchange = exchange) -> None:
        self._servers = tuple(_Server(resolver) for resolver in resolvers)
        self._rng, self._exchange = rng, exchange

    @property
    def resolvers(self) -> tuple[Resolver, ...]:
        return tuple(server.resolver for server in self._servers)

    def unwell(self) -> tuple[Resolver, ...]:
        """Return the servers that are passed over at present."""
        return tuple(server.resolver for server in self._servers if not server.well)

    async def ask(self, question: Question) -> Answer | None:
        """Return the answer; SERVFAIL when no server gave one in time, None when there are no servers at all."""
        if not self._servers:
            return None
        answer = Answer(Rcode.SERVFAIL, authoritative=False, recursion_available=True)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for server in [one for one in self._servers if one.well] or self._servers:
                    found = await self._try(server, question)
                    if found is not None:
                        answer = found
                        if answer.rcode not in _NEXT:
                            break
        except TimeoutError:
            pass  # what was heard so far is the answer
        return answer

    async def _try(self, server: _Server, question: Question) -> Answer | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                _, answer = await self._exchange(server.resolver, question, self._rng)
        except (OSError, TimeoutError, FormatError, EOFError):
            server.failures += 1
            if not server.well and server.probe is None:
                server.probe = asyncio.get_running_loop().create_task(self._heal(server))
            return None
        server.failures = 0
        return answer

    async def _heal(self, server: _Server) -> None:
        """Ask a failed server for the root until it says anything at all."""
        pause = PROBE_SECONDS
        while not server.well:
            await asyncio.sleep(pause)
            pause = min(pause * 2, PROBE_LIMIT_SECONDS)
            await self._try(server, _PROBE)
        server.probe = None

    async def close(self) -> None:
        """End the probes."""
        probes = [server.probe for server in self._servers if server.probe is not None]
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
