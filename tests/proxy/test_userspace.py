"""The balancer in user space on the loopback interface: real sockets, no privilege."""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from homeport.proxy.balance import Balance
from homeport.proxy.model import Endpoint, ProxySettings, Service, ServicePort, Target
from homeport.proxy.rules import decide
from homeport.proxy.userspace.balancer import UserspaceBalancer

VIRTUAL = "127.0.9.1"
SETTINGS = ProxySettings(
    pods=IPv4Network("127.0.2.0/24"),
    services=IPv4Network("127.0.9.0/24"),
    node_addresses=(IPv4Address("127.0.9.200"),),
    node="here",
)
KEY = ("default", "web")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((VIRTUAL, 0))
        port: int = sock.getsockname()[1]
        return port


class World:
    """Backends that say their name, and a balancer before them."""

    def __init__(self) -> None:
        self.balancer = UserspaceBalancer(SETTINGS, random.Random(5))
        self.port = free_port()
        self._servers: list[asyncio.Server] = []
        self._datagrams: list[asyncio.DatagramTransport] = []

    async def backend(self, name: str, serve: "Serve | None" = None) -> Endpoint:
        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(name.encode())
            await writer.drain()
            await reader.read()  # until the client has enough
            writer.close()

        address = f"127.0.2.{len(self._servers) + 1}"
        server = await asyncio.start_server(serve or say, address, 0)
        self._servers.append(server)
        return Endpoint(Target(IPv4Address(address), server.sockets[0].getsockname()[1]), node="here")

    async def udp_backend(self, name: str) -> Endpoint:
        class Say(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
                self.transport.sendto(name.encode() + b" " + data, peer)  # type: ignore[attr-defined]

        address = f"127.0.3.{len(self._datagrams) + 1}"
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Say, local_addr=(address, 0))
        self._datagrams.append(transport)
        return Endpoint(Target(IPv4Address(address), transport.get_extra_info("sockname")[1]), node="here")

    def service(self, protocol: str = "tcp", **options: object) -> Service:
        ports = (ServicePort("", protocol, self.port),)
        return Service(KEY, ports, (IPv4Address(VIRTUAL),), **options)  # type: ignore[arg-type]

    async def set(self, service: Service, *endpoints: Endpoint) -> int:
        rules = decide(service, dict.fromkeys(service.ports, endpoints), SETTINGS)
        return await self.balancer.change({service.key: rules})

    async def ask(self, count: int = 1, source: str = "127.0.2.99") -> Counter[str]:
        answers: Counter[str] = Counter()
        for _ in range(count):
            try:
                reader, writer = await asyncio.open_connection(VIRTUAL, self.port, local_addr=(source, 0))
            except ConnectionRefusedError:
                answers["refused"] += 1
                continue
            try:
                async with asyncio.timeout(0.3):
                    answers[(await reader.read(100)).decode()] += 1
            except ConnectionResetError:
                answers["reset"] += 1
            except TimeoutError:
                answers["timeout"] += 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return answers

    async def close(self) -> None:
        await self.balancer.close()
        for server in self._servers:
            server.close()
            await server.wait_closed()
        for transport in self._datagrams:
            transport.close()
        await asyncio.sleep(0)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    made = World()
    try:
        yield made
    finally:
        await made.close()


async def test_connections_spread_evenly() -> None:
    async with world() as one:
        found = [await one.backend(name) for name in "abc"]
        await one.set(one.service(), *found)
        answers = await one.ask(600)
        assert sorted(answers) == ["a", "b", "c"]
        assert sum((count - 200) ** 2 / 200 for count in answers.values()) < 18.42
        assert not one.balancer.refused


async def test_nobody_is_refused_and_a_service_that_goes_too() -> None:
    async with world() as one:
        await one.set(one.service())
        assert await one.ask() == {"refused": 1}
        await one.set(one.service(), await one.backend("a"))
        assert await one.ask() == {"a": 1}
        await one.balancer.change({KEY: None})
        assert await one.ask() == {"refused": 1}


async def test_a_client_keeps_its_backend_and_moves_when_it_goes() -> None:
    async with world() as one:
        found = {name: await one.backend(name) for name in "abc"}
        service = one.service(affinity_seconds=60)
        await one.set(service, *found.values())
        (favourite,) = await one.ask(20)
        await one.set(service, *(end for name, end in found.items() if name != favourite))
        (second,) = await one.ask(20)
        assert second != favourite


async def test_sources_and_local_policies() -> None:
    async with world() as one:
        end = await one.backend("a")
        await one.set(one.service(internal_local=True), replace(end, node="there"))
        assert await one.ask() == {"timeout": 1}
        balancer = {"balancer_addresses": (IPv4Address(VIRTUAL),), "source_ranges": (IPv4Network("127.0.2.99/32"),)}
        service = replace(one.service(**balancer), cluster_addresses=())
        await one.set(service, end)
        assert await one.ask() == {"a": 1}
        assert await one.ask(source="127.0.2.98") == {"timeout": 1}


