"""The server with all around it, as a client of a real API over HTTPS: restarts, status, the query log."""

import asyncio
import logging
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from homeport.api.resources import find
from homeport.client.http import HttpTransport
from homeport.client.kubeconfig import load_kubeconfig
from homeport.client.rest import RestClient
from homeport.clock import WallClock
from homeport.dns.options import DnsOptions, parse_options
from homeport.dns.service import run_service
from homeport.dns.sockets import open_sockets, open_status
from homeport.errors import Expired
from homeport.server.app import Server
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener
from homeport.server.pki import Pki, server_context
from homeport.store.sqlite import SqliteStore
from tests.dns.test_server import ask
from tests.dns.worked import endpoints, service

SERVICES, SLICES = find("Service"), find("EndpointSlice", "discovery.k8s.io")


@asynccontextmanager
async def api(folder: Path, port: int) -> AsyncIterator[RestClient]:
    """Serve the API over HTTPS on a port; give a client of it."""
    store = await SqliteStore.open(folder / "state.db")
    server = Server(store, WallClock(), random.Random(1))
    await server.start()
    listener = Listener(server.handle, 3 * 1024 * 1024)
    pki = Pki(folder / "pki", WallClock(), random.Random(1))
    await listener.listen_tls("127.0.0.1", port, server_context(pki, ["127.0.0.1"]))
    admin = pki.client("admin", "admin", ["system:masters"])
    write_kubeconfig(folder / "kubeconfig", "test", f"https://127.0.0.1:{port}", pki.ca_pem, admin)
    transport = HttpTransport(load_kubeconfig(folder / "kubeconfig"))
    try:
        yield RestClient(transport, "tester/1")
    finally:
        await transport.close()
        await listener.close()
        await server.stop()
        await store.close()


@asynccontextmanager
async def answering(folder: Path, options: DnsOptions) -> AsyncIterator[int]:
    sockets = open_sockets("127.0.0.1", 0)
    transport = HttpTransport(load_kubeconfig(folder / "kubeconfig"))
    serving = asyncio.create_task(
        run_service(
            RestClient(transport, "homeport-dns"),
            options.settings("cluster.local", ("127.0.0.1",)),
            options,
            [sockets],
            WallClock(),
            random.Random(1),
            status=open_status(options.status),
        )
    )
    try:
        yield sockets.resolver.port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await transport.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(port: int, text: str, expected: str, host: str = "127.0.0.1") -> None:
    """Ask until the answer is as expected; the test's own time limit bounds the wait."""
    name, kind = text.split()
    query = dns.message.make_query(name, kind).to_wire()
    async with asyncio.timeout(20):
        while True:
            reply = dns.message.from_wire(await ask(port, query, host))
            found = " ".join(sorted(str(rdata) for rrset in reply.answer for rdata in rrset))
            if (found or dns.rcode.to_text(reply.rcode())) == expected:
                return
            await asyncio.sleep(0.02)


def pg(*addresses: str) -> dict[str, object]:
    found = ((address, f"pg-{number}", True) for number, address in enumerate(addresses))
    return endpoints("default", "pg", *found, ports=(("pg", 5432),))


