"""Which endpoints a Service port uses, and what happens to traffic that has none (`services-dns` 17.1)."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.proxy.model import Endpoint, ProxySettings, Service, ServicePort, Target, Via
from homeport.proxy.rules import decide, hinted, keep_places

NODE_ADDRESS = IPv4Address("10.244.0.1")
SETTINGS = ProxySettings(
    IPv4Network("10.244.0.0/16"),
    IPv4Network("10.96.0.0/16"),
    (NODE_ADDRESS,),
    (IPv4Address("10.96.0.10"),),
    "here",
    "z1",
)
PORT = ServicePort("http", "tcp", 80)
NODE_PORT = ServicePort("http", "tcp", 80, 30080)
PLAIN = Service(("default", "web"), (PORT,), (IPv4Address("10.96.1.1"),))


def endpoint(number: int, state: str = "ready", node: str = "here") -> Endpoint:
    flags = {
        "ready": (True, True, False),
        "unready": (False, False, False),
        "leaving": (False, True, True),
        "failing": (False, False, True),
        "published": (True, False, True),
    }[state]
    return Endpoint(Target(IPv4Address(f"10.244.0.{number}"), 8080), *flags, node=node)


def numbers(targets: tuple[Target, ...]) -> list[int]:
    return [int(target.address) & 0xFF for target in targets]


HERE, THERE = endpoint(2), endpoint(3, node="there")
LEAVING_HERE, LEAVING_THERE = endpoint(4, "leaving"), endpoint(5, "leaving", "there")


@pytest.mark.parametrize(
    ("endpoints", "used"),
    [
        ([], []),
        ([endpoint(2), endpoint(3)], [2, 3]),
        ([endpoint(2), endpoint(3, "unready")], [2]),
        ([endpoint(2), endpoint(3, "leaving")], [2]),
        ([endpoint(2, "unready"), endpoint(3, "leaving")], [3]),
        ([endpoint(2, "leaving"), endpoint(3, "leaving")], [2, 3]),
        ([endpoint(2, "failing"), endpoint(3, "unready")], []),
        ([endpoint(2, "published"), endpoint(3)], [2, 3]),
        ([endpoint(2, node="there"), endpoint(3, node="")], [2, 3]),
    ],
)
def test_the_cluster_set_is_what_is_ready_else_what_still_serves(endpoints: list[Endpoint], used: list[int]) -> None:
    (port,) = decide(PLAIN, {PORT: endpoints}, SETTINGS).ports
    assert numbers(port.cluster) == used
    assert [frontend.via for frontend in port.frontends] == [Via.CLUSTER if used else Via.REJECT]


@pytest.mark.parametrize(
    ("endpoints", "via", "local"),
    [
        ([HERE, THERE], Via.LOCAL, [2]),
        ([THERE], Via.DROP, []),
        ([], Via.REJECT, []),
        ([endpoint(2, "unready"), endpoint(3, "unready", "there")], Via.REJECT, []),
        ([LEAVING_HERE, THERE], Via.LOCAL, [4]),
        ([LEAVING_THERE], Via.DROP, []),
        ([endpoint(2, node="")], Via.DROP, []),
    ],
)
def test_internal_local_stays_on_the_node(endpoints: list[Endpoint], via: Via, local: list[int]) -> None:
    (port,) = decide(replace(PLAIN, internal_local=True), {PORT: endpoints}, SETTINGS).ports
    assert [frontend.via for frontend in port.frontends] == [via]
    assert (numbers(port.local), port.cluster) == (local, ())


@pytest.mark.parametrize(
    ("endpoints", "via", "cluster", "local"),
    [
        ([HERE, THERE], Via.EXTERNAL_LOCAL, [2, 3], [2]),
        ([THERE], Via.EXTERNAL_LOCAL, [3], []),
        ([], Via.REJECT, [], []),
        ([LEAVING_HERE, THERE], Via.EXTERNAL_LOCAL, [3], [4]),  # the two sets fall back each for itself
    ],
)
def test_external_local_keeps_both_sets(
    endpoints: list[Endpoint], via: Via, cluster: list[int], local: list[int]
) -> None:
    service = replace(PLAIN, ports=(NODE_PORT,), external_local=True)
    (port,) = decide(service, {NODE_PORT: endpoints}, SETTINGS).ports
    inner, outer = port.frontends
    assert (inner.via, outer.via) == (Via.CLUSTER if endpoints else Via.REJECT, via)
    assert (outer.address, outer.port) == (NODE_ADDRESS, 30080)
    assert (numbers(port.cluster), numbers(port.local)) == (cluster, local)


def test_external_policy_alone_does_not_touch_a_service_without_external_addresses() -> None:
    (port,) = decide(replace(PLAIN, external_local=True), {PORT: [THERE]}, SETTINGS).ports
    assert [frontend.via for frontend in port.frontends] == [Via.CLUSTER]
    assert port.local == ()


def test_every_kind_of_address_gets_a_front_end() -> None:
    service = replace(
        PLAIN,
        ports=(NODE_PORT,),
        external_addresses=(IPv4Address("192.0.2.1"),),
        balancer_addresses=(IPv4Address("192.0.2.2"),),
        source_ranges=(IPv4Network("198.51.100.0/24"),),
    )
    (port,) = decide(service, {NODE_PORT: [HERE]}, SETTINGS).ports
    assert [(str(f.address), f.port, f.via.value, len(f.sources)) for f in port.frontends] == [
        ("10.96.1.1", 80, "cluster", 0),
        ("192.0.2.1", 80, "external", 0),
        ("192.0.2.2", 80, "external", 1),
        ("10.244.0.1", 30080, "external", 0),
    ]


def test_the_node_may_use_a_balancer_address_it_is_allowed_to_reach() -> None:
    address = IPv4Address("192.0.2.2")
    ranges = (IPv4Network("10.244.0.0/24"),)
    service = replace(PLAIN, balancer_addresses=(address,), source_ranges=ranges)
    (port,) = decide(service, {PORT: [HERE]}, SETTINGS).ports
    assert port.frontends[1].sources == (*ranges, IPv4Network(address))


def test_source_ranges_do_not_overlap() -> None:
    ranges = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/25", "192.0.2.128/25"))
    service = replace(PLAIN, balancer_addresses=(IPv4Address("192.0.2.2"),), source_ranges=ranges)
    (port,) = decide(service, {PORT: [HERE]}, SETTINGS).ports
    assert [str(source) for source in port.frontends[1].sources] == ["10.0.0.0/8", "192.0.2.0/24"]


def test_a_real_address_is_left_alone() -> None:
    service = replace(PLAIN, cluster_addresses=(IPv4Address("10.96.0.10"),))
    rules = decide(service, {PORT: [HERE]}, SETTINGS)
    assert rules.addresses == ()
    assert rules.ports[0].frontends == ()


def test_udp_flows_may_stay_where_something_serves() -> None:
    port = ServicePort("dns", "udp", 53)
    service = replace(PLAIN, ports=(port,))
    endpoints = [HERE, LEAVING_HERE, endpoint(6, "unready"), endpoint(7, "published")]
    (rules,) = decide(service, {port: endpoints}, SETTINGS).ports
    assert sorted(numbers(tuple(rules.serving))) == [2, 4, 7]
    assert numbers(rules.cluster) == [2, 7]


def test_the_health_check_counts_ready_endpoints_here_once() -> None:
    other = ServicePort("admin", "tcp", 81)
    service = replace(PLAIN, ports=(PORT, other), health_check_port=32000)
    rules = decide(service, {PORT: [HERE, THERE, LEAVING_HERE], other: [HERE]}, SETTINGS)
    assert rules.ready_here == 1


def hint(number: int, nodes: str = "", zones: str = "") -> Endpoint:
    return replace(endpoint(number), for_nodes=frozenset(nodes.split()), for_zones=frozenset(zones.split()))


@pytest.mark.parametrize(
    ("endpoints", "used"),
    [
        ([hint(2, "here"), hint(3, "there")], [2]),
        ([hint(2, "here"), hint(3)], [2, 3]),
        ([hint(2, "x", "z1"), hint(3, "y", "z2")], [2]),
        ([hint(2, "", "z2"), hint(3, "", "z3")], [2, 3]),
        ([hint(2, "", "z1 z2"), hint(3, "", "z2")], [2]),
        ([hint(2, "", "z1"), hint(3)], [2, 3]),
        ([], []),
    ],
)
def test_hints_count_when_every_endpoint_has_one(endpoints: list[Endpoint], used: list[int]) -> None:
    assert numbers(tuple(e.target for e in hinted(endpoints, "here", "z1"))) == used


def places(before: list[int], after: list[int]) -> list[int]:
    old = decide(PLAIN, {PORT: [endpoint(number) for number in before]}, SETTINGS)
    old = replace(old, ports=(replace(old.ports[0], cluster=tuple(endpoint(number).target for number in before)),))
    new = decide(PLAIN, {PORT: [endpoint(number) for number in after]}, SETTINGS)
    return numbers(keep_places(old, new).ports[0].cluster)


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ([], [3, 2], [3, 2]),
        ([5, 2, 9], [2, 5, 9], [5, 2, 9]),
        ([5, 2, 9], [2, 3, 5, 9], [5, 2, 9, 3]),
        ([5, 2, 9], [2, 9], [9, 2]),
        ([5, 2, 9], [5, 9, 7], [5, 7, 9]),
        ([5, 2, 9], [], []),
        ([5], [6], [6]),
        ([1, 2, 3, 4], [4, 3], [4, 3]),
    ],
)
def test_endpoints_keep_their_places(before: list[int], after: list[int], kept: list[int]) -> None:
    assert places(before, after) == kept


@given(st.lists(st.integers(2, 40), unique=True), st.lists(st.integers(2, 40), unique=True))
def test_places_lose_and_double_nothing(before: list[int], after: list[int]) -> None:
    kept = places(before, after)
    assert sorted(kept) == sorted(after)
    stays = [n for index, n in enumerate(before) if n in after and index < len(after)]
    assert all(kept[before.index(n)] == n for n in stays)


def test_a_port_that_was_not_there_has_no_places_to_keep() -> None:
    fresh = decide(PLAIN, {PORT: [HERE]}, SETTINGS)
    assert keep_places(None, fresh) == fresh
    renamed = replace(fresh, ports=(replace(fresh.ports[0], name="other"),))
    assert keep_places(renamed, fresh) == fresh
