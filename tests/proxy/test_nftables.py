"""Text for the kernel: golden for the reader, random histories for the truth."""

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from homeport.proxy import nftables
from homeport.proxy.dialect import IPV6
from homeport.proxy.model import (
    Endpoint,
    Frontend,
    PortRules,
    ProxySettings,
    Service,
    ServicePort,
    ServiceRules,
    Target,
    Via,
)
from homeport.proxy.nftables import compile_service, whole
from homeport.proxy.rules import decide
from homeport.proxy.ruleset import Compiled, Ruleset, element
from tests.proxy.kernel_model import KernelModel

SETTINGS = ProxySettings(
    IPv4Network("10.244.0.0/16"),
    IPv4Network("10.96.0.0/16"),
    (IPv4Address("10.244.0.1"),),
    (IPv4Address("10.96.0.10"),),
    "here",
)
GOLDEN = Path(__file__).with_name("golden")
WEB = Service(("shop", "web"), (ServicePort("http", "tcp", 80, 30080),), (IPv4Address("10.96.1.1"),))


def endpoint(number: int, node: str = "here", port: int = 8080) -> Endpoint:
    return Endpoint(Target(IPv4Address(f"10.244.0.{number}"), port), node=node)


def compiled(service: Service, *endpoints: Endpoint) -> Compiled:
    return compile_service(decide(service, dict.fromkeys(service.ports, endpoints), SETTINGS))


def ruleset(*services: tuple[Service, list[Endpoint]]) -> Ruleset:
    held = Ruleset()
    held.change({service.key: compiled(service, *endpoints) for service, endpoints in services})
    return held


DNS = Service(("kube-system", "kube-dns"), (ServicePort("dns", "udp", 53),), (IPv4Address("10.96.0.10"),))
STICKY = replace(WEB, key=("shop", "sticky"), ports=(ServicePort("", "tcp", 81),), affinity_seconds=60)
NEAR = replace(WEB, key=("shop", "near"), ports=(ServicePort("near", "udp", 82, 30082),), external_local=True)
GUARDED = replace(
    WEB,
    key=("shop", "guarded"),
    ports=(ServicePort("", "tcp", 83),),
    balancer_addresses=(IPv4Address("192.0.2.1"),),
    source_ranges=(IPv4Network("198.51.100.0/24"),),
)
EMPTY = replace(WEB, key=("shop", "empty"), ports=(ServicePort("", "sctp", 84),))
AWAY = replace(WEB, key=("shop", "away"), ports=(ServicePort("", "tcp", 85),), internal_local=True)


def everything() -> Ruleset:
    return ruleset(
        (WEB, [endpoint(2), endpoint(3)]),
        (DNS, [endpoint(9)]),
        (STICKY, [endpoint(2), endpoint(3)]),
        (NEAR, [endpoint(4), endpoint(5, "there")]),
        (GUARDED, [endpoint(6)]),
        (EMPTY, []),
        (AWAY, [endpoint(5, "there")]),
    )


SETTINGS6 = ProxySettings(
    IPv6Network("fd00:10:244::/64"),
    IPv6Network("fd00:10:96::/112"),
    (IPv6Address("fd00:10:244::1"),),
    (IPv6Address("fd00:10:96::a"),),
    "here",
)


def everything_in_ipv6() -> Ruleset:
    def six(number: int, node: str = "here") -> Endpoint:
        return Endpoint(Target(IPv6Address("fd00:10:244::") + number, 8080), node=node)

    address = {"cluster_addresses": (IPv6Address("fd00:10:96::101"),)}
    guarded = replace(
        GUARDED,
        balancer_addresses=(IPv6Address("2001:db8::1"),),
        source_ranges=(IPv6Network("2001:db8:1::/48"),),
        **address,  # type: ignore[arg-type]
    )
    held = Ruleset(IPV6)
    for service, endpoints in (
        (replace(WEB, **address), [six(2), six(3)]),
        (replace(STICKY, **address), [six(2), six(3)]),
        (replace(NEAR, **address), [six(4), six(5, "there")]),
        (guarded, [six(6)]),
        (replace(EMPTY, **address), []),
    ):
        rules = decide(service, dict.fromkeys(service.ports, endpoints), SETTINGS6)
        held.change({service.key: compile_service(rules, IPV6)})
    return held


def golden(name: str, text: str) -> None:
    assert text == (GOLDEN / f"{name}.nft").read_text(encoding="utf-8")


def test_the_whole_table_reads_like_this() -> None:
    golden("whole", whole(everything(), SETTINGS))


def test_ipv6_has_a_table_of_its_own() -> None:
    golden("whole6", whole(everything_in_ipv6(), SETTINGS6))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("scaled", {WEB.key: compiled(WEB, endpoint(2), endpoint(3), endpoint(7))}),
        ("moved", {WEB.key: compiled(WEB, endpoint(2), endpoint(9))}),
        ("emptied", {WEB.key: compiled(WEB)}),
        ("removed", {STICKY.key: None}),
    ],
)
def test_a_change_touches_what_differs_alone(name: str, change: dict[tuple[str, str], Compiled | None]) -> None:
    golden(name, everything().change(change))


def test_no_change_is_no_transaction() -> None:
    assert everything().change({WEB.key: compiled(WEB, endpoint(2), endpoint(3)), ("no", "body"): None}) == ""


