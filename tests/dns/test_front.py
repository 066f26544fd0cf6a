"""Rewriting, static names, and what an emulated cache makes of time."""

import asyncio
import random

import dns.message
import pytest

from homeport.dns.hosts import read_hosts
from homeport.dns.lag import Lag
from homeport.dns.name import from_text
from homeport.dns.rewrite import parse_rewrite, rewritten
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings, Emulation
from tests.dns.test_zone import ask, summary, upstream
from tests.dns.worked import WORKED, endpoints
from tests.vectors.replay_dns import FixedClock, Monotonic, fill

RULES = ["exact:db.example=pg-rw.db.svc.cluster.local", "prefix:dev-=", "suffix:svc.test=svc.cluster.local"]
HOSTS = ["# comment", "192.0.2.7 gate.example gate  # two names", "2001:db8::7 gate.example"]


def server(**values: object) -> DnsServer:
    made = DnsServer(DnsSettings(**values), FixedClock(), random.Random(7), upstream)  # type: ignore[arg-type]
    fill(made, WORKED)
    made.synced()
    return made


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("db.example", "pg-rw.db.svc.cluster.local"),
        ("DB.Example", "pg-rw.db.svc.cluster.local"),
        ("x.db.example", None),
        ("dev-pg.db.svc.cluster.local", "pg.db.svc.cluster.local"),
        ("DEV-pg.db", "pg.db"),
        ("dev-", None),
        ("pg-0.PG.db.svc.test", "pg-0.PG.db.svc.cluster.local"),
        ("svc.test", "svc.cluster.local"),
        ("notsvc.test", None),
        ("", None),
    ],
)
def test_the_first_rule_that_concerns_a_name_rewrites_it(asked: str, meant: str | None) -> None:
    made = rewritten(from_text(asked), [parse_rewrite(rule) for rule in RULES])
    assert made == (None if meant is None else from_text(meant))


def test_a_rule_that_would_make_no_name_does_not_apply() -> None:
    long = ".".join(["a" * 60] * 4)
    assert rewritten(from_text(f"{long}.x"), [parse_rewrite(f"suffix:x={'b' * 60}")]) is None


@pytest.mark.parametrize("text", ["pg=x", "regex:a=b", "exact:a", "exact:=b", "prefix:a.b=c", "suffix:a..b=c"])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rewrite(text)


def test_an_answer_comes_under_the_name_asked_for() -> None:
    rewriting = server(rewrites=tuple(map(parse_rewrite, RULES)))
    reply = ask(rewriting, "pg-0.Pg.db.svc.TEST. A")
    assert (str(reply.answer[0].name), summary(reply)) == ("pg-0.Pg.db.svc.TEST.", "10.244.1.10")
    assert summary(ask(rewriting, "pg-9.pg.db.svc.test. A")) == "NXDOMAIN"


def test_a_rewritten_answer_ends_with_the_service_it_came_from() -> None:
    rewriting = server(rewrites=tuple(map(parse_rewrite, RULES)))
    assert summary(ask(rewriting, "pg-2.pg.db.svc.test. A")) == "NXDOMAIN"
    fill(rewriting, [endpoints("db", "pg", ("10.244.1.12", "pg-2", True), ports=(("pg", 5432),))])
    rewriting.changed([("db", "pg")])
    assert summary(ask(rewriting, "pg-2.pg.db.svc.test. A")) == "10.244.1.12"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("gate.example. A", "192.0.2.7"),
        ("GATE.example. AAAA", "2001:db8::7"),
        ("gate. A", "192.0.2.7"),
        ("gate. AAAA", "NODATA"),
        ("gate.example. TXT", "NODATA"),
        ("7.2.0.192.in-addr.arpa. PTR", "gate.example."),
        ("other.example. A", "REFUSED"),
        ("pg-rw.db A", "10.96.7.7"),
    ],
)
def test_static_names(question: str, expected: str) -> None:
    assert summary(ask(server(hosts=read_hosts(HOSTS)), question)) == expected


@pytest.mark.parametrize("line", ["nonsense", "192.0.2.7", "192.0.2.7 a..b"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=line.split()[0]):
        read_hosts([line])


def test_an_emulated_cache_is_late_by_its_lifetime_and_no_more() -> None:
    time = Monotonic()
    settings = DnsSettings(emulation=Emulation(cache=30, uncached=(from_text("in-addr.arpa"),)), ttl=30)
    late = DnsServer(settings, FixedClock(), random.Random(7), upstream, time)
    fill(late, WORKED)
    late.synced()
    seen = []
    for _ in range(2):
        seen.append((summary(ask(late, "pg-2.pg.db A")), summary(ask(late, "12.1.244.10.in-addr.arpa. PTR"))))
        fill(late, [endpoints("db", "pg", ("10.244.1.12", "pg-2", True), ports=(("pg", 5432),))])
        late.changed([("db", "pg")])
        time.now += 29
    time.now -= 28
    seen.append((summary(ask(late, "pg-2.pg.db A")), ""))
    both = "pg-2.pg.db.svc.cluster.local. 10-244-1-12.pg-peers.db.svc.cluster.local."
    assert seen[0][0] == seen[1][0] == "NXDOMAIN"
    assert seen[2][0] == "10.244.1.12"
    assert sorted(seen[1][1].split()) == sorted(both.split()), "an uncached zone is never late"


def test_nothing_is_late_unless_asked_for() -> None:
    assert server().cache is None
    assert not late_replies(server())
    assert late_replies(server(emulation=Emulation(cache=30)))


def late_replies(asked: DnsServer) -> bool:
    """Tell whether replies of the zone are kept out of the table that changes end."""
    query = dns.message.make_query("pg-0.pg.db.svc.cluster.local.", "A").to_wire()
    asyncio.run(asked.respond(query, False))
    return query[2:] not in asked.memo.table


@pytest.mark.virtual
async def test_lag_keeps_order_and_distance() -> None:
    loop, calls = asyncio.get_running_loop(), list[tuple[str, float]]()

    def note(name: str) -> None:
        calls.append((name, loop.time()))

    lag = Lag(2.0)
    for name in ("a", "b"):
        lag.call(lambda name=name: note(name))
    await asyncio.sleep(1)
    lag.call(lambda: note("c"))
    await asyncio.sleep(5)
    assert calls == [("a", 2.0), ("b", 2.0), ("c", 3.0)]
    Lag(0).call(lambda: note("d"))
    assert calls[-1] == ("d", 6.0)
