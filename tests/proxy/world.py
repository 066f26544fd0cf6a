"""A cluster network with sandboxes, backends and the proxy's rules in the kernel, for scenarios in a namespace."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from homeport.node.network.bridge import BridgeNetwork
from homeport.node.network.settings import IPV4, IPV6, Family, NetworkSettings
from homeport.proxy import nftables
from homeport.proxy.backend import Backend, Changes, Mixed
from homeport.proxy.conntrack import forget_stale_flows, serving_endpoints
from homeport.proxy.dialect import dialect_of
from homeport.proxy.kernel import LibraryKernel
from homeport.proxy.model import Carried, Endpoint, Key, ProxySettings, Service, ServicePort, ServiceRules, Target
from homeport.proxy.rules import decide
from homeport.proxy.ruleset import Compiled, Ruleset
from homeport.proxy.shell import userspace_balancer

PEER = str(Path(__file__).with_name("peer.py"))
VERSION = 4
"""The IP version of every address below; scenarios name those of IPv4, and `told` makes them of the other."""


def settings_of(family: Family) -> ProxySettings:
    return ProxySettings(
        pods=family.pods,
        services=family.services,
        node_addresses=(family.gateway,),
        real_addresses=(family.dns,),
        node="here",
    )


SETTINGS = settings_of(IPV4)


def use(version: int) -> None:
    """Let the world of this process be of an IP version."""
    global VERSION, SETTINGS
    VERSION = version
    SETTINGS = settings_of(IPV4 if version == 4 else IPV6)


def told(address: str) -> str:
    """Return the address that plays the part of an IPv4 one."""
    if VERSION == 4 or ":" in address:
        return address
    low = int(IPv4Address(address)) & 0xFFFF
    network = {"10.244": "fd00:10:244::", "10.96.": "fd00:10:96::", "192.0.": "2001:db8::", "0.0.0.": "::"}[address[:6]]
    return str(IPv6Address(network) + low)


class Pod:
    """A sandbox with an address; `run` starts a program inside."""

    def __init__(self, pid: int, address: str) -> None:
        self.pid, self.address = pid, address

    def command(self, *arguments: str) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", sys.executable, "-I", PEER, *arguments]

    async def ask(self, address: str, port: int, count: int = 1, protocol: str = "tcp") -> dict[str, int]:
        return await ask(self.command("ask", protocol, told(address), str(port), str(count)))


async def ask(command: list[str]) -> dict[str, int]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    answers: dict[str, int] = json.loads(out)
    return answers


async def ask_from_node(address: str, port: int, count: int = 1, protocol: str = "tcp") -> dict[str, int]:
    return await ask([sys.executable, "-I", PEER, "ask", protocol, told(address), str(port), str(count)])


class Held:
    """The packet filter as a backend, with the rule set in reach."""

    failures = transactions = 0
    refused: Mapping[Key, str] = {}

    def __init__(self, world: "World") -> None:
        self._world = world

    async def claim(self) -> None:
        """The world sets the whole table."""

    async def change(self, changes: Changes) -> int:
        dialect = self._world.dialect
        await self._world.program(
            {key: rules and nftables.compile_service(rules, dialect) for key, rules in changes.items()}
        )
        return 0

    def carried(self) -> Sequence[Carried]:
        return ()

    async def close(self) -> None:
        """The world closes the kernel."""


class World:
    """Pods by name, and Services set by hand.

    masks  pods see the node as their peer: connections are made in user space
    """

    def __init__(self, directory: Path, means: str = "nftables") -> None:
        self.masks = means == "userspace"
        self._stack = ExitStack()
        self.network = BridgeNetwork(NetworkSettings((IPV4 if VERSION == 4 else IPV6,)), directory)
        self.settings, self.dialect = SETTINGS, dialect_of(VERSION)
        self.held = Ruleset(self.dialect)

    async def __aenter__(self) -> Self:
        await self.network.start()
        self.kernel = LibraryKernel()
        userspace = userspace_balancer(self.settings)
        self.backend: Backend = userspace if self.masks else Mixed(Held(self), userspace)
        if not self.masks:
            await self.kernel.apply(nftables.whole(self.held, SETTINGS))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.backend.close()
        self._stack.close()
        await self.kernel.close()
        await self.network.close()

    def spawn(self, command: list[str]) -> "subprocess.Popen[str]":
        """Start a program that prints one line when it is ready, and end it with the world."""
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin
        assert process.stdout

        def stop() -> None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream
                stream.close()

        self._stack.callback(stop)
        return process

    async def pod(self, name: str, port: int = 0) -> Pod:
        """Start a sandbox; with a port, a backend that says `name` serves there."""
        holder = self.spawn(["unshare", "--net", "sh", "-c", "echo ready; exec cat"])
        assert holder.stdout
        holder.stdout.readline()
        attachment = await self.network.attach(name, holder.pid)
        pod = Pod(holder.pid, attachment.address)
        if port:
            self.serve(pod.command("serve", name, str(port), told("0.0.0.0")))
        return pod

    def serve(self, command: list[str]) -> None:
        backend = self.spawn(command)
        assert backend.stdout
        assert backend.stdout.readline() == "ready\n"

    async def set(self, service: Service, *endpoints: Endpoint) -> ServiceRules:
        rules = decide(service, dict.fromkeys(service.ports, endpoints), SETTINGS)
        self._ended = await self.backend.change({service.key: rules})
        return rules

    def forgotten(self, rules: ServiceRules) -> int:
        """Return how many flows of departed endpoints are forgotten with the last change."""
        return self._ended if self.masks else forget_stale_flows(serving_endpoints([rules]))

    async def remove(self, service: Service) -> None:
        await self.backend.change({service.key: None})

    async def program(self, changes: dict[tuple[str, str], Compiled | None]) -> None:
        transaction = self.held.change(changes)
        if transaction:
            await self.kernel.apply(transaction)


def service(
    name: str, address: str, port: int = 80, protocol: str = "tcp", node_port: int = 0, **options: object
) -> Service:
    return Service(
        ("default", name),
        (ServicePort("", protocol, port, node_port),),
        (ip_address(told(address)),),
        **options,  # type: ignore[arg-type]
    )


def at(pod: Pod, port: int = 8080, **conditions: object) -> Endpoint:
    return Endpoint(Target(ip_address(told(pod.address)), port), node="here", **conditions)  # type: ignore[arg-type]


def away(pod: Pod, port: int = 8080) -> Endpoint:
    """The same endpoint, said to be on another node."""
    return replace(at(pod, port), node="there")


def table() -> str:
    return subprocess.run(
        ["nft", "list", "table", *dialect_of(VERSION).table.split()], check=True, capture_output=True, text=True
    ).stdout


__all__ = ["SETTINGS", "Pod", "World", "ask_from_node", "at", "away", "service", "table", "told", "use"]
