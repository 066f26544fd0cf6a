"""The worked zone, question by question."""

import asyncio
import random

import dns.message
import dns.rcode
import pytest

from homeport.dns.message import parse_message
from homeport.dns.records import Answer, Question
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from tests.dns.worked import WORKED, endpoints
from tests.vectors.replay_dns import FixedClock, fill

SUFFIX = "svc.cluster.local."

TABLE = [
    ("pg.db A", "10.244.1.10 10.244.1.11"),
    ("pg.db AAAA", "NODATA"),
    ("pg-0.pg.db A", "10.244.1.10"),
    ("pg-2.pg.db A", "NXDOMAIN"),
    ("10-244-1-10.pg.db A", "NXDOMAIN"),
    ("pg-peers.db A", "10.244.1.10 10.244.1.11 10.244.1.12"),
    ("pg-2.pg-peers.db A", "NXDOMAIN"),
    ("10-244-1-12.pg-peers.db A", "10.244.1.12"),
    ("_pg._tcp.pg.db SRV", f"0 50 5432 pg-0.pg.db.{SUFFIX}|0 50 5432 pg-1.pg.db.{SUFFIX}"),
    ("pg.db SRV", f"0 50 5432 pg-0.pg.db.{SUFFIX}|0 50 5432 pg-1.pg.db.{SUFFIX}"),
    ("pg-0.pg.db SRV", f"0 100 5432 pg-0.pg.db.{SUFFIX}"),
    ("_pg._udp.pg.db SRV", "NXDOMAIN"),
    ("_pg._tcp.pg.db A", "10.244.1.10 10.244.1.11"),
    ("pg-rw.db A", "10.96.7.7"),
    ("pg-rw.db SRV", f"0 50 5432 pg-rw.db.{SUFFIX}|0 50 9100 pg-rw.db.{SUFFIX}"),
    ("_metrics._tcp.pg-rw.db SRV", f"0 100 9100 pg-rw.db.{SUFFIX}"),
    ("pg-0.pg-rw.db A", "NXDOMAIN"),
    ("10-244-1-10.pg-rw.db A", "10.244.1.10"),
    ("_metrics._tcp.10-244-1-10.pg-rw.db SRV", "NXDOMAIN"),
    ("dual.web A", "10.96.3.3"),
    ("dual.web AAAA", "fd00:96::33"),
    ("_http._tcp.dual.web SRV", f"0 50 80 dual.web.{SUFFIX}"),
    ("idle.web A", "10.96.9.9"),
    ("_http._tcp.idle.web SRV", "NXDOMAIN"),
    ("noport.web A", "10.244.2.5"),
    ("noport.web SRV", "NODATA"),
    ("10-244-2-5.noport.web A", "10.244.2.5"),
    ("empty.web A", "NXDOMAIN"),
    ("empty.web TXT", "NXDOMAIN"),
    ("ext.web A", "www.example.net. 192.0.2.53"),
    ("ext.web CNAME", "www.example.net."),
    ("ext.web MX", "NODATA"),
    ("ext.web SRV", "NODATA"),
    ("foo.ext.web A", "NXDOMAIN"),
    ("extin.web A", f"pg-rw.db.{SUFFIX} 10.96.7.7"),
    ("extin.web AAAA", "NODATA"),
    ("extbad.web A", "NODATA"),
    ("extip.web A", "NXDOMAIN"),
    ("n.db0.web A", "10.9.0.1 10.9.0.2"),
    ("_c._tcp.db0.web SRV", f"0 50 9042 n.db0.web.{SUFFIX}"),
    ("nosuch.db A", "NXDOMAIN"),
    ("x.nons A", "NXDOMAIN"),
    ("db A", "NODATA"),
    ("*.db A", "NXDOMAIN"),
    ("dns-version.cluster.local. TXT", '"1.1.0"'),
    ("foo.cluster.local. NS", "NXDOMAIN"),
    ("1.0.96.10.in-addr.arpa. PTR", f"kubernetes.default.{SUFFIX}"),
    (
        "10.1.244.10.in-addr.arpa. PTR",
        f"10-244-1-10.pg-peers.db.{SUFFIX} 10-244-1-10.pg-rw.db.{SUFFIX} pg-0.pg.db.{SUFFIX}",
    ),
    ("12.1.244.10.in-addr.arpa. PTR", f"10-244-1-12.pg-peers.db.{SUFFIX}"),
    ("10-244-1-10.db.pod.cluster.local. A", "10.244.1.10"),
    ("1-2-3-4.db.pod.cluster.local. A", "1.2.3.4"),
    ("1-2-3-4.nons.pod.cluster.local. A", "NXDOMAIN"),
    ("fd00-244--5.db.pod.cluster.local. AAAA", "fd00:244::5"),
    ("www.example.org. A", "REFUSED"),
]


