"""LoadBalancer Services get an address of the pool, keep it, and give it back."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from homeport.controllers.loadbalancer.assign import Exhausted, Wanted, assign
from homeport.testing.cluster import SimulatedCluster

IPV4, IPV6 = ip_network("10.98.0.0/30"), ip_network("fd00:98::/126")


@pytest.mark.parametrize(
    ("wanted", "taken", "given"),
    [
        (Wanted((4,)), (), ("10.98.0.1",)),
        (Wanted((4,)), ("10.98.0.1",), ("10.98.0.2",)),
        (Wanted((4,), held=("10.98.0.2",)), (), ("10.98.0.2",)),
        (Wanted((4,), held=("10.98.0.2",)), ("10.98.0.2",), ("10.98.0.1",)),  # two claim it: one moves
        (Wanted((4,), held=("192.0.2.1",)), (), ("10.98.0.1",)),
        (Wanted((4,), "10.98.0.2"), (), ("10.98.0.2",)),
        (Wanted((4,), "10.98.0.2", ("10.98.0.1",)), (), ("10.98.0.2",)),
        (Wanted((6, 4)), (), ("fd00:98::1", "10.98.0.1")),
        (Wanted((4, 6), "fd00:98::2"), (), ("10.98.0.1", "fd00:98::2")),
    ],
)
def test_what_is_given(wanted: Wanted, taken: tuple[str, ...], given: tuple[str, ...]) -> None:
    assert tuple(map(str, assign(wanted, (IPV4, IPV6), set(map(ip_address, taken))))) == given


@pytest.mark.parametrize(
    ("wanted", "taken", "complaint"),
    [
        (Wanted((4,)), ("10.98.0.1", "10.98.0.2"), "every address of 10.98.0.0/30 is taken"),
        (Wanted((4,), "10.99.0.1"), (), "spec.loadBalancerIP 10.99.0.1 is not in 10.98.0.0/30"),
        (Wanted((4,), "here"), (), "spec.loadBalancerIP here is not in"),
        (Wanted((4,), "10.98.0.1"), ("10.98.0.1",), "belongs to another Service"),
    ],
)
def test_what_cannot_be_given(wanted: Wanted, taken: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(Exhausted, match=complaint):
        assign(wanted, (IPV4,), set(map(ip_address, taken)))


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": ports, **spec},
    }


def address(homeport: SimulatedCluster, name: str) -> str:
    ingress = homeport.get(f"svc/{name}")["status"]["loadBalancer"].get("ingress") or [{"ip": ""}]
    return str(ingress[0]["ip"])


def test_an_address_comes_stays_and_goes(homeport: SimulatedCluster) -> None:
    homeport.apply([service("a"), service("b", loadBalancerIP="10.98.0.7"), service("c", loadBalancerClass="a.io/b")])
    homeport.wait("svc/a")
    homeport.settle()
    assert [address(homeport, name) for name in "abc"] == ["10.98.0.1", "10.98.0.7", ""]
    assert homeport.get("svc/a")["status"]["loadBalancer"]["ingress"] == [{"ip": "10.98.0.1", "ipMode": "VIP"}]
    homeport.restart_controllers()
    homeport.apply(service("d"))
    homeport.settle()
    assert [address(homeport, name) for name in "abd"] == ["10.98.0.1", "10.98.0.7", "10.98.0.2"]
    homeport.patch("svc/a", {"spec": {"type": "ClusterIP"}})
    homeport.settle()
    assert homeport.get("svc/a")["status"]["loadBalancer"] == {}
    homeport.apply(service("e"))
    homeport.settle()
    assert address(homeport, "e") == "10.98.0.1"


def test_who_finds_none_is_told_and_served_when_one_is_free(homeport: SimulatedCluster) -> None:
    homeport.apply([service("a", loadBalancerIP="10.98.0.9"), service("b", loadBalancerIP="10.98.0.9")])
    homeport.settle()
    waiting = "b" if address(homeport, "a") else "a"
    (event,) = (one for one in homeport.events(f"svc/{waiting}") if one.reason == "SyncLoadBalancerFailed")
    assert "10.98.0.9 belongs to another Service" in event.message
    homeport.delete(f"svc/{'a' if waiting == 'b' else 'b'}")
    homeport.settle()
    assert address(homeport, waiting) == "10.98.0.9"