def test_the_first_by_name_has_an_address_two_services_claim() -> None:
    def claim(name: str, target: int) -> ServiceRules:
        frontend = Frontend(IPv4Address("192.0.2.1"), 80, Via.CLUSTER)
        ports = (PortRules("80", "tcp", (frontend,), (Target(IPv4Address(f"10.244.0.{target}"), 80),)),)
        return ServiceRules(("default", name), (), ports)

    key = element("endpoints", "192.0.2.1 . tcp . 80 . 0x0")
    held, kernel = Ruleset(), KernelModel()
    kernel.run(whole(held, SETTINGS))
    kernel.run(held.change({("default", name): compile_service(claim(name, n)) for n, name in ((2, "b"), (1, "a"))}))
    assert held.value(key) == "10.244.0.1 . 80"
    kernel.run(held.change({("default", "a"): None}))
    assert held.value(key) == "10.244.0.2 . 80"
    assert kernel.elements[("endpoints", "192.0.2.1 . tcp . 80 . 0x0")] == "10.244.0.2 . 80"


def test_chains_for_many_endpoints_come_with_the_first_that_needs_them_and_go_with_the_last() -> None:
    many = [endpoint(number) for number in range(2, 14)]
    other = replace(
        WEB, key=("shop", "zoo"), ports=(ServicePort("", "tcp", 90),), cluster_addresses=WEB.cluster_addresses
    )
    kernel, held = KernelModel(), Ruleset()
    kernel.run(whole(held, SETTINGS))
    for changes, chains in (
        ({WEB.key: compiled(WEB, *many)}, {"cluster-12", "external-12"}),
        ({other.key: compiled(other, *many)}, {"cluster-12", "external-12"}),
        ({WEB.key: None}, {"cluster-12"}),
        ({other.key: compiled(other, *many[1:])}, {"cluster-11"}),
        ({other.key: compiled(other, *many[:3])}, set()),
    ):
        kernel.run(held.change(changes))  # type: ignore[arg-type]
        assert kernel.chains.keys() == chains


LISTING = """table ip homeport {
  set hairpin {
    type ipv4_addr . ipv4_addr
    elements = { 10.244.0.2 . 10.244.0.2 }
  }
  set affinity/shop/sticky/tcp/81/10.244.0.2/8080 {
    type ipv4_addr
    size 65535
    flags dynamic,timeout
    elements = { 10.244.0.8 timeout 1m expires 12s340ms,
           10.244.0.9 timeout 1m expires 59s }
  }
  set affinity/shop/sticky/tcp/81/10.244.0.4/8080 {
    type ipv4_addr
    elements = { 10.244.0.7 timeout 1m expires 1s }
  }
  set affinity/shop/sticky/tcp/81/10.244.0.3/8080 {
    type ipv4_addr
    size 65535
  }
}
"""


def test_clients_stay_with_an_endpoint_that_stays() -> None:
    clients = nftables.known_clients(LISTING)
    assert list(clients) == [f"affinity/shop/sticky/tcp/81/10.244.0.{number}/8080" for number in (2, 4)]
    text = whole(everything(), SETTINGS, clients)
    assert text.endswith(
        "\nadd element ip homeport affinity/shop/sticky/tcp/81/10.244.0.2/8080"
        " { 10.244.0.8 timeout 1m expires 12s340ms, 10.244.0.9 timeout 1m expires 59s }\n"
    )
    kernel = KernelModel()
    kernel.run(text)
    assert len(kernel.clients) == 1


def test_long_names_stay_apart_and_within_the_limit() -> None:
    long = [replace(WEB, key=("n" * 63, "s" * 62 + letter), affinity_seconds=5) for letter in "ab"]
    names = [name for service in long for name in compiled(service, endpoint(200)).chains]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 120


@pytest.mark.parametrize("seed", range(60))
def test_any_history_of_differences_ends_where_a_whole_would(seed: int) -> None:
    rng = random.Random(seed)
    kernel, held = KernelModel(), Ruleset()
    kernel.run(whole(held, SETTINGS))
    for _ in range(25):
        changes: dict[tuple[str, str], Compiled | None] = {}
        for _ in range(rng.randint(1, 3)):
            key = ("default", f"svc-{rng.randrange(5)}")
            changes[key] = None if rng.random() < 0.2 else random_service(rng, key)
        kernel.run(held.change(changes))
        fresh = KernelModel()
        fresh.run(whole(held, SETTINGS))
        assert kernel.same_as(fresh)


def random_service(rng: random.Random, key: tuple[str, str]) -> Compiled:
    ports = tuple(
        ServicePort(name, rng.choice(("tcp", "udp")), rng.choice((80, 81)), rng.choice((0, 30080)))
        for name in rng.sample(("a", "b"), rng.randint(1, 2))
    )
    service = Service(
        key,
        ports,
        (IPv4Address(f"10.96.1.{rng.randrange(5)}"),),
        balancer_addresses=(IPv4Address("192.0.2.1"),) * rng.randint(0, 1),
        source_ranges=(IPv4Network("198.51.100.0/24"),) * rng.randint(0, 1),
        internal_local=rng.random() < 0.3,
        external_local=rng.random() < 0.3,
        affinity_seconds=rng.choice((0, 0, 10)),
    )
    return compiled(
        service,
        *(
            endpoint(n, rng.choice(("here", "there")))
            for n in rng.sample(range(2, 14), rng.choice((0, 1, 3, 4, 9, 10)))
        ),
    )
