"""`homeport dns` as people run it, against a real API over HTTPS."""

import asyncio
import random
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from click.testing import CliRunner

from homeport.cli.app import app
from homeport.client.contract import Client
from homeport.clock import WallClock
from homeport.server.pki import Pki
from tests.dns.test_service import SERVICES, SLICES, api, free_port, pg, until
from tests.dns.worked import service


@asynccontextmanager
async def command(
    folder: Path, *options: str, address: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Run the command until the block ends; it must end well, by SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "homeport", "dns", "--kubeconfig", str(folder / "kubeconfig")),
        *("--listen", f"{address}:0", "--upstream", "", *options),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        line = (await process.stderr.readline()).decode()
    assert "serving cluster.local of https://127.0.0.1:" in line
    try:
        first = line.rpartition(" on ")[2].split(", ")[0]
        yield process, int(first.rsplit(":", 1)[1])
    finally:
        process.send_signal(signal.SIGTERM)
        await process.stderr.read()
        assert await process.wait() == 0


async def some_pods(client: Client) -> None:
    await client.create(SERVICES, service("default", "pg", ("pg", 5432)))
    await client.create(SLICES, pg("10.244.0.5"))


async def test_it_serves_a_cluster_until_told_to_end(tmp_path: Path) -> None:
    port = free_port()
    async with api(tmp_path, port) as client:
        await some_pods(client)
        async with command(tmp_path, "--host", "192.0.2.7 gate.example") as (_, asked):
            await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
            await until(asked, "gate.example. A", "192.0.2.7")


async def test_it_is_as_late_as_it_is_told_to_be(tmp_path: Path) -> None:
    port = free_port()
    async with api(tmp_path, port) as client:
        await some_pods(client)
        async with command(tmp_path, "--cache", "600", "--ttl", "600", "--uncached", "in-addr.arpa") as (_, asked):
            await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")
            await client.patch(SLICES, "default", "pg-1", {"endpoints": pg("10.244.0.6", "10.244.0.7")["endpoints"]})
            await until(asked, "6.0.244.10.in-addr.arpa. PTR", "pg-0.pg.default.svc.cluster.local.")
            await until(asked, "pg-0.pg.default.svc.cluster.local. A", "10.244.0.5")


async def test_it_serves_both_families_by_ipv6(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    port = free_port()
    async with api(tmp_path, port) as client:
        await some_pods(client)
        six = pg("fd00:10:244::5")
        body = {**six, "metadata": {**six["metadata"], "name": "pg-6"}, "addressType": "IPv6"}  # type: ignore[dict-item]
        await client.create(SLICES, body)
        four = free_port()
        async with command(tmp_path, "--listen", f"127.0.0.1:{four}", address="[::1]") as (_, asked):
            for question, answer in (
                ("pg-0.pg.default.svc.cluster.local. AAAA", "fd00:10:244::5"),
                ("pg-0.pg.default.svc.cluster.local. A", "10.244.0.5"),
                (f"{ip_address('fd00:10:244::5').reverse_pointer}. PTR", "pg-0.pg.default.svc.cluster.local."),
            ):
                await until(asked, question, answer, "::1")
                await until(four, question, answer)


async def test_it_serves_tls(tmp_path: Path) -> None:
    port, tls = free_port(), free_port()
    async with api(tmp_path, port):
        pki = Pki(tmp_path / "pki", WallClock(), random.Random(1))
        pki.server(["127.0.0.1"], "dns", "dns")
        files = ("--tls-cert", str(pki.path("dns", "crt")), "--tls-key", str(pki.path("dns", "key")))
        async with command(tmp_path, "--tls-listen", f"127.0.0.1:{tls}", *files):
            trusting = ssl.create_default_context(cadata=pki.ca_pem.decode())
            trusting.set_alpn_protocols(["dot"])
            _, writer = await asyncio.open_connection("127.0.0.1", tls, ssl=trusting)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "dot"
            writer.close()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kubeconfig", "/nowhere"], "/nowhere"),
        (["--listen", "localhost:53"], "ADDRESS:PORT"),
        (["--ttl", "soon"], "write ttl=SECONDS"),
        (["--stub", "corp.example"], "ZONE=ADDRESS"),
        (["--tls-listen", "127.0.0.1:853"], "--tls-cert"),
        (["--listen", "127.0.0.1:0", "--listen", "::1"], "ADDRESS:PORT"),
        (["--domain", "a..b"], "a..b"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["dns", *arguments])
    assert done.exit_code == 1
    assert told in done.output
    assert "Traceback" not in done.output


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        common = ["dns", "--kubeconfig", str(tmp_path / "kubeconfig")]
        status = CliRunner().invoke(app, [*common, "--listen", "127.0.0.1:0", "--status", port])
        names = CliRunner().invoke(app, [*common, "--listen", f"127.0.0.1:{port}"])
    assert (status.exit_code, names.exit_code) == (1, 1)
    assert f"--status {port}: " in status.output
    assert f"127.0.0.1:{port}: " in names.output
