"""What must hold for real connections; each scenario is run by `test_real` in a network namespace of its own."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from homeport.proxy import nftables
from homeport.proxy.balance import Balance
from homeport.proxy.kernel import LibraryKernel, NftablesError, NftCommandKernel
from tests.dns import worked as api_objects
from tests.dns.test_service import SERVICES, SLICES, api
from tests.proxy.world import Pod, World, ask_from_node, at, away, service, table, told, use

API_PORT = 16443

# 2 degrees of freedom: a fair balancer stays below with probability 0.9999.
CHI_SQUARE_LIMIT = 18.42


def names(answers: dict[str, int]) -> dict[str, int]:
    """Answers by the backend's name, whoever it saw."""
    totals: dict[str, int] = {}
    for answer, count in answers.items():
        name = answer.split()[0]
        totals[name] = totals.get(name, 0) + count
    return totals


async def backends(world: World, *wanted: str) -> list[Pod]:
    return [await world.pod(name, 8080) for name in wanted]


async def connections_spread_evenly(world: World) -> None:
    pods = await backends(world, "a", "b", "c")
    client = await world.pod("client")
    await world.set(service("web", "10.96.1.1"), *map(at, pods))
    await world.set(service("web-udp", "10.96.1.2", protocol="udp"), *map(at, pods))
    for address, protocol in (("10.96.1.1", "tcp"), ("10.96.1.2", "udp")):
        answers = names(await client.ask(address, 80, 3000, protocol))
        assert sorted(answers) == ["a", "b", "c"], answers
        chi_square = sum((count - 1000) ** 2 / 1000 for count in answers.values())
        assert chi_square < CHI_SQUARE_LIMIT, answers


async def a_client_keeps_its_backend(world: World) -> None:
    pods = await backends(world, "a", "b", "c")
    web = service("web", "10.96.1.1", node_port=30080, affinity_seconds=60)
    await world.set(web, *map(at, pods))
    for number in range(6):
        client = await world.pod(f"client-{number}")
        answers = names(await client.ask("10.96.1.1", 80, 20))
        assert len(answers) == 1, answers
    (favourite,) = answers
    left = [at(pod) for pod, name in zip(pods, "abc", strict=True) if name != favourite]
    await world.set(web, *left)
    moved = names(await client.ask("10.96.1.1", 80, 20))
    assert len(moved) == 1, moved
    assert favourite not in moved
    await world.set(service("web", "10.96.1.1"), *map(at, pods))
    assert len(names(await client.ask("10.96.1.1", 80, 60))) == 3


async def affinity_ends_after_its_time(world: World) -> None:
    pods = await backends(world, "a", "b", "c")
    client = await world.pod("client")
    await world.set(service("web", "10.96.1.1", affinity_seconds=1), *map(at, pods))
    seen = set()
    for _ in range(12):
        seen |= names(await client.ask("10.96.1.1", 80)).keys()
        if len(seen) > 1:
            return
        await asyncio.sleep(1.1)  # the kernel counts real time
    raise AssertionError(f"twelve new choices of three, all {seen}")


async def a_new_proxy_keeps_the_clients(world: World) -> None:
    pods = await backends(world, "a", "b", "c")
    await world.set(service("web", "10.96.1.1", affinity_seconds=600), *map(at, pods))
    clients = [await world.pod(f"client-{number}") for number in range(6)]
    before = [await client.ask("10.96.1.1", 80, 5) for client in clients]
    for kernel in (LibraryKernel(), NftCommandKernel("/usr/sbin/nft")):
        known = nftables.known_clients(await kernel.read(nftables.list_sets(world.dialect)))
        await kernel.apply(nftables.whole(world.held, world.settings, known))
        with pytest.raises(NftablesError, match="No such file"):
            await kernel.apply(f"flush chain {world.dialect.table} nowhere")
        await kernel.close()
        assert [await client.ask("10.96.1.1", 80, 5) for client in clients] == before


async def nobody_home_is_said_at_once(world: World) -> None:
    client = await world.pod("client")
    (pod,) = await backends(world, "a")
    await world.set(service("empty", "10.96.1.1"))
    await world.set(service("empty-udp", "10.96.1.2", protocol="udp"))
    await world.set(service("web", "10.96.1.3", node_port=30080), at(pod, ready=False, serving=False))
    await world.set(service("elsewhere", "10.96.1.4", internal_local=True), away(pod))
    started = time.monotonic()
    assert await client.ask("10.96.1.1", 80, 20) == {"refused": 20}  # whoever tries again and again as well
    assert await client.ask("10.96.1.2", 80, protocol="udp") == {"refused": 1}
    assert await client.ask("10.96.1.3", 80) == {"refused": 1}
    assert await client.ask("10.96.1.3", 81) == {"refused": 1}
    assert await client.ask("10.244.0.1", 30080) == {"refused": 1}
    assert await ask_from_node("10.96.1.1", 80) == {"refused": 1}
    assert time.monotonic() - started < 3
    if not world.masks:
        assert await client.ask("10.96.9.9", 80) == {"timeout": 1}
    assert await client.ask("10.96.1.4", 80) == {"timeout": 1}


