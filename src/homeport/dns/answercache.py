"""Answers kept for as long as their records may live, with lifetimes that count down. Source: RFC 2308, 3 and 5.

Two places use it: names of others, where keeping is right, and the emulated cache before the cluster's zone, where
being out of date is the point.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from homeport.dns.name import Name, fold
from homeport.dns.records import Answer, Question, Rcode, Record, RRType

__all__ = ["AnswerCache", "Lifetimes", "lifetime"]

_Key: TypeAlias = tuple[Name, int, bool, bool]
_KEPT: Final = (Rcode.NOERROR, Rcode.NXDOMAIN)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Bounds in seconds on how long answers are kept: none shorter than `least`, none longer than the others."""

    least: int = 0
    present: int = 3600
    absent: int = 300


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    stored: float
    seconds: int


def _minimum(soa: Record) -> int:
    """Return how long absence may be remembered by a zone's SOA: the lesser of its TTL and its last field."""
    numbers = soa.data[-1]
    assert isinstance(numbers, bytes)
    return min(soa.ttl, int.from_bytes(numbers[-4:], "big"))


def lifetime(answer: Answer, bounds: Lifetimes) -> int | None:
    """Return the seconds an answer may be kept, or None when it must not be: cut ones, failures, bare absence."""
    if answer.truncated or answer.rcode not in _KEPT:
        return None
    absent = answer.rcode == Rcode.NXDOMAIN or not answer.answer
    records = (*answer.answer, *answer.authority, *answer.additional)
    ttls = [record.ttl for record in records]
    if absent:
        zones = [record for record in answer.authority if record.type == RRType.SOA]
        if not zones:
            return None
        ttls.append(_minimum(zones[0]))
    seconds = min(max(min(ttls), bounds.least), bounds.absent if absent else bounds.present)
    return seconds or None


def _aged(records: tuple[Record, ...], ttl: int) -> tuple[Record, ...]:
    return tuple(replace(record, ttl=ttl) for record in records)


class AnswerCache:
    """At most `limit` answers, the longest unused leaving first. `now` gives seconds that never run backwards."""

    def __init__(self, limit: int, bounds: Lifetimes, now: Callable[[], float]) -> None:
        self.hits = self.misses = 0
        self._limit, self._bounds, self._now = limit, bounds, now
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question) -> Answer | None:
        """Return a kept answer, its records as long-lived as it still is itself."""
        key = _key(question)
        entry = self._entries.get(key)
        left = entry.seconds - int(self._now() - entry.stored) if entry is not None else 0
        if entry is None or left <= 0:
            if entry is not None:
                del self._entries[key]
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return _with_ttl(entry.answer, left)

    def put(self, question: Question, answer: Answer) -> Answer:
        """Keep an answer if it may be; return it as it is to be told."""
        seconds = lifetime(answer, self._bounds)
        if seconds is None:
            return answer
        self._entries[_key(question)] = _Entry(answer, self._now(), seconds)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)
        return _with_ttl(answer, seconds)

    def clear(self) -> None:
        self._entries.clear()


def _key(question: Question) -> _Key:
    return fold(question.name), question.type, question.dnssec_ok, question.checking_disabled


def _with_ttl(answer: Answer, ttl: int) -> Answer:
    return replace(
        answer,
        answer=_aged(answer.answer, ttl),
        authority=_aged(answer.authority, ttl),
        additional=_aged(answer.additional, ttl),
    )