async def test_another_endpoint_is_tried_when_one_does_not_answer() -> None:
    async with world() as one:
        alive = await one.backend("a")
        dead = Endpoint(Target(IPv4Address("127.0.2.77"), free_port()))
        await one.set(one.service(), dead, alive)
        assert await one.ask(20) == {"a": 20}
        await one.set(one.service(), dead)
        assert await one.ask() == {"reset": 1}


async def test_established_connections_outlive_their_endpoint_and_the_service() -> None:
    async with world() as one:

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b" end")
            writer.close()

        await one.set(one.service(), await one.backend("a", echo))
        reader, writer = await asyncio.open_connection(VIRTUAL, one.port)
        await one.balancer.change({KEY: None})
        blob = random.Random(1).randbytes(3_000_000)

        async def send() -> None:
            writer.write(blob)
            await writer.drain()
            writer.write_eof()  # a closed half is told, and the other goes on

        sending = asyncio.create_task(send())
        assert await reader.read(-1) == blob + b" end"
        await sending
        writer.close()


@pytest.mark.parametrize("balance", [Balance.ROUND_ROBIN, Balance.SOURCE_HASH])
async def test_the_way_of_balancing(balance: Balance) -> None:
    async with world() as one:
        found = [await one.backend(name) for name in "abcd"]
        await one.set(one.service(balance=balance), *found)
        answers = await one.ask(8)
        assert dict(answers) == (
            {"a": 2, "b": 2, "c": 2, "d": 2} if balance is Balance.ROUND_ROBIN else {max(answers): 8}
        )


async def test_the_least_burdened_gets_the_next_connection() -> None:
    async with world() as one:
        found = [await one.backend(name) for name in "abc"]
        await one.set(one.service(balance=Balance.LEAST_CONNECTIONS), *found)
        held = [await asyncio.open_connection(VIRTUAL, one.port) for _ in range(30)]
        names = Counter([(await reader.read(10)).decode() for reader, _ in held])
        assert names == {"a": 10, "b": 10, "c": 10}
        assert sorted((load.live, load.picks) for load in one.balancer.carried()) == [(10, 10)] * 3
        assert {(load.key, load.protocol, load.port) for load in one.balancer.carried()} == {
            (KEY, "tcp", str(one.port))
        }
        for _, writer in held:
            writer.close()


async def test_what_a_departed_endpoint_was_given_is_told_while_it_has_connections() -> None:
    async with world() as one:
        first, second = await one.backend("a"), await one.backend("b")
        await one.set(one.service(), first)
        await one.ask(3)
        reader, writer = await asyncio.open_connection(VIRTUAL, one.port)
        assert await reader.read(1) == b"a"
        await one.set(one.service(), second)
        assert [(load.target, load.picks) for load in one.balancer.carried()] == [(first.target, 4)]
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(5):
            while any(load.live for load in one.balancer.carried() if load.target == first.target):
                await one.ask()
        await one.set(one.service(), second)
        assert [load.target for load in one.balancer.carried()] == [second.target]


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[str] = asyncio.Queue()

    def datagram_received(self, data: bytes, _: object) -> None:
        self.answers.put_nowait(data.decode())

    def error_received(self, error: Exception) -> None:
        self.answers.put_nowait(type(error).__name__)


async def test_a_udp_client_stays_with_its_endpoint_and_moves_on() -> None:
    async with world() as one:
        one.port = free_port(socket.SOCK_DGRAM)
        found = {name: await one.udp_backend(name) for name in "ab"}
        await one.set(one.service("udp"), *found.values())
        transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
            Client, remote_addr=(VIRTUAL, one.port)
        )

        async def said(text: str) -> str:
            transport.sendto(text.encode())
            async with asyncio.timeout(5):
                return await client.answers.get()

        names = {(await said(str(number))).split()[0] for number in range(10)}
        assert len(names) == 1
        (other,) = set(found) - names
        assert await one.set(one.service("udp"), found[other]) == 1  # one flow lost its endpoint
        assert await said("x") == f"{other} x"
        await one.set(one.service("udp"))
        assert await said("y") == "ConnectionRefusedError"
        transport.close()


async def test_two_services_on_one_address_are_told_apart() -> None:
    async with world() as one:
        end = await one.backend("a")
        await one.set(one.service(), end)
        second = replace(one.service(), key=("default", "zz"))
        await one.balancer.change({second.key: decide(second, dict.fromkeys(second.ports, (end,)), SETTINGS)})
        assert one.balancer.refused == {second.key: f"tcp {VIRTUAL}:{one.port} is served for default/web"}
        assert await one.ask() == {"a": 1}
