"""The proxy follows the API: one transaction per change, all anew after a refusal, nothing before all is known."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest

from homeport.api.resources import Resource
from homeport.client.contract import Listing, Object, WatchEvent
from homeport.client.informer import InformerFactory
from homeport.proxy.kernel import NftablesMissing
from homeport.proxy.model import ProxySettings, Target
from homeport.proxy.shell import Means, Proxy
from homeport.proxy.userspace.balancer import UserspaceBalancer
from homeport.testing.loop import VirtualClock
from tests.proxy.kernel_model import KernelModel

SETTINGS = ProxySettings(
    IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"), (IPv4Address("10.244.0.1"),), (), "here"
)


class Api:
    """Collections in memory, enough for informers: list once, then watch."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, dict[tuple[str, str], Object]] = {"services": {}, "endpointslices": {}, "nodes": {}}
        self.watches: dict[str, asyncio.Queue[WatchEvent]] = {plural: asyncio.Queue() for plural in self.objects}

    async def list(self, resource: Resource, *_: Any, **__: Any) -> Listing:
        return Listing(list(self.objects[resource.plural].values()), str(self.version))

    @asynccontextmanager
    async def watch(self, resource: Resource, *_: Any, **__: Any) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async def events() -> AsyncIterator[WatchEvent]:
            while True:
                yield await self.watches[resource.plural].get()

        yield events()

    def put(self, plural: str, name: str, body: dict[str, Any], labels: dict[str, str] | None = None) -> None:
        self.version += 1
        metadata = {"namespace": "default", "name": name, "resourceVersion": str(self.version), "labels": labels or {}}
        key = ("default", name)
        kind = "MODIFIED" if key in self.objects[plural] else "ADDED"
        self.objects[plural][key] = {"metadata": metadata, **body}
        self.watches[plural].put_nowait(WatchEvent(kind, self.objects[plural][key]))

    def remove(self, plural: str, name: str) -> None:
        self.version += 1
        obj = self.objects[plural].pop(("default", name))
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.watches[plural].put_nowait(WatchEvent("DELETED", {**obj, "metadata": metadata}))

    def service(self, name: str, address: str, protocol: str = "TCP") -> None:
        spec = {"type": "ClusterIP", "clusterIP": address, "ports": [{"port": 80, "protocol": protocol}]}
        self.put("services", name, {"spec": spec})

    def slice(self, service: str, *addresses: str, protocol: str = "TCP") -> None:
        body = {
            "addressType": "IPv4",
            "ports": [{"name": "", "protocol": protocol, "port": 8080}],
            "endpoints": [{"addresses": [address]} for address in addresses],
        }
        self.put("endpointslices", f"{service}-abc", body, {"kubernetes.io/service-name": service})


class Rig:
    """A running proxy on a modelled kernel."""

    def __init__(self, api: Api, kernel: KernelModel) -> None:
        self.api, self.kernel = api, kernel
        self.forgotten: list[Mapping[Target, frozenset[Target]]] = []
        self.informers = InformerFactory(api)  # type: ignore[arg-type]
        self.proxy = Proxy(
            self.informers, VirtualClock(), (SETTINGS,), kernel=lambda: kernel, forget_flows=self._forget
        )

    def _forget(self, serving: Mapping[Target, frozenset[Target]]) -> int:
        self.forgotten.append(serving)
        return 1

    async def settle(self) -> None:
        """Let what was just written reach the proxy, and the proxy the kernel."""
        await asyncio.sleep(0.01)
        await self.proxy.settled()

    def where(self, address: str, protocol: str = "tcp") -> str | None:
        return self.kernel.elements.get(("services", f"{address} . {protocol} . 80"))

    async def run(self, scenario: Callable[["Rig"], Coroutine[Any, Any, None]]) -> None:
        tasks = [asyncio.create_task(self.informers.run()), asyncio.create_task(self.proxy.run())]
        try:
            await scenario(self)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert self.kernel.closed


@pytest.mark.virtual
async def test_what_is_known_at_first_goes_in_one_transaction() -> None:
    api = Api()
    for number in range(50):
        api.service(f"web-{number}", f"10.96.1.{number}")
        api.slice(f"web-{number}", "10.244.0.2")

    async def scenario(rig: Rig) -> None:
        await rig.settle()
        claim, everything = rig.kernel.log
        assert claim.startswith("create table ip homeport\n")
        assert everything.startswith("add table ip homeport\ndelete table ip homeport\n")
        assert rig.where("10.96.1.49") == "goto cluster-1"
        assert rig.proxy.status.healthy
        assert rig.proxy.status.services == 50

    await Rig(api, KernelModel()).run(scenario)


