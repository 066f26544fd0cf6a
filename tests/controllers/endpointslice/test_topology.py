"""Topology hints: shares of zones, what is moved between them, and when there are none (services-dns 11.2)."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.controllers.endpointslice.hints import node_facts
from homeport.controllers.endpointslice.model import Endpoint, Slice
from homeport.controllers.endpointslice.reconcile import Plan, reconcile
from homeport.controllers.endpointslice.topology import NodeFacts, overloaded, zones_of
from homeport.testing.cluster import SimulatedCluster
from tests.controllers.endpointslice.test_reconcile import SERVICE, apply, pod

ASKING = replace(SERVICE, topology_hints=True)
NODES = {"node-a": "a", "node-b": "b", "node-c": "c"}
EVEN = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


def pods(**counts: int) -> list[Any]:
    zones = [zone for zone, count in counts.items() for _ in range(count)]
    return [pod(number, node=f"node-{zone}") for number, zone in enumerate(zones)]


def endpoints(slices: list[Slice]) -> list[Endpoint]:
    return [endpoint for each in slices for endpoint in each.content.endpoints]


def hints(slices: list[Slice]) -> dict[str, int]:
    return dict(Counter(endpoint.zone_hint for endpoint in endpoints(slices)))


def planned(found: list[Any], shares: Any, slices: list[Slice] | None = None, **more: Any) -> Plan:
    return reconcile(ASKING, found, NODES, slices or [], shares=shares, **more)


@pytest.mark.parametrize(
    ("counts", "shares", "expected"),
    [
        ({"a": 2, "b": 2, "c": 2}, EVEN, {"a": 2, "b": 2, "c": 2}),
        ({"a": 4, "b": 1, "c": 1}, EVEN, {"a": 2, "b": 2, "c": 2}),
        ({"a": 6}, EVEN, {"a": 2, "b": 2, "c": 2}),
        ({"a": 3, "b": 1}, {"a": 0.75, "b": 0.25}, {"a": 3, "b": 1}),
        ({"a": 2, "b": 2}, {"a": 0.75, "b": 0.25}, {"a": 3, "b": 1}),
        ({"a": 5, "b": 5}, {"a": 0.55, "b": 0.45}, {"a": 5, "b": 5}),  # half an endpoint does not move
    ],
)
def test_zones_get_what_their_cpu_asks_for(
    counts: dict[str, int], shares: dict[str, float], expected: dict[str, int]
) -> None:
    plan = planned(pods(**counts), shares)
    assert plan.hints["IPv4"].allotted == expected
    assert hints(apply([], plan)) == expected


@pytest.mark.parametrize(
    ("counts", "shares", "problem"),
    [
        (
            {"a": 3},
            {},
            "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
        ),
        ({"a": 2}, EVEN, "Insufficient number of endpoints (2 endpoints, 3 zones)"),
        (
            {"a": 2, "b": 2},
            {"a": 0.9, "b": 0.05, "c": 0.05},
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
            "(4 endpoints, 3 zones)",
        ),
    ],
)
def test_there_are_no_hints_where_they_could_not_be_fair(counts: dict[str, int], shares: Any, problem: str) -> None:
    plan = planned(pods(**counts), shares)
    assert (plan.hints["IPv4"].allotted, plan.hints["IPv4"].problem) == (None, problem)
    assert set(hints(apply([], plan))) == {""}


def test_an_endpoint_without_a_zone_ends_all_hints() -> None:
    slices = apply([], planned(pods(a=2, b=2, c=2), EVEN))
    nodes = {**NODES, "node-d": ""}
    plan = reconcile(ASKING, [*pods(a=2, b=2, c=2), pod(9, node="node-d")], nodes, slices, shares=EVEN)
    assert plan.hints["IPv4"].problem == "One or more endpoints do not have a zone specified"
    assert set(hints(apply(slices, plan))) == {""}


def test_hints_come_to_rest_and_only_ready_endpoints_have_them() -> None:
    found = pods(a=4, b=1, c=1)
    slices = apply([], planned(found, EVEN))
    assert planned(found, EVEN, slices).actions == ()
    found[0] = replace(found[0], ready=False)
    after = apply(slices, planned(found, EVEN, slices))
    assert [endpoint.zone_hint for endpoint in endpoints(after) if not endpoint.ready] == [""]
    assert planned(found, EVEN, after).actions == ()


def test_they_go_with_the_annotation() -> None:
    found = pods(a=2, b=2, c=2)
    slices = apply([], planned(found, EVEN))
    assert set(hints(apply(slices, reconcile(SERVICE, found, NODES, slices)))) == {""}


def test_any_history_comes_to_rest() -> None:
    rng = random.Random(5)
    slices: list[Slice] = []
    for _ in range(60):
        counts = {zone: rng.randrange(1, 9) for zone in "abc"}
        shares = rng.choice([EVEN, {"a": 0.5, "b": 0.25, "c": 0.25}])
        plan = planned(pods(**counts), shares, slices, limit=5)
        slices = apply(slices, plan)
        allotted = plan.hints["IPv4"].allotted
        if allotted is not None:
            assert hints(slices) == {zone: count for zone, count in allotted.items() if count}
        assert planned(pods(**counts), shares, slices, limit=5).actions == ()


def test_a_zone_with_less_than_its_least_is_overloaded() -> None:
    assert not overloaded({"a": 2, "b": 2, "c": 2}, EVEN)
    assert overloaded({"a": 3, "b": 3, "c": 1}, EVEN)
    assert overloaded({"a": 3, "b": 3}, EVEN)
    assert overloaded({"a": 3}, {})
    assert not overloaded({}, {})


def test_shares_are_of_the_cpu_of_nodes_that_take_part() -> None:
    assert zones_of([NodeFacts("a", 3000, True), NodeFacts("b", 1000, True)]) == {"a": 0.75, "b": 0.25}
    assert zones_of([NodeFacts("a", 3000, True), NodeFacts("b", 1000, False)]) == {}
    assert zones_of([NodeFacts("a", 3000, True), NodeFacts("b", 1000, True), NodeFacts("", 1, True)]) == {}
    assert zones_of([NodeFacts("a", 3000, True), NodeFacts("b", 0, True)]) == {}
    labels = {"topology.kubernetes.io/zone": "a"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "1500m"}}
    assert node_facts({"metadata": {"name": "n", "labels": labels}, "status": ready}) == NodeFacts("a", 1500, True)
    control = {**labels, "node-role.kubernetes.io/control-plane": ""}
    assert not node_facts({"metadata": {"name": "n", "labels": control}, "status": ready}).takes_part


SLICES = find("EndpointSlice", "discovery.k8s.io")
WEB = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "annotations": {"service.kubernetes.io/topology-mode": "Auto"}},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}


@pytest.mark.homeport(nodes=3)
def test_upstreams_topology_hints_should_distribute_endpoints_evenly(homeport: SimulatedCluster) -> None:
    for number in (1, 2, 3):
        zone = {"metadata": {"labels": {"topology.kubernetes.io/zone": f"zone-{number}"}}}
        homeport.patch(f"node/node-{number}", zone)
    homeport.apply(WEB)
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web"}]}}
    spread = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    homeport.apply({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"}, "spec": spread})
    homeport.settle()
    found = [
        (endpoint["zone"], [hint["name"] for hint in endpoint["hints"]["forZones"]])
        for each in homeport.list("EndpointSlice")
        if each["metadata"]["name"].startswith("web-")
        for endpoint in each["endpoints"]
    ]
    assert sorted(found) == [(f"zone-{number}", [f"zone-{number}"]) for number in (1, 2, 3)]
    told = [event["message"] for event in homeport.list("Event") if event["reason"] == "TopologyAwareHintsEnabled"]
    assert told == ["Topology Aware Hints has been enabled, addressType: IPv4"]
    homeport.delete("node/node-3")
    homeport.delete("node/node-2")
    homeport.settle()
    why = [one["message"] for one in homeport.list("Event") if one["reason"] == "TopologyAwareHintsDisabled"]
    assert any(text.startswith("Insufficient Node information") for text in why)
