"""Cluster addresses: given out of ranges that are objects, one object each, in one family or both."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import pytest

from homeport.server.addressbook import Range
from homeport.server.pools import Full, choose
from homeport.store.memory import MemoryStore
from tests.server.inprocess import MERGE, SERVICES, WITHOUT_ACCOUNTS, Asker, running

V4, V6 = IPv4Network("10.96.0.0/24"), IPv6Network("fd00:10:96::/112")
BOTH = replace(WITHOUT_ACCOUNTS, service_cidrs=(V4, V6))
IPV6 = replace(WITHOUT_ACCOUNTS, service_cidrs=(V6,), advertise=("fd00:10:244::1", 6443))
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"

pytestmark = pytest.mark.virtual


def service(name: str = "s", **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


def ranges(name: str, *cidrs: str) -> Any:
    return {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}}


async def addresses(ask: Asker) -> dict[str, str]:
    """Return what stands for each address, but for the API's own."""
    listed = (await ask.get(ADDRESSES))["items"]
    found = {one["metadata"]["name"]: one["spec"]["parentRef"] for one in listed}
    return {
        name: f"{parent.get('namespace')}/{parent['name']}"
        for name, parent in found.items()
        if parent["name"] != "kubernetes"
    }


async def patched(ask: Asker, name: str, **spec: Any) -> Any:
    answer = await ask("PATCH", f"{SERVICES}/{name}", {"spec": spec}, content_type=MERGE)
    return answer.body


@pytest.mark.parametrize(
    ("cidr", "static", "first", "last"),
    [
        ("10.0.0.0/28", 0, "10.0.0.1", "10.0.0.14"),
        ("10.0.0.0/24", 16, "10.0.0.1", "10.0.0.254"),
        ("10.0.0.0/16", 256, "10.0.0.1", "10.0.255.254"),
        ("fd00::/124", 0, "fd00::1", "fd00::f"),
        ("fd00::/112", 256, "fd00::1", "fd00::ffff"),
    ],
)
async def test_a_range_leaves_out_its_ends_and_keeps_a_band(cidr: str, static: int, first: str, last: str) -> None:
    one = Range(ip_network(cidr))
    assert (one.static, one.first, one.last) == (static, int(ip_address(first)), int(ip_address(last)))
    assert ip_address(last) in one
    assert one.network.network_address not in one
    rng = random.Random(1)
    assert all(choose(one.first, one.last, static, rng, lambda _: False) >= one.first + static for _ in range(20))


async def test_every_number_is_chosen_once_the_others_are_taken() -> None:
    rng, taken = random.Random(2), set[int]()
    for _ in range(30):
        taken.add(choose(1, 30, 8, rng, taken.__contains__))
    assert taken == set(range(1, 31))
    with pytest.raises(Full):
        choose(1, 30, 8, rng, taken.__contains__)


