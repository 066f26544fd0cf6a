"""Lifetimes by RFC 2308, counted down, and bounded."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from homeport.dns.answercache import AnswerCache, Lifetimes, lifetime
from homeport.dns.records import Answer, Question, Rcode, Record, RRType, address_record

NAME = (b"www", b"example", b"net")
ASKED = Question(NAME, RRType.A)
BOUNDS = Lifetimes(present=100, absent=50)


def address(ttl: int) -> Record:
    return address_record(NAME, ip_address("192.0.2.1"), ttl)


def soa(ttl: int, minimum: int) -> Record:
    numbers = b"".join(number.to_bytes(4, "big") for number in (1, 2, 3, 4, minimum))
    return Record(NAME[1:], RRType.SOA, ttl, ((b"ns",), (b"root",), numbers))


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(answer=(address(30),)), 30),
        (Answer(answer=(address(30), address(20))), 20),
        (Answer(answer=(address(9000),)), 100),
        (Answer(answer=(address(0),)), None),
        (Answer(answer=(address(30),), truncated=True), None),
        (Answer(Rcode.NXDOMAIN, authority=(soa(40, 10),)), 10),
        (Answer(Rcode.NXDOMAIN, authority=(soa(8, 10),)), 8),
        (Answer(Rcode.NXDOMAIN, authority=(soa(400, 900),)), 50),
        (Answer(authority=(soa(40, 10),)), 10),
        (Answer(Rcode.NXDOMAIN), None),
        (Answer(), None),
        (Answer(Rcode.SERVFAIL), None),
        (Answer(Rcode.REFUSED), None),
    ],
)
def test_lifetimes(answer: Answer, seconds: int | None) -> None:
    assert lifetime(answer, BOUNDS) == seconds


def test_the_least_lifetime_is_told_too() -> None:
    cache = AnswerCache(10, Lifetimes(least=5), Time())
    assert cache.put(ASKED, Answer(answer=(address(0),))).answer[0].ttl == 5


def test_what_is_kept_counts_down_and_ends() -> None:
    time = Time()
    cache = AnswerCache(10, BOUNDS, time)
    cache.put(ASKED, Answer(answer=(address(30),)))
    seen = []
    for _ in range(4):
        found = cache.get(ASKED)
        seen.append(found.answer[0].ttl if found else None)
        time.now += 10.25
    assert seen == [30, 20, 10, None]
    assert (cache.hits, cache.misses, len(cache)) == (3, 1, 0)


def test_spelling_does_not_matter_flags_and_types_do() -> None:
    cache = AnswerCache(10, BOUNDS, Time())
    cache.put(ASKED, Answer(answer=(address(30),)))
    assert cache.get(Question((b"WWW", b"Example", b"net"), RRType.A)) is not None
    assert cache.get(Question(NAME, RRType.AAAA)) is None
    assert cache.get(replace(ASKED, dnssec_ok=True)) is None
    assert cache.get(replace(ASKED, checking_disabled=True)) is None


def test_the_longest_unused_leaves_first() -> None:
    cache = AnswerCache(2, BOUNDS, Time())
    first, second, third = (Question((label,), RRType.A) for label in (b"a", b"b", b"c"))
    for question in (first, second):
        cache.put(question, Answer(answer=(address(30),)))
    cache.get(first)
    cache.put(third, Answer(answer=(address(30),)))
    assert [cache.get(question) is not None for question in (first, second, third)] == [True, False, True]