@pytest.mark.virtual
async def test_each_change_is_one_small_transaction() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.service("web", "10.96.1.1")
        await rig.settle()
        assert rig.where("10.96.1.1") == "goto refuse"
        rig.api.slice("web", "10.244.0.2")
        await rig.settle()
        assert rig.where("10.96.1.1") == "goto cluster-1"
        count = len(rig.kernel.log)
        rig.api.slice("web", "10.244.0.2", "10.244.0.3")
        await rig.settle()
        assert len(rig.kernel.log) == count + 1
        assert "endpoints { 10.96.1.1 . tcp . 80 . 0x1 : 10.244.0.3 . 8080 }" in rig.kernel.log[-1]
        rig.api.slice("web", "10.244.0.2", "10.244.0.3")  # written again, unchanged
        await rig.settle()
        assert len(rig.kernel.log) == count + 1
        rig.api.remove("services", "web")
        await rig.settle()
        assert (rig.where("10.96.1.1"), rig.kernel.chains, rig.kernel.elements) == (None, {}, {})
        assert rig.proxy.rules == {}

    await Rig(Api(), KernelModel()).run(scenario)


@pytest.mark.virtual
async def test_a_table_left_by_an_earlier_proxy_serves_until_it_is_replaced() -> None:
    kernel = KernelModel()
    kernel.exists = True
    kernel.chains["cluster/default/old/tcp/80"] = []

    async def scenario(rig: Rig) -> None:
        await rig.settle()
        assert kernel.chains == {}

    await Rig(Api(), kernel).run(scenario)


@pytest.mark.virtual
async def test_a_kernel_that_takes_nothing_is_tried_again() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.settle()
        rig.kernel.fail_next(3)  # the change, the whole, and the empty table
        rig.api.service("web", "10.96.1.1")
        await asyncio.sleep(0.1)
        assert not rig.proxy.status.healthy
        rig.api.service("other", "10.96.1.2")
        await rig.settle()
        assert rig.where("10.96.1.1") == rig.where("10.96.1.2") == "goto refuse"
        assert rig.proxy.status.healthy
        assert rig.proxy.status.failures == 3

    await Rig(Api(), KernelModel()).run(scenario)


@pytest.mark.virtual
async def test_udp_flows_of_departed_endpoints_are_forgotten() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.service("dns", "10.96.1.1", "UDP")
        rig.api.slice("dns", "10.244.0.2", "10.244.0.3", protocol="UDP")
        await rig.settle()
        rig.forgotten.clear()
        rig.api.slice("dns", "10.244.0.3", protocol="UDP")
        await rig.settle()
        asked, stays = Target(IPv4Address("10.96.1.1"), 80), Target(IPv4Address("10.244.0.3"), 8080)
        assert rig.forgotten == [{asked: frozenset({stays})}]
        rig.forgotten.clear()
        rig.api.slice("dns", protocol="UDP")
        await rig.settle()
        assert rig.forgotten == []  # nobody serves: nothing is gained by forgetting
        assert rig.where("10.96.1.1", "udp") == "goto refuse"

    await Rig(Api(), KernelModel()).run(scenario)


@pytest.mark.virtual
async def test_a_slice_that_changes_hands_changes_both_services() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.service("one", "10.96.1.1")
        rig.api.service("two", "10.96.1.2")
        rig.api.slice("one", "10.244.0.2")
        await rig.settle()
        obj = rig.api.objects["endpointslices"][("default", "one-abc")]
        body = {key: value for key, value in obj.items() if key != "metadata"}
        rig.api.put("endpointslices", "one-abc", body, {"kubernetes.io/service-name": "two"})
        await rig.settle()
        assert rig.where("10.96.1.1") == "goto refuse"
        assert rig.where("10.96.1.2") == "goto cluster-1"

    await Rig(Api(), KernelModel()).run(scenario)


@pytest.mark.virtual
async def test_a_machine_without_nftables_is_told_what_to_install() -> None:
    def missing() -> KernelModel:
        raise NftablesMissing("Install the package `nftables`")

    informers = InformerFactory(Api())  # type: ignore[arg-type]
    with pytest.raises(NftablesMissing, match="nftables"):
        await Proxy(informers, VirtualClock(), (SETTINGS,), means=Means.NFTABLES, kernel=missing).run()


@pytest.mark.virtual
async def test_without_nftables_it_balances_in_user_space() -> None:
    def missing() -> KernelModel:
        raise NftablesMissing("Install the package `nftables`")

    def on_loopback(settings: ProxySettings) -> UserspaceBalancer:
        return UserspaceBalancer(settings, random.Random(1))

    settings = replace(SETTINGS, node_addresses=(), services=IPv4Network("127.0.9.0/24"))
    api = Api()
    informers = InformerFactory(api)  # type: ignore[arg-type]
    proxy = Proxy(informers, VirtualClock(), (settings,), kernel=missing, userspace=on_loopback)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(informers.run()), group.create_task(proxy.run())]
        await proxy.settled()
        assert proxy.status.healthy
        for task in running:
            task.cancel()


