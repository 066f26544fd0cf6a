"""What a virtual address costs, and what a change costs, by number of Services. Needs nginx and wrk; root or not.

    python -m bench.balance [--seconds 1] [--rounds 3] [--services 10 1000]

The baseline is the same server asked at its own address, in turns with the virtual one. Everything happens in network
namespaces of its own.
"""

import argparse
import asyncio
import itertools
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from tests.proxy.world import SETTINGS, Pod, World, at

from bench.report import median, write
from homeport.proxy import nftables
from homeport.proxy.model import Endpoint, Service, ServicePort, Target
from homeport.proxy.rules import decide, keep_places
from homeport.proxy.ruleset import Compiled

VIRTUAL: Final = "10.96.0.80"
PORT: Final = 8080
NUMBERS: Final = itertools.count()
LARGE_BYTES: Final = 1 << 22
CHANGES: Final = 50
INSIDE: Final = "HOMEPORT_BENCH_INSIDE"

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
    """Return requests, connections and bytes per second, direct and virtual in turns.

    Each turn has a client of its own: another's ports still wait in TIME_WAIT.
    """
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for way, address, port in (("direct", server.address, PORT), ("virtual", VIRTUAL, 80)):
            client = await world.pod(f"client-{next(NUMBERS)}")
            small = per_second(await wrk(client, address, port, "/small", seconds))
            fresh = per_second(await wrk(client, address, port, "/small", seconds, "Connection: close"))
            large = per_second(await wrk(client, address, port, "/large", seconds)) * LARGE_BYTES / 1e9
            for name, value in (
                ("requests_per_second", small),
                ("connections_per_second", fresh),
                ("gigabytes_per_second", large),
            ):
                samples.setdefault(name, {}).setdefault(way, []).append(value)
    return {
        name: {
            **{way: median(values) for way, values in ways.items()},
            "virtual_to_direct": median([v / d for v, d in zip(ways["virtual"], ways["direct"], strict=True)]),
        }
        for name, ways in samples.items()
    }


def filler(number: int, shift: int) -> tuple[Service, list[Endpoint]]:
    """A Service with three endpoints, one of which moves with `shift`."""
    service = Service(
        ("filler", f"svc-{number}"),
        (ServicePort("http", "tcp", 80),),
        (IPv4Address("10.96.16.0") + number,),
    )
    first = IPv4Address("10.244.64.0") + number * 4
    addresses = (first, first + 1, IPv4Address("10.244.200.0") + shift)
    return service, [Endpoint(Target(address, PORT), node="here") for address in addresses]


def compiled(service: Service, endpoints: Sequence[Endpoint]) -> Compiled:
    return nftables.compile_service(decide(service, dict.fromkeys(service.ports, endpoints), SETTINGS))


async def changes(world: World, services: int) -> dict[str, float]:
    """Return milliseconds for all Services at once, and for one endpoint that changes among them."""
    started = time.perf_counter()
    fillers = {filler(number, 0)[0].key: compiled(*filler(number, 0)) for number in range(services)}
    await world.program(fillers)
    whole = time.perf_counter() - started
    samples = []
    for shift in range(1, CHANGES + 1):
        service, endpoints = filler(shift * 37 % services, shift)
        started = time.perf_counter()
        await world.program({service.key: compiled(service, endpoints)})
        samples.append((time.perf_counter() - started) * 1000)
    return {
        "all_at_once_ms": median([whole * 1000]),
        "one_endpoint_ms": median(samples),
        "one_endpoint_p95_ms": median([sorted(samples)[CHANGES * 95 // 100]]),
    }


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
            await world.set(web, at(server, PORT))
            for services in sizes:
                programming = await changes(world, services)
                results[str(services)] = {**programming, **await traffic(world, server, seconds, rounds)}
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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--services", type=int, nargs="+", default=[10, 1000])
    options = parser.parse_args()
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", *mapped, "--net", sys.executable, "-m", "bench.balance", *sys.argv[1:]]
        os.execvp(command[0], command)
    write("balance", asyncio.run(measure(options.seconds, options.rounds, options.services)))


if __name__ == "__main__":
    main()
