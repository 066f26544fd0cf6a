"""What must hold in a real network namespace; each scenario is run by `test_bridge` in one of its own."""

import asyncio
import ipaddress
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from homeport.node.network.bridge import BridgeNetwork, port_name
from homeport.node.network.contract import NetworkFailure
from homeport.node.network.settings import IPV4, IPV6, NetworkSettings
from tests.node.network.contract import keeps_the_contract


@contextmanager
def sandbox() -> Iterator[int]:
    """A process with a network namespace of its own; yields its pid."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        yield holder.pid
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def inside(pid: int, *argv: str) -> str:
    command = ["nsenter", "--target", str(pid), "--net", *argv]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def reaches(pid: int, address: str) -> bool:
    command = ["nsenter", "--target", str(pid), "--net", "ping", "-c1", "-W2", address]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def neighbours() -> str:
    """What the node knows for good about IPv6 neighbours."""
    command = ["ip", "-6", "neighbour", "show", "nud", "permanent"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def ports() -> str:
    return subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout


async def the_contract_is_kept(directory: Path) -> None:
    with sandbox() as first, sandbox() as second, sandbox() as third:
        network = BridgeNetwork(NetworkSettings(), directory)
        await network.start()
        await keeps_the_contract(network, first, second, third)
        assert port_name("one") not in ports()
        await network.close()


async def the_contract_is_kept_in_both_families(directory: Path) -> None:
    for families in ((IPV4, IPV6), (IPV6,), (IPV6, IPV4)):
        with sandbox() as first, sandbox() as second, sandbox() as third:
            network = BridgeNetwork(NetworkSettings(families), directory / str(len(families)))
            await network.start()
            await keeps_the_contract(network, first, second, third)
            assert neighbours() == ""
            await network.close()


async def pods_reach_each_other_over_ipv6(directory: Path) -> None:
    """At once, and without a word on the wire about who has which address."""
    network = BridgeNetwork(NetworkSettings((IPV4, IPV6)), directory)
    await network.start()
    with sandbox() as first, sandbox() as second:
        one, two = await network.attach("one", first), await network.attach("two", second)
        assert one.addresses == ("10.244.0.2", "fd00:10:244::2")
        assert two.gateways == ("10.244.0.1", "fd00:10:244::1")
        for address in (*two.addresses, *one.addresses, *network.gateways, "10.96.0.10", "fd00:10:96::a", "::1"):
            assert reaches(first, address), address
        assert "default via fd00:10:244::1" in inside(first, "ip", "-6", "route")
        shown = inside(first, "ip", "-6", "address", "show", "dev", "eth0")
        assert "fd00:10:244::2/128" in shown
        assert "tentative" not in shown
        assert "fe80" not in shown
        assert "PERMANENT" in inside(first, "ip", "-6", "neighbour")
        assert await network.attach("one", first) == one
        await network.detach("one")
        assert not reaches(second, one.addresses[1])
        await network.adopt({"two": second})
        assert reaches(second, network.gateways[1])
    await network.close()


async def pods_reach_each_other(directory: Path) -> None:
    network = BridgeNetwork(NetworkSettings(), directory)
    await network.start()
    with sandbox() as first, sandbox() as second:
        one, two = await network.attach("one", first), await network.attach("two", second)
        assert (one.address, two.address, one.gateway) == ("10.244.0.2", "10.244.0.3", "10.244.0.1")
        for address in (two.address, one.address, one.gateway, "10.96.0.10", "127.0.0.1"):
            assert reaches(first, address), address
        assert "default via 10.244.0.1" in inside(first, "ip", "route")
        assert inside(first, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start").strip() == "0"
        assert "hairpin on" in subprocess.getoutput(f"ip -d link show {port_name('one')}")
        assert await network.attach("one", first) == one
        await network.detach("one")
        await network.detach("one")
        assert not reaches(second, one.address)
        assert port_name("one") not in ports()
    await network.close()


async def sandboxes_leave_together(directory: Path) -> None:
    """Those that leave are removed as one; whoever stays keeps its port."""
    network = BridgeNetwork(NetworkSettings(), directory)
    await network.start()
    with ExitStack() as stack:
        names = [f"one-{number}" for number in range(8)]
        pids = {name: stack.enter_context(sandbox()) for name in (*names, "stays")}
        for name, pid in pids.items():
            await network.attach(name, pid)
        await asyncio.gather(*(network.detach(name) for name in (*names, "never there")))
        assert [name for name in pids if port_name(name) in ports()] == ["stays"]
        assert reaches(pids["stays"], network.gateways[0])
        assert (await network.attach("one-0", pids["one-0"])).address == "10.244.0.11"
    await network.close()


async def addresses_survive_the_agent(directory: Path) -> None:
    with ExitStack() as stack:
        pids = {name: stack.enter_context(sandbox()) for name in ("stays", "goes", "comes")}
        before = BridgeNetwork(NetworkSettings(), directory)
        await before.start()
        stays = await before.attach("stays", pids["stays"])
        goes = await before.attach("goes", pids["goes"])
        await before.close()

        after = BridgeNetwork(NetworkSettings(), directory)
        await after.start()
        await after.adopt({"stays": pids["stays"]})
        assert port_name("goes") not in ports()
        assert await after.attach("stays", pids["stays"]) == stays
        comes = await after.attach("comes", pids["comes"])
        assert comes.address not in (stays.address, goes.address)
        assert reaches(pids["comes"], stays.address)
        await after.close()


async def a_restarted_sandbox_is_wired_anew(directory: Path) -> None:
    network = BridgeNetwork(NetworkSettings(), directory)
    await network.start()
    with sandbox() as other:
        await network.attach("other", other)
        with sandbox() as first:
            before = await network.attach("db", first)
            with sandbox() as second:
                assert await network.attach("db", second) == before
                assert reaches(second, network.gateways[0])
    await network.close()


async def failures_are_told(directory: Path) -> None:
    small = NetworkSettings((replace(IPV4, pods=ipaddress.IPv4Network("10.244.0.0/30")),))
    network = BridgeNetwork(small, directory)
    await network.start()
    await network.start()
    with sandbox() as first:
        await network.attach("one", first)
        for sandbox_id, pid, word in (("two", first, "in use"), ("one", 2**22 + 1, "No such file")):
            with pytest.raises(NetworkFailure, match=word):
                await network.attach(sandbox_id, pid)
    await network.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(globals()[sys.argv[1]](Path(name)))
