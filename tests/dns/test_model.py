"""Random clusters: the kept reply, the made one, the reply over TCP and a second opinion all say the same."""

import asyncio
import random
from typing import Any

import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.dns.feed import Feed
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings, Emulation
from tests.dns.model import meaning, rows
from tests.dns.worked import endpoints, external, namespace
from tests.dns.worked import service as worked_service
from tests.vectors.replay_dns import FixedClock

SPACES, NAMES, HOSTS = ("db", "web"), ("pg", "my", "ext"), ("pg-0", "pg-1", "")
PORTS = (
    {"name": "pg", "port": 5432, "protocol": "TCP"},
    {"name": "pg", "port": 6432, "protocol": "TCP"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "", "port": 80, "protocol": "TCP"},
)
ADDRESSES = ("10.244.0.1", "10.244.0.2", "10.244.0.3", "fd00:244::1")
CLUSTER = (["None"], ["10.96.0.1"], ["10.96.0.2", "fd00:96::2"])
READY = ({"ready": True}, {"ready": False}, {})
PREFIXES = ("", "pg-0.", "PG-1.", "10-244-0-1.", "fd00-244--1.", "_pg._tcp.", "_dns._UDP.", "_pg._udp.", "a.b.c.")
QUESTIONS = [
    *(
        (f"{prefix}{name}.{space}.svc", kind)
        for prefix in PREFIXES
        for name in NAMES
        for space in SPACES
        for kind in ("A", "AAAA", "SRV", "CNAME")
    ),
    *((name, kind) for name in ("db.svc", "nosuch.db.svc", "pod", "x.y.pod", "gone.svc") for kind in ("A", "SRV")),
]


def service(rng: random.Random) -> dict[str, Any]:
    where, name = rng.choice(SPACES), rng.choice(NAMES)
    if name == "ext":
        return external(where, name, "www.example.net")
    return {
        "kind": "Service",
        "metadata": {"namespace": where, "name": name},
        "spec": {"type": "ClusterIP", "clusterIPs": rng.choice(CLUSTER), "ports": [rng.choice(PORTS)]},
    }


def part(rng: random.Random) -> dict[str, Any]:
    endpoints = [
        {"addresses": [rng.choice(ADDRESSES)], "conditions": rng.choice(READY), "hostname": rng.choice(HOSTS)}
        for _ in range(rng.randint(0, 3))
    ]
    labels = {"kubernetes.io/service-name": rng.choice(NAMES[:2])}
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": rng.choice(SPACES), "name": rng.choice(("s1", "s2")), "labels": labels},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": rng.sample(PORTS[:2], 1) + rng.sample(PORTS[2:], rng.randint(0, 1)),
    }


def step(rng: random.Random, cluster: "Cluster") -> None:
    """Make one change: a new object, a small difference in one that is there, or one less."""
    there = list(cluster.objects.values())
    chosen = rng.choice(there)
    match rng.randint(0, 5):
        case 0:
            cluster.change(chosen, gone=True)
        case 1:
            cluster.change(namespace(rng.choice(SPACES)))
        case 2:
            cluster.change(service(rng))
        case 3 if chosen["kind"] == "EndpointSlice":
            cluster.change({**chosen, "ports": [rng.choice(PORTS)]})
        case 4 if chosen["kind"] == "EndpointSlice":
            moved = [{**one, "addresses": [rng.choice(ADDRESSES)]} for one in chosen["endpoints"]]
            cluster.change({**chosen, "endpoints": moved})
        case _:
            cluster.change(part(rng))


class _NoInformers:
    """Stands for the API: the test hands events to the feed itself."""

    def __init__(self) -> None:
        self.handlers: dict[str, dict[str, Any]] = {}

    def informer(self, kind: Any) -> "_Silent":
        return _Silent(self, kind.kind)


class _Silent:
    def __init__(self, owner: _NoInformers, kind: str) -> None:
        self.owner, self.kind = owner, kind
        self.synced = asyncio.Event()

    def add_handler(self, **handlers: Any) -> None:
        self.owner.handlers[self.kind] = handlers