async def peers_see_whom_they_should(world: World) -> None:
    (pod,) = await backends(world, "a")
    client = await world.pod("client")
    await world.set(service("web", "10.96.1.1", node_port=30080), at(pod))
    await world.set(service("near", "10.96.1.2", node_port=30081, external_local=True), at(pod))
    await world.set(service("far", "10.96.1.3", node_port=30082, external_local=True), away(pod))
    masked = {f"a {told('10.244.0.1')}": 1}
    direct = masked if world.masks else {f"a {client.address}": 1}
    assert await client.ask("10.96.1.1", 80) == direct
    assert await pod.ask("10.96.1.1", 80) == masked  # a pod through its own Service
    assert await client.ask("10.244.0.1", 30080) == masked
    assert await client.ask("10.244.0.1", 30081) == direct  # pods are not outside
    assert await client.ask("10.244.0.1", 30082) == direct
    assert await ask_from_node("10.96.1.1", 80) == masked
    assert await ask_from_node("10.244.0.1", 30080) == masked
    assert await ask_from_node("10.244.0.1", 30082) == masked


async def the_api_server_has_a_virtual_address(world: World) -> None:
    world.serve(
        [sys.executable, "-I", str(Path(__file__).with_name("peer.py")), "serve", "api", "6443", told("0.0.0.0")]
    )
    node = Pod(0, "10.244.0.1")
    client = await world.pod("client")
    await world.set(service("kubernetes", "10.96.0.1", port=443), at(node, 6443))
    assert await client.ask("10.96.0.1", 443) == {f"api {told('10.244.0.1') if world.masks else client.address}": 1}
    assert names(await ask_from_node("10.96.0.1", 443)) == {"api": 1}


async def each_way_of_balancing(world: World) -> None:
    pods = await backends(world, "a", "b", "c")
    client = await world.pod("client")
    web = service("web", "10.96.1.1", node_port=30080, balance=Balance.ROUND_ROBIN)
    await world.set(web, *map(at, pods))
    for address, port in (("10.96.1.1", 80), ("10.244.0.1", 30080)):
        assert names(await client.ask(address, port, 12)) == {"a": 4, "b": 4, "c": 4}
    for protocol in ("tcp", "udp"):
        hashed = service("web", "10.96.1.1", protocol=protocol, balance=Balance.SOURCE_HASH)
        await world.set(hashed, *map(at, pods))
        clients = [await world.pod(f"client-{protocol}-{number}") for number in range(8)]
        first = [names(await one.ask("10.96.1.1", 80, 5, protocol)) for one in clients]
        assert all(len(answers) == 1 for answers in first)
        assert len({name for answers in first for name in answers}) > 1
        (gone,) = first[0]
        await world.set(hashed, *(at(pod) for pod, name in zip(pods, "abc", strict=True) if name != gone))
        then = [names(await one.ask("10.96.1.1", 80, 5, protocol)) for one in clients]
        assert all(gone in before or after == before for before, after in zip(first, then, strict=True))
        assert not any(gone in after for after in then)


async def the_least_burdened_is_next(world: World) -> None:
    pods = await backends(world, "a", "b", "c")
    client = await world.pod("client")
    await world.set(service("web", "10.96.1.1", balance=Balance.LEAST_CONNECTIONS), *map(at, pods))
    held = world.spawn(client.command("hold", told("10.96.1.1"), "80", "30"))
    assert held.stdout
    assert json.loads(await asyncio.to_thread(held.stdout.readline)) == {"a": 10, "b": 10, "c": 10}
    await world.set(service("web", "10.96.1.1"), *map(at, pods))
    assert len(names(await client.ask("10.96.1.1", 80, 60))) == 3
    await world.set(service("web", "10.96.1.1", balance=Balance.LEAST_CONNECTIONS))
    assert await client.ask("10.96.1.1", 80) == {"refused": 1}
    await world.remove(service("web", "10.96.1.1"))


async def the_name_server_is_not_balanced(world: World) -> None:
    world.serve(
        [sys.executable, "-I", str(Path(__file__).with_name("peer.py")), "serve", "dns", "53", told("10.96.0.10")]
    )
    (pod,) = await backends(world, "a")
    client = await world.pod("client")
    await world.set(service("kube-dns", "10.96.0.10", port=53, protocol="udp"), at(pod))
    assert await client.ask("10.96.0.10", 53, 5, "udp") == {f"dns {client.address}": 5}
    assert await client.ask("10.96.0.10", 53, 5) == {f"dns {client.address}": 5}
    assert names(await ask_from_node("10.96.0.10", 53, 5, "udp")) == {"dns": 5}


