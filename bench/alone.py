"""`homeport dns` and `homeport proxy` by themselves, clients of an API server over HTTPS, among many endpoints.

    python -m bench.alone [--endpoints 10 1000 10000 50000] [--changes 200] [--quick]

Needs nftables; root or not. Every Service has five endpoints, so 50,000 endpoints are 10,000 Services. Measured, per
number of endpoints, each program a process of its own in a network namespace made for this:

memory       resident MB of the program, and how much of it is more than with ten endpoints
start        seconds from the start of the program until it answers, or until all rules are in the kernel
one change   milliseconds from sending the API the write that moves one endpoint until the kernel has the new rules, or
             until DNS answers with it; the baseline is the write's own answer, and the same among ten endpoints
"""

import argparse
import asyncio
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from bench.inside import in_own_network
from bench.report import median, percentile, say, write
from homeport.api.resources import find
from homeport.client.http import HttpTransport
from homeport.client.rest import RestClient
from homeport.client.settings import unix_settings
from homeport.dns.exchange import encode_query
from homeport.dns.message import Query
from homeport.dns.name import from_text
from homeport.dns.records import Question, RRType
from homeport.netlink import NETFILTER
from homeport.proxy.health import PROXY_HEALTH_PORT

SERVICES, SLICES, NAMESPACES = find("Service"), find("EndpointSlice", "discovery.k8s.io"), find("Namespace")
OF_A_SERVICE: Final = 5
PATIENCE_SECONDS: Final = 30.0
AT_ONCE: Final = 64
"""Writes under way while the API is filled."""

PODS, MOVED = IPv4Address("10.128.0.0"), IPv4Address("10.64.0.0")
_GROUP_NFTABLES, _ADD_MEMBERSHIP, _SOL_NETLINK = 7, 1, 270
_NEW_GENERATION: Final = 0x0A00 | 15
"""Numbers of Linux `include/uapi/linux/netfilter/nf_tables.h` and `nfnetlink.h`."""


def service(name: str, *, headless: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    if headless:
        spec["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def slice_of(name: str, first: IPv4Address, moved: IPv4Address | None = None) -> dict[str, Any]:
    """Return the endpoints of a Service; with `moved`, the first of them is there instead."""
    addresses = [moved or first, *(first + number for number in range(1, OF_A_SERVICE))]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [str(address)],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "hostname": f"{name}-{number}",
                "nodeName": "node",
                "targetRef": {"kind": "Pod", "namespace": "db", "name": f"{name}-{number}"},
            }
            for number, address in enumerate(addresses)
        ],
    }


def resident(pid: int) -> float:
    """Return the MB a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024 / 1e6


class Transactions:
    """The packet filter's transactions, as they are done."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)

    async def next(self) -> None:
        """Return once another transaction is done. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                data = await loop.sock_recv(self._socket, 1 << 16)
                if struct.unpack_from("=H", data, 4)[0] == _NEW_GENERATION:
                    return

    def close(self) -> None:
        self._socket.close()


class Api:
    """An API server of its own process, and a client of it."""

    def __init__(self, client: RestClient, kubeconfig: str) -> None:
        self.client, self.kubeconfig = client, kubeconfig

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator["Api"]:
        words = ("-m", "homeport.server", "--data", str(folder), "--store", "memory")
        async with program(*words, stdout=True) as process:
            assert process.stdout is not None
            told = json.loads(await process.stdout.readline())
            transport = HttpTransport(unix_settings(str(folder / "run" / "api.sock")))
            yield cls(RestClient(transport, "bench"), told["kubeconfig"])
            await transport.close()

    async def fill(self, endpoints: int) -> None:
        """Create a namespace, one headless Service `head`, and as many Services as have so many endpoints."""
        await self.client.create(NAMESPACES, {"metadata": {"name": "db"}})
        room = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, first: IPv4Address, *, headless: bool = False) -> None:
            async with room:
                await self.client.create(SERVICES, service(name, headless=headless), "db")
                await self.client.create(SLICES, slice_of(name, first), "db")

        async with asyncio.TaskGroup() as group:
            group.create_task(one("head", MOVED + (1 << 20), headless=True))
            for number in range(endpoints // OF_A_SERVICE):
                group.create_task(one(f"svc-{number}", PODS + number * OF_A_SERVICE))

    async def move(self, name: str, first: IPv4Address, to: IPv4Address) -> None:
        """Move the first endpoint of a Service."""
        await self.client.patch(SLICES, "db", f"{name}-1", {"endpoints": slice_of(name, first, to)["endpoints"]})


@asynccontextmanager
async def program(*words: str, stdout: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program until the block ends; it says what it has to say on its standard error."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=pipe if stdout else None, stderr=None if stdout else pipe
    )
    drain: asyncio.Task[Any] | None = None
    try:
        yield process
        if process.stderr is not None:
            drain = asyncio.create_task(process.stderr.read())
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if drain is not None:
            await drain


def question(name: str) -> bytes:
    return encode_query(Query(7, 0, Question(from_text(f"{name}.db.svc.cluster.local"), RRType.A), True, False))


async def answer(asker: socket.socket, wire: bytes) -> bytes:
    """Return the last four octets of an answer: the address, where the question was for one. Empty without."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(asker, wire)
    data = await loop.sock_recv(asker, 4096)
    return data[-4:] if data[3] & 0xF == 0 and data[7] else b""