@pytest.mark.virtual
async def test_a_change_is_applied_when_the_kernel_has_it() -> None:
    api = Api()
    api.service("web", "10.96.1.1")
    api.slice("web", "10.244.0.2")

    async def scenario(rig: Rig) -> None:
        await rig.proxy.applied(str(api.version))
        assert rig.where("10.96.1.1") == "goto cluster-1"
        waiting = asyncio.create_task(rig.proxy.applied(str(api.version + 1)))
        await asyncio.sleep(60)
        assert not waiting.done()
        api.slice("web", "10.244.0.2", "10.244.0.3")
        await asyncio.wait_for(waiting, 1)
        assert rig.where("10.96.1.1") == "goto cluster-2"
        assert rig.proxy.describe() == {"means": "nftables", "services": 1, "healthy": True, "lastError": ""}
        assert rig.proxy.carried() == []

    await Rig(api, KernelModel()).run(scenario)


@pytest.mark.virtual
async def test_a_pod_has_departed_when_the_kernel_knows_it_terminates() -> None:
    def slice_(terminating: bool) -> None:
        endpoints = [
            {
                "addresses": [f"10.244.0.{number}"],
                "conditions": {"ready": not leaving, "serving": True, "terminating": leaving},
                "targetRef": {"kind": "Pod", "name": f"web-{number}", "uid": f"uid-{number}"},
            }
            for number, leaving in ((2, False), (3, terminating))
        ]
        body = {"addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints}
        api.put("endpointslices", "web-abc", body, {"kubernetes.io/service-name": "web"})

    api = Api()
    api.service("web", "10.96.1.1")
    slice_(terminating=False)

    async def scenario(rig: Rig) -> None:
        await rig.settle()
        await asyncio.wait_for(rig.proxy.departed("uid of a pod no slice names"), 0.01)
        waiting = asyncio.create_task(rig.proxy.departed("uid-3"))
        await asyncio.sleep(60)
        assert not waiting.done()
        assert rig.where("10.96.1.1") == "goto cluster-2"
        slice_(terminating=True)
        await waiting
        assert rig.where("10.96.1.1") == "goto cluster-1"
        other = asyncio.create_task(rig.proxy.departed("uid-2"))
        await asyncio.sleep(1)
        assert not other.done()
        api.remove("endpointslices", "web-abc")
        await other

    await Rig(api, KernelModel()).run(scenario)


class BothTables:
    """A kernel with a table for each family."""

    def __init__(self) -> None:
        self.tables = {"ip": KernelModel(), "ip6": KernelModel()}

    async def apply(self, transaction: str) -> None:
        family = "ip6" if "ip6 homeport" in transaction else "ip"
        await self.tables[family].apply(transaction.replace("ip6 homeport", "ip homeport"))

    async def read(self, command: str) -> str:
        return ""

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.virtual
async def test_a_service_of_two_families_is_balanced_in_each() -> None:
    settings6 = ProxySettings(IPv6Network("fd00:244::/64"), IPv6Network("fd00:96::/112"), (), (), "here")
    api, kernel = Api(), BothTables()
    informers = InformerFactory(api)  # type: ignore[arg-type]
    proxy = Proxy(informers, VirtualClock(), (SETTINGS, settings6), kernel=lambda: kernel, forget_flows=lambda _: 0)

    def where(family: str, address: str) -> str | None:
        return kernel.tables[family].elements.get(("services", f"{address} . tcp . 80"))

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(informers.run()), group.create_task(proxy.run())]
        spec = {"type": "ClusterIP", "clusterIPs": ["10.96.1.1", "fd00:96::7"], "ports": [{"port": 80}]}
        api.put("services", "web", {"spec": spec})
        api.slice("web", "10.244.0.2", "10.244.0.3")
        await asyncio.sleep(0.01)
        await proxy.settled()
        assert (where("ip", "10.96.1.1"), where("ip6", "fd00:96::7")) == ("goto cluster-2", "goto refuse")
        body = {
            "addressType": "IPv6",
            "ports": [{"name": "", "port": 8080}],
            "endpoints": [{"addresses": ["fd00:244::2"]}],
        }
        count = len(kernel.tables["ip"].log)
        api.put("endpointslices", "web-six", body, {"kubernetes.io/service-name": "web"})
        await asyncio.sleep(0.01)
        await proxy.settled()
        assert (where("ip", "10.96.1.1"), where("ip6", "fd00:96::7")) == ("goto cluster-2", "goto cluster-1")
        assert len(kernel.tables["ip"].log) == count  # what the other family says is no change here
        api.service("web", "10.96.1.1")
        await asyncio.sleep(0.01)
        await proxy.settled()
        assert (where("ip", "10.96.1.1"), where("ip6", "fd00:96::7")) == ("goto cluster-2", None)
        for task in running:
            task.cancel()