async def source_ranges_keep_others_out(world: World) -> None:
    (pod,) = await backends(world, "a")
    client, other = await world.pod("client"), await world.pod("other")
    wide = [f"{told('192.0.2.0')}/{length}" for length in ((24, 28) if ":" not in client.address else (112, 120))]
    ranges = tuple(ip_network(text, strict=False) for text in (client.address, client.address, *wide))
    addresses = {"balancer_addresses": (ip_address(told("192.0.2.7")),), "source_ranges": ranges}
    await world.set(service("web", "10.96.1.1", **addresses), at(pod))
    assert names(await client.ask("192.0.2.7", 80)) == {"a": 1}
    assert await other.ask("192.0.2.7", 80) == {"timeout": 1}
    assert names(await other.ask("10.96.1.1", 80)) == {"a": 1}


async def changes_under_load_lose_nothing(world: World) -> None:
    pods = await backends(world, "a", "b", "c", "d")
    client = await world.pod("client")
    web = service("web", "10.96.1.1")
    await world.set(web, *map(at, pods))
    load = asyncio.create_task(client.ask("10.96.1.1", 80, 4000))
    changes = 0
    while not load.done():
        gone = pods[changes % 4]
        await world.set(web, *(at(pod) for pod in pods if pod is not gone))
        changes += 1
        await asyncio.sleep(0)  # the balancer in user space lives in this loop
    answers = names(await load)
    assert sorted(answers) == ["a", "b", "c", "d"], answers
    assert sum(answers.values()) == 4000
    assert changes > 20


async def a_udp_client_moves_on(world: World) -> None:
    pods = await backends(world, "a", "b")
    client = await world.pod("client")
    dns = service("udp", "10.96.1.2", protocol="udp")
    socket = world.spawn(client.command("stick", told("10.96.1.2"), "80"))
    assert socket.stdin
    assert socket.stdout

    async def send() -> str:
        assert socket.stdin
        assert socket.stdout
        socket.stdin.write("\n")
        socket.stdin.flush()
        line: str = await asyncio.to_thread(socket.stdout.readline)
        return line.split()[0]

    await world.set(dns)
    assert await send() == "refused"
    rules = await world.set(dns, at(pods[0]))
    assert world.forgotten(rules) == 0
    assert await send() == "a"
    rules = await world.set(dns, *map(at, pods))
    assert world.forgotten(rules) == 0
    assert await send() == "a"  # a flow stays where it is while its endpoint serves
    rules = await world.set(dns, at(pods[1]))
    assert world.forgotten(rules) == 1
    assert await send() == "b"


async def nothing_is_left_behind(world: World) -> None:
    empty = table()
    pods = await backends(world, "a", "b")
    services = [
        service("one", "10.96.1.1", node_port=30080),
        service("two", "10.96.1.2", node_port=30081, external_local=True, affinity_seconds=60),
        service("three", "10.96.1.3", protocol="sctp", internal_local=True),
    ]
    for one in services:
        await world.set(one, *map(at, pods))
    full = table()
    assert f"{told('10.96.1.3')} . sctp . 80" in full
    for one in services:
        await world.set(one, at(pods[0]))
    for one in services:
        await world.remove(one)
    assert table() == empty
    await world.kernel.apply(nftables.whole(world.held, world.settings))
    assert table() == empty


async def the_proxy_alone_serves_a_cluster_over_https(world: World) -> None:
    """It follows the API through a restart, and what it has set goes on serving without the API and without itself."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pods = await backends(world, "a", "b")
    client = await world.pod("client")
    await world.kernel.apply(f"delete table {world.dialect.table}")

    async def answered(*expected: str) -> None:
        async with asyncio.timeout(20):
            while True:
                if sorted(names(await client.ask("10.96.1.1", 80, 10))) == list(expected):
                    return
                await asyncio.sleep(0.02)

    def slice_of(*chosen: Pod) -> dict[str, object]:
        found = ((pod.address, "", True) for pod in chosen)
        return api_objects.endpoints("default", "web", *found, ports=(("http", 8080),))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ("--kubeconfig", str(folder / "kubeconfig"), "--node-address", "10.244.0.1", "--node", "here")
        async with api(folder, API_PORT) as access:
            web = api_objects.service("default", "web", ("http", 80), cluster="10.96.1.1")
            await access.create(SERVICES, web, "default")
            await access.create(SLICES, slice_of(pods[0]), "default")
            proxy = await asyncio.create_subprocess_exec(sys.executable, "-m", "homeport", "proxy", *words)
            await answered("a")
        assert names(await client.ask("10.96.1.1", 80, 10)) == {"a": 10}
        async with api(folder, API_PORT) as access:
            await access.patch(SLICES, "default", "web-1", {"endpoints": slice_of(*pods)["endpoints"]})
            await answered("a", "b")
            proxy.terminate()
            assert await proxy.wait() == 0
        assert names(await client.ask("10.96.1.1", 80, 40)).keys() == {"a", "b"}


async def main(scenario: str) -> None:
    """Run `NAME` over IPv4, `NAME:6` over IPv6, `NAME:userspace` and `NAME:6:userspace` without the packet filter."""
    scenario, *how = scenario.split(":")
    use(6 if "6" in how else 4)
    with tempfile.TemporaryDirectory() as directory:
        async with World(Path(directory), "userspace" if "userspace" in how else "nftables") as world:
            await globals()[scenario](world)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