async def http(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_it_follows_the_api_over_a_restart(tmp_path: Path) -> None:
    port = free_port()
    async with api(tmp_path, port) as client:
        await client.create(SERVICES, service("default", "pg", ("pg", 5432)))
        await client.create(SLICES, pg("10.244.0.5"))
        async with answering(tmp_path, DnsOptions(upstream=())) as asked:
            await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
            await client.patch(SLICES, "default", "pg-1", {"endpoints": pg("10.244.0.5", "10.244.0.6")["endpoints"]})
            await until(asked, "pg.default.svc.cluster.local. A", "10.244.0.5 10.244.0.6")
    async with api(tmp_path, port), answering(tmp_path, DnsOptions(upstream=())) as asked:
        await until(asked, "pg.default.svc.cluster.local. A", "10.244.0.5 10.244.0.6")


async def test_it_goes_on_with_what_it_knew_while_the_api_is_away(tmp_path: Path) -> None:
    port = free_port()
    async with api(tmp_path, port) as client:
        await client.create(SERVICES, service("default", "pg", ("pg", 5432)))
        await client.create(SLICES, pg("10.244.0.5"))
        server = answering(tmp_path, DnsOptions(upstream=()))
        asked = await server.__aenter__()
        await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
    try:
        await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
        await until(asked, "nosuch.default.svc.cluster.local. A", "NXDOMAIN")
        async with api(tmp_path, port) as client:
            await client.patch(SLICES, "default", "pg-1", {"endpoints": pg("10.244.0.9")["endpoints"]})
            await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.9")
    finally:
        await server.__aexit__(None, None, None)


async def forget(folder: Path) -> None:
    """Let the store of an API that is away forget all of its past."""
    store = await SqliteStore.open(folder / "state.db")
    await store.compact((await store.list("/registry/", limit=1)).revision)
    await store.close()


async def forgotten(client: RestClient, version: str) -> bool:
    """Tell whether the API refuses to tell what came after a version (410 Gone)."""
    try:
        async with client.watch(SLICES, None, resource_version=version) as events:
            await anext(events)
    except Expired:
        return True
    return False


async def test_it_lists_again_when_the_past_it_missed_is_forgotten(tmp_path: Path) -> None:
    """What went while it was away goes; what came, comes (410 Gone, api-machinery 10.7)."""
    port = free_port()
    async with api(tmp_path, port) as client:
        for name in ("pg", "gone"):
            await client.create(SERVICES, service("default", name, (name, 5432)))
        await client.create(SLICES, pg("10.244.0.5"))
        server = answering(tmp_path, DnsOptions(upstream=()))
        asked = await server.__aenter__()
        await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
        version = (await client.list(SLICES, "default")).resource_version
    try:
        async with api(tmp_path, free_port()) as elsewhere:  # not where it looks
            await elsewhere.delete(SERVICES, "default", "gone")
            await elsewhere.patch(SLICES, "default", "pg-1", {"endpoints": pg("10.244.0.6", "10.244.0.7")["endpoints"]})
        await forget(tmp_path)
        await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
        async with api(tmp_path, port) as client:
            assert await forgotten(client, version)
            await until(asked, "pg.default.svc.cluster.local. A", "10.244.0.6 10.244.0.7")
            await until(asked, "gone.default.svc.cluster.local. A", "NXDOMAIN")
    finally:
        await server.__aexit__(None, None, None)


async def test_status_tells_readiness_and_counts(tmp_path: Path) -> None:
    port, status = free_port(), free_port()
    async with api(tmp_path, port):
        pass  # leaves a kubeconfig to an API that is away
    options = parse_options(["upstream=", f"status={status}"])
    async with answering(tmp_path, options) as asked:
        await until(asked, "pg.default.svc.cluster.local. A", "SERVFAIL")
        assert await http(status, "/health") == (200, "OK")
        assert await http(status, "/ready") == (503, "namespaces,services,endpointslices")
        assert (await http(status, "/nothing"))[0] == 404
        assert (await http(status, "/health", "POST"))[0] == 405
        async with api(tmp_path, port):
            await until(asked, "pg.default.svc.cluster.local. A", "NXDOMAIN")
            assert await http(status, "/ready") == (200, "OK")
            code, text = await http(status, "/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert code == 200
    assert values["homeport_dns_synced"] == "1"
    assert float(values['homeport_dns_made_replies_total{protocol="udp",rcode="NXDOMAIN",type="A"}']) >= 1
    assert float(values["homeport_dns_kept_replies_total"]) >= 0
    assert float(values['homeport_dns_objects{kind="namespaces"}']) >= 1


async def test_the_log_has_every_question(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "homeport.dns.queries")
    async with api(tmp_path, free_port()), answering(tmp_path, parse_options(["upstream=", "log"])) as asked:
        for _ in range(3):
            await until(asked, "dns-version.cluster.local. TXT", '"1.1.0"')
        reader, writer = await asyncio.open_connection("127.0.0.1", asked)
        writer.write(bytes.fromhex("000c" + "00" * 12))
        await reader.readexactly(14)
        writer.close()
    lines = [record.getMessage().split() for record in caplog.records]
    assert [line[1:5] for line in lines[:3]] == [["udp", "TXT", "dns-version.cluster.local.", "NOERROR"]] * 3
    assert lines[3][1] == "tcp"
    assert "FORMERR" in lines[3]
