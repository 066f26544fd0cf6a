"""Whole zones, as a secondary would take them."""

import random

import dns.message
import dns.rcode
import dns.rrset
import pytest

from homeport.dns import objects
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from tests.dns.test_zone import upstream
from tests.dns.worked import WORKED, endpoints
from tests.vectors.replay_dns import FixedClock, fill


def giving(**values: object) -> DnsServer:
    settings = DnsSettings(transfer=True, own_addresses=("10.96.0.10",), **values)  # type: ignore[arg-type]
    made = DnsServer(settings, FixedClock(), random.Random(7), upstream)
    fill(made, WORKED)
    made.synced()
    return made


async def take(server: DnsServer, name: str, kind: str = "AXFR", since: int | None = None) -> list[dns.message.Message]:
    query = dns.message.make_query(name, kind)
    if since is not None:
        query.authority.append(dns.rrset.from_text(name, 0, "IN", "SOA", f". . {since} 0 0 0 0"))
    return [dns.message.from_wire(wire, one_rr_per_rrset=True) for wire in await server.respond_stream(query.to_wire())]


def lines(messages: list[dns.message.Message]) -> list[str]:
    return [str(rrset) for message in messages for rrset in message.answer]


async def test_every_record_of_the_zone_answers_its_own_question() -> None:
    server = giving()
    records = lines(await take(server, "cluster.local."))
    assert records[0] == records[-1]
    assert " SOA " in records[0]
    for record in records[1:-1]:
        owner, _, _, kind, *data = record.split()
        if owner.startswith("ns.dns") or kind in ("NS", "CNAME"):
            continue
        wire = await server.respond(dns.message.make_query(owner, kind).to_wire(), True)
        assert wire is not None
        found = [str(rdata) for rrset in dns.message.from_wire(wire).answer for rdata in rrset]
        drop = 2 if kind == "SRV" else 0  # weights are shared out per question
        assert " ".join(data[drop:]) in [" ".join(text.split()[drop:]) for text in found], record


async def test_a_reverse_zone_holds_pointers() -> None:
    records = lines(await take(giving(), "in-addr.arpa."))
    assert "1.0.96.10.in-addr.arpa. 5 IN PTR kubernetes.default.svc.cluster.local." in records
    assert "10.1.244.10.in-addr.arpa. 5 IN PTR pg-0.pg.db.svc.cluster.local." in records


async def test_a_secondary_that_is_up_to_date_gets_one_soa() -> None:
    server = giving()
    current = server.index.serial
    assert len(lines(await take(server, "cluster.local.", "IXFR", current))) == 1
    assert len(lines(await take(server, "cluster.local.", "IXFR", current - 1))) > 10
    assert len(lines(await take(server, "cluster.local.", "IXFR", (current - 1) & 0xFFFFFFFF))) > 10


@pytest.mark.parametrize(
    ("name", "code"), [("db.svc.cluster.local.", dns.rcode.NOTAUTH), ("example.net.", dns.rcode.REFUSED)]
)
async def test_only_served_zones_are_given(name: str, code: int) -> None:
    (reply,) = await take(giving(), name)
    assert (reply.rcode(), reply.answer) == (code, [])


async def test_nothing_is_given_unless_asked_for() -> None:
    server = DnsServer(DnsSettings(), FixedClock(), random.Random(7), upstream)
    (reply,) = await take(server, "cluster.local.")
    assert reply.rcode() == dns.rcode.REFUSED


async def test_a_large_zone_comes_in_several_messages() -> None:
    server = giving()
    for number in range(60):
        found = ((f"10.1.{number}.{n}", f"p-{number}-{n}", True) for n in range(1, 60))
        tree = endpoints("db", "pg", *found, ports=(("pg", 5432),))
        tree["metadata"]["name"] = f"pg-{number + 2}"
        part = objects.slice_of(tree)
        assert part is not None
        server.index.put_slice(part)
    messages = await take(server, "cluster.local.")
    assert len(messages) > 2
    records = lines(messages)
    assert (records[0], len(records)) == (records[-1], len(set(records)) + 1)
    assert sum(" A 10.1." in record for record in records) == 2 * 60 * 59
