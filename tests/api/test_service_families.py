"""Families, mirrored addresses and type changes of Services (services-dns 4, 5)."""

import copy
from typing import Any

import pytest
from tests.api.objects import SERVICE, decoded, service

from homeport.api import services

V4, DUAL = ("IPv4",), ("IPv4", "IPv6")


def settled(spec: dict[str, Any], cluster: tuple[str, ...]) -> tuple[Any, Any, list[str]]:
    tree = decoded(SERVICE, service(**spec))
    services.mirror_cluster_ip(tree)
    errors = [str(error) for error in services.settle_families(tree, None, cluster)]
    return tree["spec"].get("ipFamilyPolicy"), tree["spec"].get("ipFamilies"), errors


@pytest.mark.parametrize(
    ("cluster", "spec", "policy", "families"),
    [
        (V4, {}, "SingleStack", ["IPv4"]),
        (V4, {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4"]),
        (V4, {"clusterIP": "None"}, "RequireDualStack", ["IPv4", "IPv6"]),
        (V4, {"clusterIP": "None", "selector": {"a": "b"}}, "SingleStack", ["IPv4"]),
        (DUAL, {}, "SingleStack", ["IPv4"]),
        (DUAL, {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, "RequireDualStack", ["IPv6", "IPv4"]),
        (DUAL, {"clusterIP": "2001:db8::1"}, "SingleStack", ["IPv6"]),
        (V4, {"type": "ExternalName", "externalName": "a.b", "ports": []}, None, None),
    ],
)
def test_the_table_of_requests_and_results(cluster, spec, policy, families) -> None:
    assert settled(spec, cluster) == (policy, families, [])


@pytest.mark.parametrize(
    ("cluster", "spec", "error"),
    [
        (
            V4,
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
        (V4, {"ipFamilies": ["IPv6"]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
        (
            V4,
            {"clusterIP": "2001:db8::1"},
            'spec.clusterIPs[0]: Invalid value: ["2001:db8::1"]: IPv6 is not configured on this cluster',
        ),
        (
            DUAL,
            {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "2001:db8::1"]},
            'spec.ipFamilyPolicy: Invalid value: "SingleStack": '
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
        ),
    ],
)
def test_what_a_cluster_cannot_give_is_refused(cluster, spec, error: str) -> None:
    assert settled(spec, cluster)[2] == [error]


def changed(old: dict[str, Any], **spec: Any) -> dict[str, Any]:
    new = decoded(SERVICE, {**copy.deepcopy(old), "spec": {**copy.deepcopy(old["spec"]), **spec}})
    services.carry_over(new, old)
    return new


@pytest.fixture
def node_port() -> dict[str, Any]:
    tree = decoded(SERVICE, service(type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": 30080}]))
    tree["spec"] |= {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"]}
    tree["spec"]["ipFamilyPolicy"] = "SingleStack"
    return tree


def test_going_inside_gives_node_ports_and_traffic_policy_up(node_port: dict[str, Any]) -> None:
    spec = changed(node_port, type="ClusterIP")["spec"]
    assert "nodePort" not in spec["ports"][0]
    assert "externalTrafficPolicy" not in spec
    assert spec["clusterIP"] == "10.96.0.9"


def test_a_node_port_asked_for_anew_is_for_validation_to_refuse(node_port: dict[str, Any]) -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30081}]
    assert changed(node_port, type="ClusterIP", ports=ports)["spec"]["ports"][0]["nodePort"] == 30081


def test_a_name_elsewhere_has_no_address(node_port: dict[str, Any]) -> None:
    spec = changed(node_port, type="ExternalName", externalName="a.b")["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"} & spec.keys()


def test_what_a_client_leaves_out_is_refilled(node_port: dict[str, Any]) -> None:
    new = decoded(SERVICE, service(type="NodePort", ports=[{"name": "http", "port": 8080}]))
    services.carry_over(new, node_port)
    assert new["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert new["spec"]["ports"][0]["nodePort"] == 30080


def test_a_single_stack_drops_the_second_address() -> None:
    old = decoded(SERVICE, service(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4", "IPv6"]))
    old["spec"] |= {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "2001:db8::9"]}
    new = changed(old, ipFamilyPolicy="SingleStack")
    assert services.settle_families(new, old, DUAL) == []
    assert (new["spec"]["clusterIPs"], new["spec"]["ipFamilies"]) == (["10.96.0.9"], ["IPv4"])


def test_losing_the_second_family_needs_saying() -> None:
    old = decoded(SERVICE, service(ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4", "IPv6"]))
    new = changed(old, ipFamilies=["IPv4"])
    assert [str(error) for error in services.settle_families(new, old, DUAL)] == [
        'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
        "must be 'SingleStack' to release the secondary IP family"
    ]


def test_a_service_that_prefers_two_is_left_alone_when_the_cluster_changes() -> None:
    old = decoded(SERVICE, service(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"]))
    new = changed(old, selector={"a": "b"})
    assert services.settle_families(new, old, DUAL) == []
    assert new["spec"]["ipFamilies"] == ["IPv4"]


@pytest.mark.parametrize(
    ("spec", "wants"),
    [
        ({"type": "ClusterIP"}, (True, False, False)),
        ({"type": "ClusterIP", "clusterIP": "None"}, (False, False, False)),
        ({"type": "NodePort"}, (True, True, False)),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, (True, True, True)),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, (True, False, False)),
        ({"type": "ExternalName"}, (False, False, False)),
    ],
)
def test_what_each_type_needs(spec: dict[str, Any], wants: tuple[bool, bool, bool]) -> None:
    assert wants == (
        services.wants_cluster_ips(spec),
        services.wants_node_ports(spec),
        services.wants_health_check_port(spec),
    )