async def nobody(_: Any) -> None:
    return None


class Cluster:
    """A server fed with events, and the objects there are now."""

    def __init__(self, settings: DnsSettings = DnsSettings(shuffle=False)) -> None:  # noqa: B008  (frozen)
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.server = DnsServer(settings, FixedClock(), random.Random(1), nobody)
        self.source = _NoInformers()
        Feed(self.source, self.server)  # type: ignore[arg-type]
        self.server.synced()

    def change(self, tree: dict[str, Any], *, gone: bool = False) -> None:
        key = tree["kind"], tree["metadata"].get("namespace", ""), tree["metadata"]["name"]
        old = self.objects.pop(key, None)
        handlers = self.source.handlers[tree["kind"]]
        if gone:
            if old is not None:
                handlers["delete"](old)
            return
        self.objects[key] = tree
        if old is None:
            handlers["add"](tree)
        else:
            handlers["update"](old, tree)

    async def ask(self, name: str, kind: str) -> dns.message.Message:
        query = dns.message.make_query(name, kind).to_wire()
        memo = self.server.memo
        known = memo.table.get(query[2:]) or memo.absent.get(query[2:])
        kept = query[:2] + known() if known else None
        made = await self.server.respond(query, False)
        again = (memo.table.get(query[2:]) or memo.absent.get(query[2:]) or (lambda: made[2:]))()
        (stream,) = await self.server.respond_stream(query)
        assert made is not None
        assert kept in (None, made), "a kept reply outlived a change"
        assert again == made[2:]
        reply = dns.message.from_wire(made)
        assert dns.message.from_wire(stream) == reply  # octets may differ: over UDP long replies are compressed
        return reply


def said(reply: dns.message.Message, kind: str) -> tuple[str, frozenset[str]]:
    found = []
    for rrset in reply.answer:
        for rdata in rrset:
            text = str(rdata)
            found.append(" ".join(text.split()[2:]) if kind == "SRV" else text)
    return dns.rcode.to_text(reply.rcode()), frozenset(found)


@given(st.integers(0, 1 << 32))
@settings(max_examples=15, deadline=None)
def test_all_opinions_are_one(seed: int) -> None:
    asyncio.run(_compare(random.Random(seed)))


async def _compare(rng: random.Random) -> None:
    cluster = Cluster()
    for space in SPACES:
        cluster.change(namespace(space))
        cluster.change(worked_service(space, "pg", ("pg", 5432)))
        cluster.change(worked_service(space, "my", ("pg", 5432), cluster="10.96.0.9"))
    asked = rng.sample(QUESTIONS, 50)
    for _ in range(20):
        step(rng, cluster)
        trees = list(cluster.objects.values())
        records = rows(trees)
        for short, kind in asked:
            name = f"{short}.cluster.local."
            reply = await cluster.ask(name, kind)
            expected = meaning(records, trees, name, kind)
            if kind in ("A", "AAAA") and meaning(records, trees, name, "CNAME")[1]:
                expected = ("NOERROR", frozenset({"www.example.net."}))
            assert said(reply, kind) == expected, (name, kind, trees)


@pytest.mark.virtual
async def test_a_lag_delays_endpoints_and_nothing_else() -> None:
    cluster = Cluster(DnsSettings(emulation=Emulation(lag=2.0)))
    cluster.change(namespace("db"))
    cluster.change(worked_service("db", "pg", ("pg", 5432)))
    cluster.change(worked_service("db", "my", ("pg", 5432), cluster="10.96.0.9"))
    cluster.change(endpoints("db", "pg", ("10.244.0.1", "pg-0", True), ports=(("pg", 5432),)))
    for expected in ("NXDOMAIN", "NXDOMAIN", "NOERROR"):
        assert said(await cluster.ask("my.db.svc.cluster.local.", "A"), "A")[0] == "NOERROR"
        assert said(await cluster.ask("pg-0.pg.db.svc.cluster.local.", "A"), "A")[0] == expected
        await asyncio.sleep(1.25)
