"""Names of others, for the pods' sake: which servers are asked, how many questions at once, what is remembered.

A question waits on the loop alone; the thread that answers for the cluster's own zone never does.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from homeport.dns.answercache import AnswerCache, Lifetimes
from homeport.dns.exchange import Resolver
from homeport.dns.name import Name, below, fold
from homeport.dns.records import Answer, Question, Rcode, Record
from homeport.dns.upstream import Upstream

__all__ = ["Forwarder", "Source"]

Source: TypeAlias = Callable[[], Sequence[Resolver]]
"""The servers to ask at present."""

MAX_CONCURRENT: Final = 1000
MAX_REMEMBERED: Final = 10_000


class Forwarder:
    """Sends each question to the servers of the longest zone above it; the root's are for everything else.

    `sources` may change their mind: then what was remembered is forgotten, as other servers may know other names.
    """

    def __init__(
        self,
        sources: Mapping[Name, Source],
        rng: random.Random,
        now: Callable[[], float],
        make: Callable[[Sequence[Resolver], random.Random], Upstream] = Upstream,
        bounds: Lifetimes = Lifetimes(),  # noqa: B008  (frozen)
    ) -> None:
        self.rejected = self.asked = 0
        self.cache = AnswerCache(MAX_REMEMBERED, bounds, now)
        self._sources, self._rng, self._make = dict(sources), rng, make
        self._zones = sorted(sources, key=len, reverse=True)
        self._upstreams: dict[Name, Upstream] = {}
        self._flights: dict[tuple[Name, int, bool, bool], asyncio.Task[Answer | None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def ask(self, question: Question) -> Answer | None:
        """Return the answer: REFUSED beyond a thousand questions at once, None when there is nobody to ask."""
        folded = fold(question.name)
        upstream = self._upstream(folded)
        if upstream is None:
            return None
        known = self.cache.get(question)
        if known is not None:
            return _spelled(replace(known, authoritative=False), folded, question.name)
        if self._waiting >= MAX_CONCURRENT:
            self.rejected += 1
            return Answer(Rcode.REFUSED, authoritative=False)
        key = (folded, question.type, question.dnssec_ok, question.checking_disabled)
        flight = self._flights.get(key)
        if flight is None:
            self.asked += 1
            flight = asyncio.get_running_loop().create_task(self._fly(upstream, question))
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        self._waiting += 1
        try:
            answer = await asyncio.shield(flight)
        finally:
            self._waiting -= 1
        return None if answer is None else _spelled(answer, folded, question.name)

    async def _fly(self, upstream: Upstream, question: Question) -> Answer | None:
        answer = await upstream.ask(question)
        if answer is not None and upstream in self._upstreams.values():
            self.cache.put(question, answer)
        return answer

    def _upstream(self, folded: Name) -> Upstream | None:
        """Return whom to ask for a name, with the servers as they are named now."""
        zone = next((zone for zone in self._zones if below(folded, zone)), None)
        if zone is None:
            return None
        resolvers = tuple(self._sources[zone]())
        known = self._upstreams.get(zone)
        if known is None or known.resolvers != resolvers:
            if known is not None:
                self.cache.clear()
                task = asyncio.get_running_loop().create_task(known.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            known = self._upstreams[zone] = self._make(resolvers, self._rng)
        return known if resolvers else None

    def unwell(self) -> list[Resolver]:
        """Return the servers passed over at present."""
        return [resolver for upstream in self._upstreams.values() for resolver in upstream.unwell()]

    async def close(self) -> None:
        """Give up what is under way."""
        flights = [*self._flights.values(), *self._closing]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        for upstream in self._upstreams.values():
            await upstream.close()


def _spelled(answer: Answer, folded: Name, name: Name) -> Answer:
    """Return an answer with the asker's own spelling of its name."""

    def spell(record: Record) -> Record:
        return replace(record, owner=name) if record.owner != name and fold(record.owner) == folded else record

    return replace(answer, answer=tuple(map(spell, answer.answer)))
