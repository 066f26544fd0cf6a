"""What a virtual address costs, and what a change costs, by number of Services. Needs nginx and wrk; root or not.

    python -m bench.balance [--seconds 1] [--rounds 5] [--services 10 10000] [--quick]

The baseline is the same server asked at its own address, in turns with the virtual one in the packet filter and with
one in user space, where this process joins the connections. Every Service has five endpoints. Everything happens in
network namespaces of its own.
"""

import argparse
import asyncio
import itertools
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import uvloop
from tests.proxy.world import SETTINGS, Pod, World, at

from bench.alone import OF_A_SERVICE, PODS, slice_of
from bench.inside import in_own_network
from bench.report import median, percentile, say, write
from homeport.garbage import collect_rarely
from homeport.proxy import codec, nftables
from homeport.proxy.balance import Balance
from homeport.proxy.model import Endpoint, Key, Service, ServicePort, ServiceRules, Target
from homeport.proxy.rules import decide, keep_places
from homeport.proxy.ruleset import Compiled

VIRTUAL, JOINED = "10.96.0.80", "10.96.0.82"
"""Addresses of the one server: in the packet filter, and in user space."""

PORT: Final = 8080
WAYS: Final = {"direct": "", "packet_filter": VIRTUAL, "user_space": JOINED}
NUMBERS: Final = itertools.count()
LARGE_BYTES: Final = 1 << 22
CHANGES: Final = 200
FORGET: Final = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait")
"""How many seconds this namespace remembers a connection that is over: two minutes of them would not fit."""

NGINX: Final = """
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; sendfile on;
  client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
  uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
  server {{ listen {port} backlog=4096; root {directory}; location = /small {{ return 200 "hello"; }} }}
}}
"""


