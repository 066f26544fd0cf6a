"""Other servers: who is asked, who is passed over, what is remembered. Virtual time, no sockets."""

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from homeport.dns.forward import MAX_CONCURRENT, Forwarder
from homeport.dns.hostconf import HostResolvers, read_resolvers
from homeport.dns.message import Header
from homeport.dns.name import from_text
from homeport.dns.records import Answer, Question, Rcode, RRType, address_record
from homeport.dns.upstream import Resolver, Upstream

FIRST, SECOND = Resolver("192.0.2.1"), Resolver("192.0.2.2")
WWW = Question(from_text("www.example.net"), RRType.A)


class Servers:
    """Other servers, each answering, refusing or silent; remembers who was asked what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Question]] = []
        self.silent: set[Resolver] = set()
        self.codes: dict[Resolver, Rcode] = {}
        self.gate: asyncio.Event | None = None

    async def exchange(self, resolver: Resolver, question: Question, _: random.Random) -> tuple[Header, Answer]:
        self.asked.append((resolver.host, question))
        if resolver in self.silent:
            await asyncio.get_running_loop().create_future()
        if self.gate is not None:
            await self.gate.wait()
        code = self.codes.get(resolver, Rcode.NOERROR)
        found = (address_record(question.name, ip_address("198.51.100.7"), 60),) if code is Rcode.NOERROR else ()
        return Header(0, 0x8000 | code, (1, len(found), 0, 0)), Answer(code, found, authoritative=False)

    def upstream(self, resolvers: Sequence[Resolver], rng: random.Random) -> Upstream:
        return Upstream(resolvers, rng, self.exchange)

    @property
    def hosts(self) -> list[str]:
        return [host for host, _ in self.asked]


def forwarder(servers: Servers, **zones: Sequence[Resolver]) -> Forwarder:
    sources = {from_text(zone.replace("_", ".")): (lambda found=found: found) for zone, found in zones.items()}
    return Forwarder(sources, random.Random(1), asyncio.get_running_loop().time, servers.upstream)


pytestmark = pytest.mark.virtual


async def test_the_longest_zone_decides_who_is_asked() -> None:
    servers = Servers()
    asking = Forwarder(
        {(): lambda: [FIRST], from_text("corp.example"): lambda: [SECOND]},
        random.Random(1),
        asyncio.get_running_loop().time,
        servers.upstream,
    )
    for text in ("www.example", "corp.example", "db.CORP.example", "notcorp.example"):
        await asking.ask(Question(from_text(text), RRType.A))
    assert servers.hosts == [FIRST.host, SECOND.host, SECOND.host, FIRST.host]
    await asking.close()


async def test_without_servers_there_is_no_answer() -> None:
    servers = Servers()
    assert await forwarder(servers, corp=[FIRST]).ask(WWW) is None
    asking = Forwarder({(): list}, random.Random(1), asyncio.get_running_loop().time, servers.upstream)
    assert await asking.ask(WWW) is None


async def test_a_silent_server_is_passed_over_until_a_probe_finds_it_well() -> None:
    servers = Servers()
    servers.silent = {FIRST}
    upstream = Upstream([FIRST, SECOND], random.Random(1), servers.exchange)
    loop = asyncio.get_running_loop()
    for _ in range(3):
        answer = await upstream.ask(WWW)
        assert answer is not None
        assert answer.answer
    assert servers.hosts == [FIRST.host, SECOND.host] * 2 + [SECOND.host]
    assert (loop.time(), upstream.unwell()) == (4.0, (FIRST,))
    servers.silent.clear()
    await asyncio.sleep(10)
    assert upstream.unwell() == ()
    servers.asked.clear()
    await upstream.ask(WWW)
    assert servers.hosts == [FIRST.host]
    await upstream.close()


async def test_when_all_are_passed_over_all_are_tried() -> None:
    servers = Servers()
    servers.silent = {FIRST, SECOND}
    upstream = Upstream([FIRST, SECOND], random.Random(1), servers.exchange)
    for _ in range(3):
        answer = await upstream.ask(WWW)
        assert answer is not None
        assert answer.rcode == Rcode.SERVFAIL
    assert upstream.unwell() == (FIRST, SECOND)
    servers.silent.clear()
    answer = await upstream.ask(WWW)
    assert answer is not None
    assert answer.answer
    await upstream.close()


@pytest.mark.parametrize("code", [Rcode.SERVFAIL, Rcode.REFUSED, Rcode.NOTIMP])
async def test_a_server_that_cannot_say_is_followed_by_one_that_can(code: Rcode) -> None:
    servers = Servers()
    servers.codes = {FIRST: code}
    answer = await Upstream([FIRST, SECOND], random.Random(1), servers.exchange).ask(WWW)
    assert answer is not None
    assert answer.rcode == Rcode.NOERROR
    servers.codes = {FIRST: code, SECOND: code}
    answer = await Upstream([FIRST, SECOND], random.Random(1), servers.exchange).ask(WWW)
    assert answer is not None
    assert answer.rcode == code


async def test_answers_are_remembered_in_the_askers_spelling() -> None:
    servers = Servers()
    asking = forwarder(servers, **{"": [FIRST]})
    first = await asking.ask(WWW)
    await asyncio.sleep(10)
    shouted = await asking.ask(replace(WWW, name=from_text("WWW.Example.NET")))
    assert first is not None
    assert shouted is not None
    assert (len(servers.asked), first.answer[0].ttl, shouted.answer[0].ttl) == (1, 60, 50)
    assert shouted.answer[0].owner == from_text("WWW.Example.NET")
    await asyncio.sleep(50)
    await asking.ask(WWW)
    assert len(servers.asked) == 2


async def test_equal_questions_at_once_are_asked_once() -> None:
    servers = Servers()
    servers.gate = asyncio.Event()
    asking = forwarder(servers, **{"": [FIRST]})
    waiting = [asyncio.create_task(asking.ask(WWW)) for _ in range(5)]
    await asyncio.sleep(0.1)
    waiting[0].cancel()
    servers.gate.set()
    answers = await asyncio.gather(*waiting[1:])
    assert all(answer is not None and answer.answer for answer in answers)
    assert len(servers.asked) == 1
    await asking.close()


async def test_beyond_a_thousand_at_once_is_refused() -> None:
    servers = Servers()
    servers.gate = asyncio.Event()
    asking = forwarder(servers, **{"": [FIRST]})
    names = [Question((f"h{number}".encode(),), RRType.A) for number in range(MAX_CONCURRENT)]
    waiting = [asyncio.create_task(asking.ask(name)) for name in names]
    await asyncio.sleep(0.1)
    refused = await asking.ask(WWW)
    assert refused is not None
    assert (refused.rcode, asking.rejected) == (Rcode.REFUSED, 1)
    servers.gate.set()
    await asyncio.gather(*waiting)
    answer = await asking.ask(WWW)
    assert answer is not None
    assert answer.rcode == Rcode.NOERROR
    await asking.close()


async def test_other_servers_are_asked_as_soon_as_the_file_names_them(tmp_path: Path) -> None:
    servers = Servers()
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.1\n")
    host = HostResolvers(conf)
    asking = Forwarder({(): host.current}, random.Random(1), asyncio.get_running_loop().time, servers.upstream)
    await asking.ask(WWW)
    fresh = tmp_path / "fresh"
    fresh.write_text("nameserver 192.0.2.2\n")
    os.replace(fresh, conf)
    await asking.ask(WWW)
    assert servers.hosts == [FIRST.host, SECOND.host]
    conf.unlink()
    assert await asking.ask(WWW) is None
    await asking.close()


def test_a_resolv_conf_is_read_for_addresses_alone() -> None:
    text = "# nameserver 1.1.1.1\nsearch a b\n nameserver 192.0.2.1 \nnameserver fe80::1%eth0\nnameserver nonsense\n"
    assert read_resolvers(text) == [Resolver("192.0.2.1"), Resolver("fe80::1%eth0")]


def test_a_server_never_asks_itself(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nnameserver 192.0.2.1\n")
    assert HostResolvers(conf, [Resolver("127.0.0.1")]).current() == (FIRST,)