async def of_dns(api: Api, changes: int) -> dict[str, Any]:
    """Return what `homeport dns` needs, and how late it is."""
    words = ("dns", "--kubeconfig", api.kubeconfig, "--listen", "127.0.0.1:0", "--upstream", "")
    began = time.perf_counter()
    async with program("-m", "homeport", *words) as process:
        assert process.stderr is not None
        port = int((await process.stderr.readline()).decode().rsplit(":", 1)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setblocking(False)
            asker.connect(("127.0.0.1", port))
            wire, late, written = question("head-0.head"), [], []
            while not await answer(asker, wire):  # noqa: ASYNC110
                await asyncio.sleep(0.002)  # it says SERVFAIL until it knows all
            started = time.perf_counter() - began
            first = MOVED + (1 << 20)
            for number in range(changes):
                to = MOVED + number
                sent = time.perf_counter()
                write = asyncio.create_task(api.move("head", first, to))
                write.add_done_callback(lambda _, sent=sent: written.append(time.perf_counter() - sent))  # type: ignore[misc]
                while await answer(asker, wire) != to.packed:  # noqa: ASYNC110
                    await asyncio.sleep(0)  # a question right after the other
                late.append((time.perf_counter() - sent) * 1000)
                await write
        return {**figures(process.pid, started, late, written)}


async def healthy() -> bool:
    """Tell whether the proxy says that everything is in the kernel."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", PROXY_HEALTH_PORT)
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        said = await reader.readline()
        writer.close()
    except OSError:
        return False
    return b" 200 " in said


async def of_proxy(api: Api, services: int, changes: int) -> dict[str, Any]:
    """Return what `homeport proxy` needs, and how late it is."""
    words = ("--kubeconfig", api.kubeconfig, "--means", "nftables", "--node-address", "127.0.0.1")
    began = time.perf_counter()
    async with program("-m", "homeport", "proxy", *words) as process:
        while not await healthy():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.005)
        started = time.perf_counter() - began
        transactions = Transactions()
        late, written = [], []
        for number in range(changes):
            which = number * 37 % services
            sent = time.perf_counter()
            write = asyncio.create_task(api.move(f"svc-{which}", PODS + which * OF_A_SERVICE, MOVED + 1 + number))
            write.add_done_callback(lambda _, sent=sent: written.append(time.perf_counter() - sent))  # type: ignore[misc]
            await transactions.next()
            late.append((time.perf_counter() - sent) * 1000)
            await write
        found = figures(process.pid, started, late, written)
    transactions.close()
    for family in ("ip", "ip6"):
        subprocess.run(["nft", "delete", "table", family, "homeport"], stderr=subprocess.DEVNULL)
    return found


def figures(pid: int, started: float, late: Sequence[float], written: Sequence[float]) -> dict[str, Any]:
    return {
        "memory_mb": round(resident(pid), 1),
        "start_seconds": round(started, 2),
        "one_change_ms": {
            "median": median(late),
            "p99": percentile(late, 0.99),
            "answer_to_the_write": median([one * 1000 for one in written]),
        },
    }


async def measure(endpoints: int, changes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with Api.running(Path(folder)) as api:
            await api.fill(endpoints)
            say(f"{endpoints:,} endpoints are in the API")
            dns = await of_dns(api, changes)
            say(f"dns: {dns}")
            proxy = await of_proxy(api, endpoints // OF_A_SERVICE, changes)
            say(f"proxy: {proxy}")
    return {"dns": dns, "proxy": proxy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoints", type=int, nargs="+", default=[10, 1_000, 10_000, 50_000])
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="few endpoints, few changes; nothing is written")
    options = parser.parse_args()
    if not in_own_network("bench.alone"):
        return
    sizes, changes = ([10, 1_000], 20) if options.quick else (options.endpoints, options.changes)
    found = {str(size): asyncio.run(measure(size, changes)) for size in sizes}
    least = found[str(sizes[0])]
    for size, programs in found.items():
        for name, one in programs.items():
            one["memory_mb_for_endpoints"] = round(one["memory_mb"] - least[name]["memory_mb"], 1)
            one["one_change_to_the_smallest"] = round(
                one["one_change_ms"]["median"] / least[name]["one_change_ms"]["median"], 2
            )
        say(f"{size} done")
    write("alone", {"by_endpoints": found}, quick=options.quick)


if __name__ == "__main__":
    main()
