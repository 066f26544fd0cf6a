"""The DNS server as it is measured: `python -m bench.dns_server RECORDS [--changes RATE] [--port PORT]`.

Prints what it listens on and what one change of one endpoint cost, as JSON on one line; then serves. With `--changes`
it goes on changing endpoints, so many a second, and prints how many it made when its input ends.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from homeport.clock import WallClock
from homeport.dns import objects
from homeport.dns.server import DnsServer
from homeport.dns.service import answer_promptly
from homeport.dns.settings import DnsSettings
from homeport.dns.sockets import LOOPBACK, open_sockets
from homeport.garbage import settle_heap

SLICE = 100
"""Endpoints of a slice, as the controller packs them."""

TICK_SECONDS = 0.002

TEN = 10
"""Endpoints of a second Service, the one asked for by SRV."""


def ten_tree() -> dict[str, Any]:
    """Return the slice of the Service `ten`."""
    return {
        "metadata": {"namespace": "db", "name": "ten-1", "labels": {"kubernetes.io/service-name": "ten"}},
        "addressType": "IPv4",
        "ports": [{"name": "pg", "port": 5432}],
        "endpoints": [{"addresses": [f"10.64.255.{n}"], "hostname": f"ten-{n}"} for n in range(TEN)],
    }


def slice_tree(number: int, size: int, version: int = 0) -> dict[str, Any]:
    """Return slice `number` of the one Service; `version` moves its first endpoint."""
    start = number * SLICE
    addresses = [f"10.{128 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(start, start + size)]
    if version:
        addresses[0] = f"10.64.{version // 256 % 256}.{version % 256}"
    return {
        "metadata": {
            "namespace": "db",
            "name": f"pg-{number:04}",
            "labels": {"kubernetes.io/service-name": "pg"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "pg", "port": 5432}],
        "endpoints": [{"addresses": [one], "hostname": f"pg-{start + n}"} for n, one in enumerate(addresses)],
    }


def put(server: DnsServer, tree: dict[str, Any]) -> None:
    """Take a slice in, as the feed does with an event."""
    part = objects.slice_of(tree)
    assert part is not None
    server.changed(server.index.put_slice(part))


def filled(records: int) -> DnsServer:
    async def nobody(_: Any) -> None:
        return None

    server = DnsServer(DnsSettings(), WallClock(), random.Random(1), nobody)
    server.index.put_namespace("db")
    for name in ("pg", "ten"):
        meta, spec = {"namespace": "db", "name": name}, {"clusterIP": "None", "ports": []}
        server.index.put_service(objects.service({"metadata": meta, "spec": spec}))
    put(server, ten_tree())
    for number in range((records + SLICE - 1) // SLICE):
        put(server, slice_tree(number, min(SLICE, records - number * SLICE)))
    server.synced()
    settle_heap()
    return server


def change_cost(server: DnsServer, records: int) -> dict[str, float]:
    """Return microseconds of the processor for one changed endpoint of a slice, from the event's tree to the zone."""
    taken = []
    for version in range(1, 201):
        tree = slice_tree(0, min(SLICE, records), version)
        started = time.thread_time()
        put(server, tree)
        taken.append((time.thread_time() - started) * 1e6)
    taken.sort()
    return {"p50": round(taken[100], 1), "p99": round(taken[198], 1)}


def versions() -> Iterator[int]:
    number = 1000
    while True:
        number += 1
        yield number


async def churn(server: DnsServer, rate: int, made: list[int]) -> None:
    """Change one endpoint of a slice of ten, `rate` times a second."""
    loop, numbers = asyncio.get_running_loop(), versions()
    started = loop.time()
    while True:
        due = int((loop.time() - started) * rate)
        while made[0] < due:
            put(server, slice_tree(9999, 10, next(numbers)))
            made[0] += 1
        await asyncio.sleep(TICK_SECONDS)


async def serve(records: int, changes: int, port: int) -> None:
    answer_promptly()
    server = filled(records)
    cost = change_cost(server, records)
    sockets = open_sockets(LOOPBACK, port, shared=bool(port))
    await server.serve_udp(sockets.udp)
    print(json.dumps({"port": sockets.resolver.port, "change_us": cost}), flush=True)
    loop, ended, made = asyncio.get_running_loop(), asyncio.Event(), [0]
    loop.add_reader(sys.stdin.fileno(), ended.set)
    task = loop.create_task(churn(server, changes, made)) if changes else None
    started = loop.time()
    await ended.wait()
    print(json.dumps({"changes_per_second": round(made[0] / (loop.time() - started))}), flush=True)
    if task is not None:
        task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int)
    parser.add_argument("--changes", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.records, arguments.changes, arguments.port))


if __name__ == "__main__":
    main()