async def test_every_address_has_its_object_for_as_long_as_its_service() -> None:
    async with running() as ask:
        made = (await ask.create(SERVICES, service()))["spec"]
        found = await ask.get(f"{ADDRESSES}/{made['clusterIP']}")
        assert found["metadata"]["labels"] == {
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        assert found["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "s"}}
        assert (await ask.get(f"{ADDRESSES}/10.96.0.1"))["spec"]["parentRef"]["name"] == "kubernetes"
        await ask("DELETE", f"{SERVICES}/s")
        assert await addresses(ask) == {}


@pytest.mark.parametrize(
    ("spec", "families", "count"),
    [
        ({}, ["IPv4"], 1),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], 2),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, ["IPv6", "IPv4"], 2),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"], 1),
        ({"clusterIP": "fd00:10:96::7"}, ["IPv6"], 1),
        ({"clusterIP": "None", "selector": {"a": "b"}, "ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], 0),
    ],
)
async def test_a_service_gets_an_address_of_each_family(spec: Any, families: list[str], count: int) -> None:
    async with running(BOTH) as ask:
        made = (await ask.create(SERVICES, service(**spec)))["spec"]
        assert made["ipFamilies"] == families
        if count:
            assert made["clusterIP"] == made["clusterIPs"][0]
            assert [f"IPv{ip_address(one).version}" for one in made["clusterIPs"]] == families
            assert all(ip_address(one) in (V4 if "." in one else V6) for one in made["clusterIPs"])
        else:
            assert made["clusterIPs"] == ["None"]
        assert set(await addresses(ask)) == (set(made["clusterIPs"]) if count else set())


async def test_the_second_address_comes_and_goes_and_the_first_stays() -> None:
    async with running(BOTH) as ask:
        first = (await ask.create(SERVICES, service()))["spec"]["clusterIP"]
        both = (await patched(ask, "s", ipFamilyPolicy="PreferDualStack"))["spec"]
        assert both["clusterIPs"][0] == first
        assert len(both["clusterIPs"]) == 2
        assert set(await addresses(ask)) == set(both["clusterIPs"])
        again = (await patched(ask, "s", ipFamilyPolicy="SingleStack"))["spec"]
        assert (again["clusterIPs"], again["ipFamilies"]) == ([first], ["IPv4"])
        assert set(await addresses(ask)) == {first}
        named = (await patched(ask, "s", ipFamilyPolicy="RequireDualStack", clusterIPs=[first, "fd00:10:96::99"]))[
            "spec"
        ]
        assert named["clusterIPs"] == [first, "fd00:10:96::99"]
        gone = await patched(ask, "s", type="ExternalName", externalName="a.example", clusterIP=None, clusterIPs=None)
        assert "clusterIPs" not in gone["spec"]
        assert await addresses(ask) == {}


async def test_a_family_the_cluster_lacks_is_refused() -> None:
    async with running() as ask:
        wanted = {"ipFamilyPolicy": "RequireDualStack"}
        assert (
            "this cluster is not configured for dual-stack services"
            in (await ask("POST", SERVICES, service(**wanted))).body["message"]
        )
        assert (
            "IPv6 is not configured on this cluster"
            in (await ask("POST", SERVICES, service(clusterIP="fd00:10:96::7"))).body["message"]
        )


async def test_a_failed_write_gives_both_addresses_back() -> None:
    tiny = replace(WITHOUT_ACCOUNTS, service_cidrs=(IPv4Network("10.96.0.0/29"), IPv6Network("fd00::/125")))
    async with running(tiny) as ask:
        for _ in range(12):
            broken = service(ipFamilyPolicy="RequireDualStack", sessionAffinity="Nobody")
            assert (await ask("POST", SERVICES, broken)).status == 422
        dry = await ask("POST", f"{SERVICES}?dryRun=All", service("d", ipFamilyPolicy="RequireDualStack"))
        assert dry.body["spec"]["clusterIPs"] == ["10.96.0.0", "fd00::"]
        for number in range(5):
            await ask.create(SERVICES, service(f"s{number}", ipFamilyPolicy="RequireDualStack"))
        full = await ask("POST", SERVICES, service("last"))
        assert full.status == 500
        assert 'failed to allocate a serviceIP for Service "last": range is full' in full.body["message"]


async def test_an_ipv6_cluster() -> None:
    async with running(IPV6) as ask:
        api = (await ask.get(f"{SERVICES}/kubernetes"))["spec"]
        assert (api["clusterIPs"], api["ipFamilies"]) == (["fd00:10:96::1"], ["IPv6"])
        slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
        assert (await ask.get(slices))["addressType"] == "IPv6"
        assert (await ask.create(SERVICES, service()))["spec"]["ipFamilies"] == ["IPv6"]


async def test_more_ranges_are_drawn_from_when_the_first_is_full() -> None:
    tiny = replace(WITHOUT_ACCOUNTS, service_cidrs=(IPv4Network("10.96.0.0/30"),))
    async with running(tiny) as ask:
        await ask.create(SERVICES, service("a"))
        assert (await ask("POST", SERVICES, service("b"))).status == 500
        outside = await ask("POST", SERVICES, service("b", clusterIP="10.97.0.3"))
        assert outside.body["message"].endswith(
            'spec.clusterIPs: Invalid value: ["10.97.0.3"]: failed to allocate IP 10.97.0.3: '
            "the provided network does not match the current range"
        )
        await ask.create(CIDRS, ranges("more", "10.97.0.0/28"))
        assert (await ask.create(SERVICES, service("b", clusterIP="10.97.0.3")))["spec"]["clusterIP"] == "10.97.0.3"
        assert ip_address((await ask.create(SERVICES, service("c")))["spec"]["clusterIP"]) in ip_network("10.97.0.0/28")
        stop = {
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Terminating", "message": ""}]}
        }
        stop["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        assert (await ask("PATCH", f"{CIDRS}/more/status", stop, content_type=MERGE)).status == 200
        assert (await ask("POST", SERVICES, service("d"))).status == 500


async def test_a_range_too_wide_is_not_drawn_from() -> None:
    async with running(BOTH) as ask:
        await ask.create(CIDRS, ranges("wide", "fd01::/63"))
        refused = await ask("POST", SERVICES, service(clusterIP="fd01::7"))
        assert "the provided network does not match the current range" in refused.body["message"]
        await ask.create(CIDRS, ranges("narrow", "fd01::/64"))
        assert (await ask.create(SERVICES, service(clusterIP="fd01::7")))["spec"]["clusterIP"] == "fd01::7"


@pytest.mark.parametrize("address", ["10.96.0.0", "10.96.0.255", "fd00:10:96::"])
async def test_the_ends_of_a_range_are_of_no_range(address: str) -> None:
    async with running(BOTH) as ask:
        refused = await ask("POST", SERVICES, service(clusterIP=address))
        assert "the provided network does not match the current range" in refused.body["message"]


async def test_an_address_somebody_reserved_is_not_given_out() -> None:
    async with running() as ask:
        parent = {"resource": "widgets", "group": "example.com", "name": "w"}
        await ask.create(ADDRESSES, {"metadata": {"name": "10.96.7.7"}, "spec": {"parentRef": parent}})
        refused = await ask("POST", SERVICES, service(clusterIP="10.96.7.7"))
        assert "failed to allocate IP 10.96.7.7: provided IP is already allocated" in refused.body["message"]
        assert (await ask("DELETE", f"{ADDRESSES}/10.96.7.7")).status == 200
        await ask.create(SERVICES, service(clusterIP="10.96.7.7"))


async def test_an_object_taken_away_comes_back_and_a_stray_one_goes() -> None:
    async with running() as ask:
        address = (await ask.create(SERVICES, service()))["spec"]["clusterIP"]
        events = await ask.watch(f"{ADDRESSES}?watch=1&fieldSelector=metadata.name={address}")
        assert await events.take(1) == [("ADDED", address)]
        await ask("DELETE", f"{ADDRESSES}/{address}")
        assert await events.take(2) == [("DELETED", address), ("ADDED", address)]
        labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
        parent = {"resource": "services", "namespace": "default", "name": "nobody"}
        stray = {"metadata": {"name": "10.96.9.9", "labels": labels}, "spec": {"parentRef": parent}}
        await ask.create(ADDRESSES, stray)
        events = await ask.watch(f"{ADDRESSES}?watch=1&fieldSelector=metadata.name=10.96.9.9")
        assert await events.take(2) == [("ADDED", "10.96.9.9"), ("DELETED", "10.96.9.9")]


@asynccontextmanager
async def restarted(store: MemoryStore, settings: Any) -> AsyncIterator[Asker]:
    async with running(settings, store) as ask:
        yield ask


async def test_a_restart_mends_what_a_crash_left() -> None:
    store = MemoryStore()
    async with restarted(store, BOTH) as ask:
        made = (await ask.create(SERVICES, service(ipFamilyPolicy="RequireDualStack")))["spec"]["clusterIPs"]
    for lost in (f"networking.k8s.io/ipaddresses/{made[0]}", "services/default/kubernetes"):
        entry = await store.get(f"/registry/{lost}")
        assert entry is not None
        await store.delete(entry.key, expect=entry.revision)
    async with restarted(store, BOTH) as ask:
        assert await addresses(ask) == dict.fromkeys(made, "default/s")
        assert (await ask.get(f"{ADDRESSES}/10.96.0.1"))["spec"]["parentRef"]["name"] == "kubernetes"
        taken = await ask("POST", SERVICES, service("t", clusterIP=made[0]))
        assert "provided IP is already allocated" in taken.body["message"]
    await store.close()


async def test_the_default_ranges_grow_with_the_settings_and_are_not_taken_back() -> None:
    store = MemoryStore()
    one = replace(WITHOUT_ACCOUNTS, service_cidrs=(V4,))
    async with restarted(store, one) as ask:
        default = await ask.get(f"{CIDRS}/kubernetes")
        assert default["spec"]["cidrs"] == [str(V4)]
        (ready,) = default["status"]["conditions"]
        assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "")
        assert ready["message"] == "Kubernetes default Service CIDR is ready"
        await ask.create(SERVICES, service(ipFamilyPolicy="PreferDualStack"))
    async with restarted(store, BOTH) as ask:
        assert (await ask.get(f"{CIDRS}/kubernetes"))["spec"]["cidrs"] == [str(V4), str(V6)]
        assert len((await ask.get(f"{SERVICES}/s"))["spec"]["clusterIPs"]) == 1
        labelled = await ask("PATCH", f"{SERVICES}/s", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
        assert len(labelled.body["spec"]["clusterIPs"]) == 1  # nobody asked for more
    async with restarted(store, one) as ask:
        assert (await ask.get(f"{CIDRS}/kubernetes"))["spec"]["cidrs"] == [str(V4), str(V6)]
        events = (await ask.get("/api/v1/namespaces/default/events"))["items"]
        assert [(event["reason"], event["message"]) for event in events] == [
            (
                "KubernetesDefaultServiceCIDRInconsistent",
                f"The default ServiceCIDR [{V4} {V6}] does not match the controller flag configurations [{V4}]",
            )
        ]
    await store.close()
