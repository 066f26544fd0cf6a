"""Services and EndpointSlices as the API writes them."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from homeport.proxy import codec
from homeport.proxy.model import ServicePort


def service(labels: dict[str, str] | None = None, status: Any = None, **spec: Any) -> dict[str, Any]:
    spec = {"type": "ClusterIP", "clusterIP": "10.96.1.1", "ports": [{"port": 80, "protocol": "TCP"}], **spec}
    return {
        "metadata": {"name": "web", "namespace": "default", "labels": labels or {}},
        "spec": spec,
        "status": status or {},
    }


@pytest.mark.parametrize(
    "obj",
    [
        service(clusterIP="None"),
        service(clusterIP=""),
        service(clusterIP="None", clusterIPs=["None"]),
        service(type="ExternalName", externalName="example.com"),
        service(clusterIP="fd00::1", clusterIPs=["fd00::1"]),
        service(labels={"service.kubernetes.io/service-proxy-name": "other"}),
        service(labels={"service.kubernetes.io/headless": ""}),
    ],
)
def test_services_without_a_virtual_address_here_are_left_out(obj: dict[str, Any]) -> None:
    assert codec.service(obj) is None


def test_a_plain_service() -> None:
    read = codec.service(service())
    assert read is not None
    assert (read.key, read.cluster_addresses) == (("default", "web"), (IPv4Address("10.96.1.1"),))
    assert read.ports == (ServicePort("", "tcp", 80),)
    assert (read.internal_local, read.external_local, read.affinity_seconds) == (False, False, 0)


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({"sessionAffinity": "None"}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}, 7),
    ],
)
def test_affinity(spec: dict[str, Any], seconds: int) -> None:
    read = codec.service(service(**spec))
    assert read is not None
    assert read.affinity_seconds == seconds


def test_node_ports_belong_to_types_that_have_them() -> None:
    ports = [{"name": "a", "port": 80, "nodePort": 30080, "protocol": "UDP"}]
    for kind, node_port in (("ClusterIP", 0), ("NodePort", 30080), ("LoadBalancer", 30080)):
        read = codec.service(service(type=kind, ports=ports))
        assert read is not None
        assert read.ports == (ServicePort("a", "udp", 80, node_port),)


def test_a_load_balancer() -> None:
    ingress = [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "lb"}, {"ip": "fd00::1"}]
    obj = service(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=32000,
        loadBalancerSourceRanges=["198.51.100.0/24", "2001:db8::/32"],
        status={"loadBalancer": {"ingress": ingress}},
    )
    read = codec.service(obj)
    assert read is not None
    assert read.balancer_addresses == (IPv4Address("192.0.2.1"),)
    assert read.source_ranges == (IPv4Network("198.51.100.0/24"),)
    assert (read.external_local, read.health_check_port) == (True, 32000)
    obj["spec"]["loadBalancerSourceRanges"].append("0.0.0.0/0")
    everybody = codec.service(obj)
    assert everybody is not None
    assert everybody.source_ranges == ()


def test_source_ranges_from_the_annotation() -> None:
    obj = service(type="LoadBalancer")
    obj["metadata"]["annotations"] = {
        "service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8, 1.2.3.4/32"
    }
    read = codec.service(obj)
    assert read is not None
    assert read.source_ranges == (IPv4Network("10.0.0.0/8"), IPv4Network("1.2.3.4/32"))


def endpoint_slice(*endpoints: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-abc", "namespace": "default", "labels": {codec.SERVICE_NAME_LABEL: "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": list(endpoints),
        **fields,
    }


HTTP = ServicePort("http", "tcp", 80)


def found(*slices: dict[str, Any], port: ServicePort = HTTP) -> list[str]:
    return [
        f"{e.target.address}:{e.target.port} {'R' * e.ready}{'S' * e.serving}{'T' * e.terminating}"
        for e in codec.endpoints(slices, port)
    ]


def test_missing_conditions_have_their_defaults() -> None:
    conditions: list[dict[str, Any]] = [
        {},
        {"ready": False},
        {"ready": False, "serving": False},
        {"ready": None, "serving": None, "terminating": True},
    ]
    slices = endpoint_slice(*({"addresses": [f"10.0.0.{n}"], "conditions": c} for n, c in enumerate(conditions)))
    assert found(slices) == ["10.0.0.0:8080 RS", "10.0.0.1:8080 S", "10.0.0.2:8080 ", "10.0.0.3:8080 RST"]


def test_endpoints_come_from_all_slices_once_and_in_order() -> None:
    first = endpoint_slice(
        {"addresses": ["10.0.0.9", "10.0.0.8"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": False}}
    )
    second = endpoint_slice({"addresses": ["10.0.0.2"]}, ports=[{"name": "http", "port": 8080}])
    assert found(first, second) == ["10.0.0.2:8080 RS", "10.0.0.9:8080 RS"]


@pytest.mark.parametrize(
    "fields",
    [
        {"addressType": "IPv6"},
        {"addressType": "FQDN"},
        {"ports": [{"name": "http", "protocol": "UDP", "port": 8080}]},
        {"ports": [{"name": "https", "protocol": "TCP", "port": 8080}]},
        {"ports": [{"name": "http", "protocol": "TCP", "port": None}]},
        {"ports": [{"name": "http", "protocol": "TCP", "port": 0}]},
        {"ports": None},
        {"endpoints": [{"addresses": ["not an address"]}]},
    ],
)
def test_what_does_not_fit_is_passed_over(fields: dict[str, Any]) -> None:
    assert found(endpoint_slice({"addresses": ["10.0.0.2"]}, **fields)) == []


def test_two_slices_may_give_one_port_two_numbers() -> None:
    other = endpoint_slice({"addresses": ["10.0.0.3"]}, ports=[{"name": "http", "protocol": "TCP", "port": 9090}])
    assert found(endpoint_slice({"addresses": ["10.0.0.2"]}), other) == ["10.0.0.2:8080 RS", "10.0.0.3:9090 RS"]


def test_place_and_hints() -> None:
    entry = {
        "addresses": ["10.0.0.2"],
        "nodeName": "here",
        "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "here"}]},
    }
    (endpoint,) = codec.endpoints([endpoint_slice(entry)], HTTP)
    assert (endpoint.node, endpoint.for_nodes, endpoint.for_zones) == ("here", {"here"}, {"z1"})


def test_a_slice_names_its_service() -> None:
    assert codec.slice_service(endpoint_slice()) == ("default", "web")
    assert codec.slice_service({"metadata": {"name": "x", "namespace": "default"}}) is None


def test_each_family_reads_its_own_addresses() -> None:
    obj = service(
        clusterIPs=["10.96.1.1", "fd00:96::1"],
        type="LoadBalancer",
        externalIPs=["192.0.2.1", "2001:db8::1"],
        loadBalancerSourceRanges=["198.51.100.0/24", "2001:db8:1::/48"],
    )
    four, six = codec.service(obj), codec.service(obj, 6)
    assert four is not None
    assert six is not None
    assert [str(one) for one in (*four.cluster_addresses, *four.external_addresses, *four.source_ranges)] == [
        "10.96.1.1", "192.0.2.1", "198.51.100.0/24",
    ]  # fmt: skip
    assert [str(one) for one in (*six.cluster_addresses, *six.external_addresses, *six.source_ranges)] == [
        "fd00:96::1", "2001:db8::1", "2001:db8:1::/48",
    ]  # fmt: skip
