"""A DNS server with everything around it: the zone's feed, the servers behind it, sockets, status."""

import asyncio
import random
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from homeport.client.contract import Client
from homeport.client.informer import InformerFactory
from homeport.clock import Clock
from homeport.dns.feed import Feed
from homeport.dns.forward import Forwarder
from homeport.dns.metrics import Sample, render
from homeport.dns.options import DnsOptions
from homeport.dns.presentation import type_text
from homeport.dns.querylog import QueryLog
from homeport.dns.records import Rcode
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from homeport.dns.sockets import Sockets
from homeport.dns.status import StatusListener

__all__ = ["answer_promptly", "run_service", "samples"]

SWITCH_SECONDS: Final = 0.00005
"""How long the loop goes on once the thread that answers wants the interpreter. It takes it for microseconds."""


async def run_service(
    client: Client,
    settings: DnsSettings,
    options: DnsOptions,
    sockets: Sequence[Sockets],
    clock: Clock,
    rng: random.Random,
    *,
    tls: ssl.SSLContext | None = None,
    status: socket.socket | None = None,
    on_synced: Callable[[], None] = lambda: None,
) -> None:
    """Serve until cancelled; what the sockets hear is answered from the first moment on.

    `status` is a bound socket for the status page; `on_synced` is told that the first lists are in.
    """
    own = [one.resolver for one in sockets]
    forwarder = Forwarder(options.sources(own), rng, asyncio.get_running_loop().time)
    server = DnsServer(settings, clock, rng, forwarder.ask, log=QueryLog(clock) if options.log else None)
    factory = InformerFactory(client, rng)
    feed = Feed(factory, server)
    page = StatusListener(feed.missing, lambda: render(samples(server, forwarder)))
    try:
        if status is not None:
            await page.start(status)
        for one in sockets:
            await server.serve_udp(one.udp)
            await server.serve_tcp(one.tcp)
            if one.tls is not None:
                await server.serve_tcp(one.tls, tls)
        async with asyncio.TaskGroup() as group:
            group.create_task(factory.run())
            await feed.run()
            on_synced()
    finally:
        await page.close()
        await server.close()
        await forwarder.close()


def answer_promptly() -> None:
    """Let changes of the zone hold the thread that answers up no longer than they must.

    Concerns the whole process, so it is for a process to call. By default every answer that falls into a burst of
    changes waits five milliseconds.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def samples(server: DnsServer, forwarder: Forwarder) -> Iterator[Sample]:
    """Give everything worth watching of a server and what it forwards to."""
    counts, index, cache = server.counts, server.index, forwarder.cache
    yield _one("homeport_dns_kept_replies_total", "counter", "UDP replies given as they were kept.", server.given())
    yield Sample(
        "homeport_dns_made_replies_total",
        "counter",
        "Replies made, by transport, question type and response code.",
        {
            (("protocol", protocol), ("rcode", _rcode(code)), ("type", type_text(kind) if kind else "none")): count
            for (protocol, kind, code), count in counts.made.items()
        },
    )
    yield _one("homeport_dns_made_replies_seconds_total", "counter", "Time spent making replies.", counts.seconds)
    yield _one("homeport_dns_changes_total", "counter", "Changes of the zone.", counts.changes)
    yield _one("homeport_dns_serial", "gauge", "Serial of the zone.", index.serial)
    yield _one("homeport_dns_synced", "gauge", "1 once the first lists are in.", index.synced)
    yield Sample(
        "homeport_dns_objects",
        "gauge",
        "Objects the zone is made of.",
        {(("kind", kind),): count for kind, count in index.sizes().items()},
    )
    absent, present = len(server.memo.absent), len(server.memo.table)
    kept: dict[tuple[tuple[str, str], ...], float] = {(("of", "absent"),): absent, (("of", "present"),): present}
    yield Sample("homeport_dns_kept_replies", "gauge", "Replies kept in wire form.", kept)
    yield _one("homeport_dns_forwarded_total", "counter", "Questions sent to other servers.", forwarder.asked)
    yield _one(
        "homeport_dns_forward_rejected_total", "counter", "Questions refused for their number.", forwarder.rejected
    )
    yield _one("homeport_dns_cache_hits_total", "counter", "Names of others answered from memory.", cache.hits)
    yield _one("homeport_dns_cache_misses_total", "counter", "Names of others not found in memory.", cache.misses)
    yield _one("homeport_dns_cache_entries", "gauge", "Names of others in memory.", len(cache))
    yield _one("homeport_dns_upstreams_unwell", "gauge", "Servers passed over at present.", len(forwarder.unwell()))


def _one(name: str, kind: str, text: str, value: Any) -> Sample:
    return Sample(name, kind, text, {(): value})


def _rcode(code: int) -> str:
    try:
        return Rcode(code).name
    except ValueError:
        return str(code)