async def output(command: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{command[0]} failed")
    return out.decode()


async def wrk(client: Pod, address: str, port: int, path: str, seconds: int, *headers: str) -> str:
    options = [word for header in headers for word in ("-H", header)]
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", *options, f"http://{address}:{port}{path}"]
    return await output(["nsenter", "--target", str(client.pid), "--net", *command])


def per_second(text: str) -> float:
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found, text
    return float(found[1])


async def traffic(world: World, server: Pod, seconds: int, rounds: int) -> dict[str, Any]:
    """Return requests, connections and bytes per second by each way in turns, and what each is to the direct one.

    Who goes first changes. Each turn has a client of its own: another's ports still wait in TIME_WAIT. `joining_us` is
    what user space costs: this process's microseconds of processor time for each request, connection and kilobyte.
    """
    samples: dict[str, dict[str, list[float]]] = {}
    costs: dict[str, list[float]] = {}
    for turn in range(rounds):
        for way, virtual in [*WAYS.items()][turn % len(WAYS) :] + [*WAYS.items()][: turn % len(WAYS)]:
            client = await world.pod(f"client-{next(NUMBERS)}")
            address, port = (virtual, 80) if virtual else (server.address, PORT)
            for name, path, headers, unit in (
                ("requests_per_second", "/small", (), 1.0),
                ("connections_per_second", "/small", ("Connection: close",), 1.0),
                ("gigabytes_per_second", "/large", (), LARGE_BYTES / 1e9),
            ):
                before = time.process_time()
                rate = per_second(await wrk(client, address, port, path, seconds, *headers))
                samples.setdefault(name, {}).setdefault(way, []).append(rate * unit)
                if way == "user_space":
                    used = (time.process_time() - before) / (rate * seconds) * 1e6
                    per = {"gigabytes_per_second": "kilobyte"}.get(name, name.removesuffix("s_per_second"))
                    costs.setdefault(per, []).append(used / (LARGE_BYTES / 1e3 if per == "kilobyte" else 1))
    found: dict[str, Any] = {}
    for name, ways in samples.items():
        found[name] = {way: median(values) for way, values in ways.items()}
        found[name] |= {
            f"{way}_to_direct": median([v / d for v, d in zip(values, ways["direct"], strict=True)])
            for way, values in ways.items()
            if way != "direct"
        }
        say(f"{name}: {found[name]}")
    return {**found, "joining_us": {name: median(values) for name, values in costs.items()}}


def filler(number: int, moved: IPv4Address | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a Service as the API has it, and its endpoints; with `moved` the first of them is there."""
    name = f"svc-{number}"
    address = str(IPv4Address("10.96.16.0") + number)
    spec = {
        "type": "ClusterIP",
        "clusterIP": address,
        "clusterIPs": [address],
        "ports": [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}],
    }
    service = {"metadata": {"namespace": "filler", "name": name}, "spec": spec}
    return service, slice_of(name, PODS + number * OF_A_SERVICE, moved)


def decided(service: dict[str, Any], endpoints: dict[str, Any], before: ServiceRules | None = None) -> ServiceRules:
    """Return what the proxy decides, from what the API has."""
    read = codec.service(service)
    assert read is not None
    return keep_places(
        before, decide(read, {port: codec.endpoints([endpoints], port) for port in read.ports}, SETTINGS)
    )


async def programming(world: World, services: int) -> dict[str, Any]:
    """Return milliseconds for all Services at once, step by step, and for one endpoint that changes among them."""
    trees = [filler(number) for number in range(services)]
    marks = [time.perf_counter()]
    rules = [decided(*one) for one in trees]
    marks.append(time.perf_counter())
    compiled: dict[Key, Compiled | None] = {one.key: nftables.compile_service(one) for one in rules}
    world.held.put(compiled)
    text = nftables.whole(world.held, SETTINGS)
    marks.append(time.perf_counter())
    await world.kernel.apply(text)
    marks.append(time.perf_counter())
    deciding, writing, applying = ((b - a) * 1000 for a, b in itertools.pairwise(marks))
    samples = []
    for change in range(CHANGES):
        number = change * 37 % services
        tree = filler(number, IPv4Address("10.64.0.0") + change)
        started = time.perf_counter()
        one = rules[number] = decided(*tree, rules[number])
        await world.program({one.key: nftables.compile_service(one)})
        samples.append((time.perf_counter() - started) * 1000)
    found = {
        "all_at_once_ms": {
            "deciding": median([deciding]),
            "writing_the_rules": median([writing]),
            "in_the_kernel": median([applying]),
            "sum": median([deciding + writing + applying]),
        },
        "one_endpoint_ms": {"median": median(samples), "p99": percentile(samples, 0.99)},
    }
    say(f"{services:,} Services: {found}")
    return found


async def large(world: World, endpoints: int = 1000) -> dict[str, float]:
    """Return milliseconds for one endpoint that is replaced among those of one large Service."""
    service = Service(("default", "large"), (ServicePort("", "tcp", 80),), (IPv4Address("10.96.0.81"),))
    first = IPv4Address("10.244.128.0")
    rules, samples = None, []
    for shift in range(CHANGES):
        found = [Endpoint(Target(first + n, PORT)) for n in range(endpoints) if n != shift * 19]
        started = time.perf_counter()
        rules = keep_places(rules, decide(service, dict.fromkeys(service.ports, found), SETTINGS))
        await world.program({service.key: nftables.compile_service(rules)})
        samples.append((time.perf_counter() - started) * 1000)
    return {"first_ms": median(samples[:1]), "one_endpoint_ms": median(samples[1:])}


async def attachments(directory: Path, count: int = 20) -> dict[str, float]:
    """Return milliseconds to connect a sandbox to the network."""
    async with World(directory) as world:
        holders = [world.spawn(["unshare", "--net", "sh", "-c", "echo ready; exec cat"]) for _ in range(count)]
        samples = []
        for number, holder in enumerate(holders):
            assert holder.stdout
            holder.stdout.readline()
            started = time.perf_counter()
            await world.network.attach(f"pod-{number}", holder.pid)
            samples.append((time.perf_counter() - started) * 1000)
        return {"median_ms": median(samples), "worst_ms": median([max(samples)])}


async def measure(seconds: int, rounds: int, sizes: Sequence[int]) -> Mapping[str, Any]:
    results: dict[str, Any] = {}
    collect_rarely()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "large").write_bytes(b"x" * LARGE_BYTES)
        (directory / "nginx.conf").write_text(NGINX.format(directory=directory, port=PORT))
        async with World(directory / "leases") as world:
            client, server = await world.pod("client"), await world.pod("server")
            nginx = ["nginx", "-p", name, "-c", f"{name}/nginx.conf"]
            world.spawn(["nsenter", "--target", str(server.pid), "--net", *nginx])
            await answering(client, server)
            web = Service(("default", "web"), (ServicePort("", "tcp", 80),), (IPv4Address(VIRTUAL),))
            joined = replace(
                web,
                key=("default", "joined"),
                cluster_addresses=(IPv4Address(JOINED),),
                balance=Balance.LEAST_CONNECTIONS,
            )
            await world.set(web, at(server, PORT))
            await world.set(joined, at(server, PORT))
            FORGET.write_text("1")
            for services in sizes:
                set_up = await programming(world, services)
                results[str(services)] = {**set_up, **await traffic(world, server, seconds, rounds)}
            of_one = await large(world)
        attaching = await attachments(directory / "attachments")
    return {"by_services": results, "one_service_of_1000": of_one, "attach": attaching}


async def answering(client: Pod, server: Pod) -> None:
    for _ in range(100):
        if await client.ask(server.address, PORT) != {"refused": 1}:
            return
        await asyncio.sleep(0.05)
    raise SystemExit("nginx does not answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--services", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--quick", action="store_true", help="one round, few Services; nothing is written")
    options = parser.parse_args()
    if not in_own_network("bench.balance"):
        return
    rounds, sizes = (1, [10, 100]) if options.quick else (options.rounds, options.services)
    write("balance", uvloop.run(measure(options.seconds, rounds, sizes)), quick=options.quick)


if __name__ == "__main__":
    main()
