"""Search lists, presentation, names, the memo, and the stub resolver."""

import asyncio
import random
import socket

import dns.message
import pytest

from homeport.dns.name import from_text, to_text
from homeport.dns.presentation import parse_type, rdata_text
from homeport.dns.records import Question, Record, RRType
from homeport.dns.search import candidates
from homeport.dns.settings import reverse_zone
from homeport.dns.upstream import Resolver, Upstream


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("web", "web.shop.svc.cluster.local."),
        ("web.shop", "web.shop.shop.svc.cluster.local."),
        ("web.shop.svc.cluster.local", "web.shop.svc.cluster.local."),
        ("web.", "web."),
        ("a.b.c.d.e.f", "a.b.c.d.e.f."),
    ],
)
def test_names_are_completed_as_in_a_pod(typed: str, first: str) -> None:
    assert to_text(candidates(typed, "shop", "cluster.local")[0]) == first


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record((), RRType.A, 5, (bytes((10, 0, 0, 1)),)), "10.0.0.1"),
        (Record((), RRType.AAAA, 5, (bytes(15) + b"\x01",)), "::1"),
        (Record((), RRType.SRV, 5, (b"\0\0\0\x64\x15\x38", from_text("db.local"))), "0 100 5432 db.local."),
        (Record((), RRType.TXT, 5, (b'\x03a"b',)), '"a\\"b"'),
        (Record((), RRType.CNAME, 5, (from_text("x.y"),)), "x.y."),
        (Record((), 999, 5, (b"\x01\x02",)), "\\# 2 0102"),
    ],
)
def test_data_reads_as_in_a_zone_file(record: Record, text: str) -> None:
    assert rdata_text(record) == text


@pytest.mark.parametrize(("text", "kind"), [("srv", 33), ("TYPE99", 99), ("A", 1)])
def test_types_by_word_and_number(text: str, kind: int) -> None:
    assert parse_type(text) == kind


def test_an_unknown_type_lists_the_known() -> None:
    with pytest.raises(ValueError, match="SRV"):
        parse_type("nonsense")


def test_odd_octets_are_escaped() -> None:
    assert to_text((b"a.b", b"\x07", b"c d")) == "a\\.b.\\007.c\\032d."


@pytest.mark.parametrize("text", ["a..b", "x" * 64, ".".join(["a" * 60] * 5)])
def test_names_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="not a domain name"):
        from_text(text)


@pytest.mark.parametrize(
    ("network", "zone"),
    [("10.96.0.0/16", "96.10.in-addr.arpa."), ("10.0.0.0/8", "10.in-addr.arpa."), ("fd00::/16", "0.0.d.f.ip6.arpa.")],
)
def test_reverse_zones_of_networks(network: str, zone: str) -> None:
    assert to_text(reverse_zone(network)) == zone


def test_a_network_between_labels_has_no_zone() -> None:
    with pytest.raises(ValueError, match="shorter prefix"):
        reverse_zone("10.96.0.0/12")


async def test_the_stub_resolver_takes_only_the_answer_to_its_question() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)

        async def serve() -> None:
            wire, peer = await loop.sock_recvfrom(server, 4096)
            query = dns.message.from_wire(wire)
            forged = dns.message.make_response(dns.message.make_query("evil.example.", "A", id=query.id))
            await loop.sock_sendto(server, forged.to_wire(), peer)
            reply = dns.message.make_response(query)
            reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.1"))
            await loop.sock_sendto(server, reply.to_wire(), peer)

        serving = asyncio.create_task(serve())
        upstream = Upstream([Resolver("127.0.0.1", server.getsockname()[1])], random.Random(1))
        answer = await upstream.ask(Question(from_text("www.example.com"), RRType.A))
        await serving
    assert answer is not None
    assert [rdata_text(record) for record in answer.answer] == ["192.0.2.1"]


async def test_without_servers_there_is_no_answer() -> None:
    assert await Upstream([], random.Random(1)).ask(Question(from_text("x"), RRType.A)) is None