async def upstream(question: Question) -> Answer | None:
    if question.name != (b"www", b"example", b"net"):
        return None
    query = dns.message.make_query("www.example.net.", "A")
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text("www.example.net.", 300, "IN", "A", "192.0.2.53"))
    return parse_message(reply.to_wire())[1]


def served() -> DnsServer:
    server = DnsServer(DnsSettings(own_addresses=("10.96.0.10",)), FixedClock(), random.Random(7), upstream)
    fill(server, WORKED)
    server.synced()
    return server


def ask(server: DnsServer, text: str, *, tcp: bool = False) -> dns.message.Message:
    name, kind = text.split()
    absolute = name if name.endswith(".") else f"{name}.{SUFFIX}"
    wire = asyncio.run(server.respond(dns.message.make_query(absolute, kind).to_wire(), tcp))
    assert wire is not None
    return dns.message.from_wire(wire)


def summary(reply: dns.message.Message) -> str:
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    found = [str(rdata) for rrset in reply.answer for rdata in rrset]
    separator = "|" if any("SRV" in str(rrset) for rrset in reply.answer) else " "
    aliases = [text for text in found if text.endswith(".") and "PTR" not in str(reply.answer[0])]
    rest = sorted(text for text in found if text not in aliases)
    return separator.join(sorted(found) if separator == "|" else aliases + rest) or "NODATA"


@pytest.mark.parametrize(("question", "expected"), TABLE)
def test_worked_zone(question: str, expected: str) -> None:
    reply = ask(served(), question)
    assert summary(reply) == expected
    if expected in ("NODATA", "NXDOMAIN"):
        (soa,) = reply.authority
        assert soa.rdtype == dns.rdatatype.SOA
        assert soa.ttl == soa[0].minimum == 5


def test_the_askers_spelling_comes_back() -> None:
    reply = ask(served(), "_Pg._TcP.pG.Db.SvC.cLuStEr.LoCaL. SRV")
    assert str(reply.answer[0].name) == "_Pg._TcP.pG.Db.SvC.cLuStEr.LoCaL."
    assert str(reply.answer[0][0].target) == "pg-0.pg.db.svc.cLuStEr.LoCaL."


def test_a_pod_that_turns_ready_is_answered_next_and_moves_the_serial() -> None:
    server = served()
    before = ask(server, "pg-2.pg.db A").authority[0][0].serial
    fill(server, [endpoints("db", "pg", ("10.244.1.12", "pg-2", True), ports=(("pg", 5432),))])
    server.changed([("db", "pg")])
    assert summary(ask(server, "pg-2.pg.db A")) == "10.244.1.12"
    assert ask(server, "cluster.local. SOA").answer[0][0].serial > before


def test_every_address_comes_first_equally_often() -> None:
    server = served()
    query = dns.message.make_query(f"pg-peers.db.{SUFFIX}", "A").to_wire()
    asyncio.run(server.respond(query, False))
    kept = server.memo.table[query[2:]]
    first = [str(dns.message.from_wire(query[:2] + kept()).answer[0][0]) for _ in range(30)]
    assert {address: first.count(address) for address in set(first)} == {f"10.244.1.{n}": 10 for n in (10, 11, 12)}


def test_absence_is_not_claimed_before_the_first_sync() -> None:
    server = DnsServer(DnsSettings(), FixedClock(), random.Random(7), upstream)
    assert summary(ask(server, "web.shop A")) == "SERVFAIL"
    assert summary(ask(server, "cluster.local. A")) == "NODATA"
