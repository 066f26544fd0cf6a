"""Endpoints and EndpointSlices: what they are refused for, row by row, and their rows (services-dns 6, 9)."""

from typing import Any

import pytest
from tests.api.objects import NOW, SERVICE, SLICE, created, decoded, refusals, service, updated

from homeport.api import tables
from homeport.api.resources import Gvk
from homeport.api.validation import warnings_for
from homeport.clock import rfc3339

ENDPOINTS = Gvk("", "v1", "Endpoints")
BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LOOPBACK = "may not be in the loopback range (127.0.0.0/8, ::1/128)"


def slice_of(*endpoints: Any, kind: str = "IPv4", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "addressType": kind, "endpoints": list(endpoints), **fields}


def at(*addresses: str, **fields: Any) -> dict[str, Any]:
    return {"addresses": list(addresses), **fields}


def subsets(*found: Any) -> dict[str, Any]:
    return {"metadata": {"name": "e"}, "subsets": list(found)}


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (slice_of(kind=""), ["addressType: Required value"]),
        (slice_of(kind="IP"), ['addressType: Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"']),
        (
            slice_of(*[at(f"10.1.{n // 250}.{n % 250}") for n in range(1001)]),
            ["endpoints: Too many: 1001: must have at most 1000 items"],
        ),
        (slice_of(at()), ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        (
            slice_of(at(*[f"10.1.0.{n}" for n in range(101)])),
            ["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
        ),
        (slice_of(at("10.1.0")), [f'endpoints[0].addresses[0]: Invalid value: "10.1.0": {BAD_IP}']),
        (
            slice_of(at("10.01.0.1")),
            ['endpoints[0].addresses[0]: Invalid value: "10.01.0.1": must not have leading 0s'],
        ),
        (slice_of(at("fd00::1")), ['endpoints[0].addresses: Invalid value: "fd00::1": must be an IPv4 address']),
        (
            slice_of(at("10.1.0.1"), kind="IPv6"),
            ['endpoints[0].addresses: Invalid value: "10.1.0.1": must be an IPv6 address'],
        ),
        (slice_of(at("127.0.0.1")), [f'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": {LOOPBACK}']),
        (
            slice_of(at("a"), at("a.b."), kind="FQDN"),
            [
                'endpoints[0].addresses[0]: Invalid value: "a": '
                "should be a domain with at least two segments separated by dots"
            ],
        ),
        (
            slice_of(at("10.1.0.1", hostname="a.b")),
            ['endpoints[0].hostname: Invalid value: "a.b": must not contain dots'],
        ),
        (slice_of(at("10.1.0.1", hostname="A")), [f'endpoints[0].hostname: Invalid value: "A": {LABEL}']),
        (
            slice_of(
                at("10.1.0.1", hints={"forZones": [{"name": "a"}, {"name": "a"}], "forNodes": [{"name": "n"}] * 9})
            ),
            [
                'endpoints[0].hints.forZones[1].name: Duplicate value: "a"',
                "endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items",
            ],
        ),
        (
            slice_of(at("10.1.0.1", hints={"forZones": [{"name": "a"}] * 9, "forNodes": [{"name": "n"}] * 9})),
            ["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"],
        ),
        (
            slice_of(at(), ports=[{"port": 1}, {"port": 2}, {"name": "B", "protocol": "ICMP"}]),
            [  # ports come first
                'ports[1].name: Duplicate value: ""',
                f'ports[2].name: Invalid value: "B": {LABEL}',
                'ports[2].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
                "endpoints[0].addresses: Required value: must contain at least 1 address",
            ],
        ),
        (slice_of(at("10.1.0.1"), ports=[{"name": "all"}]), []),
    ],
)
def test_a_slice_is_refused(body: dict[str, Any], refused: list[str]) -> None:
    assert refusals(SLICE, body) == refused


@pytest.mark.parametrize(
    ("subset", "refused"),
    [
        ({"ports": [{"port": 1}]}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
        (
            {"addresses": [{"ip": "x", "hostname": "A", "nodeName": "n"}]},
            [
                f'subsets[0].addresses[0].ip: Invalid value: "x": {BAD_IP}',
                f'subsets[0].addresses[0].hostname: Invalid value: "A": {LABEL}',
                'subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address',
            ],
        ),
        (
            {"notReadyAddresses": [{"ip": "127.0.0.1", "hostname": "A"}]},
            [
                f'subsets[0].notReadyAddresses[0].hostname: Invalid value: "A": {LABEL}',
                f'subsets[0].notReadyAddresses[0].ip: Invalid value: "127.0.0.1": {LOOPBACK}',
            ],
        ),
        (
            {"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 0, "name": "a"}, {"port": 2}]},
            [
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "subsets[0].ports[1].name: Required value",
            ],
        ),
        ({"addresses": [{"ip": "10.1.0.1"}]}, []),
    ],
)
def test_endpoints_are_refused(subset: dict[str, Any], refused: list[str]) -> None:
    assert refusals(ENDPOINTS, subsets(subset)) == refused


def test_spellings_of_addresses_are_warned_of() -> None:
    tree = subsets({"addresses": [{"ip": "2001:DB8::1"}], "notReadyAddresses": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}]})
    assert warnings_for(ENDPOINTS, created(ENDPOINTS, tree)) == [
        'subsets[0].addresses[0].ip: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")',
        'subsets[0].notReadyAddresses[1].ip: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")',
    ]
    tree["metadata"]["labels"] = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert warnings_for(ENDPOINTS, created(ENDPOINTS, tree)) == []


def test_the_kind_of_addresses_stays() -> None:
    old = created(SLICE, slice_of())
    assert updated(SLICE, old, slice_of(kind="IPv6"))[1] == ['addressType: Invalid value: "IPv6": field is immutable']


def test_the_generation_of_a_slice_counts_what_it_says() -> None:
    old = created(SLICE, slice_of(at("10.1.0.1")))
    assert old["metadata"]["generation"] == 1
    noted = {**slice_of(at("10.1.0.1")), "metadata": {"name": "s", "annotations": {"a": "b"}}}
    assert updated(SLICE, old, noted)[0]["metadata"]["generation"] == 1
    labelled = {**slice_of(at("10.1.0.1")), "metadata": {"name": "s", "labels": {"a": "b"}}}
    assert updated(SLICE, old, labelled)[0]["metadata"]["generation"] == 2
    assert updated(SLICE, old, slice_of(at("10.1.0.2")))[0]["metadata"]["generation"] == 2


def test_topology_of_old_is_dropped() -> None:
    tree = created(SLICE, slice_of(at("10.1.0.1", deprecatedTopology={"a": "b"})))
    assert "deprecatedTopology" not in tree["endpoints"][0]
    later = updated(SLICE, tree, slice_of(at("10.1.0.1", deprecatedTopology={"a": "b"})))[0]
    assert "deprecatedTopology" not in later["endpoints"][0]


def rows(gvk: Gvk, *bodies: dict[str, Any]) -> list[list[str]]:
    found = []
    for body in bodies:
        tree = decoded(gvk, body)
        tree["metadata"]["creationTimestamp"] = rfc3339(NOW - 90)
        found.append([str(cell) for cell in tables.row(gvk, tree, NOW)["cells"]])
    return found


def test_rows_of_endpoints_and_slices() -> None:
    """Services-dns 6: the first three of many, and what stands for none."""
    many = {"addresses": [{"ip": f"10.1.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}
    six = {"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}
    assert rows(ENDPOINTS, subsets(many), subsets(six), subsets({"addresses": [{"ip": "10.1.0.1"}]}), subsets()) == [
        ["e", "10.1.0.1:80,10.1.0.2:80,10.1.0.3:80 + 2 more...", "90s"],
        ["e", "[fd00::1]:80", "90s"],
        ["e", "10.1.0.1", "90s"],
        ["e", "<none>", "90s"],
    ]
    listed = [at(f"10.1.0.{n}") for n in range(1, 6)]
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "c"}, {"name": "d", "port": 4}]
    assert rows(SLICE, slice_of(*listed, ports=ports), slice_of(), slice_of(ports=[{}])) == [
        ["s", "IPv4", "1,2,c + 1 more...", "10.1.0.1,10.1.0.2,10.1.0.3 + 2 more...", "90s"],
        ["s", "IPv4", "<unset>", "<unset>", "90s"],
        ["s", "IPv4", "*", "<unset>", "90s"],
    ]


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({"clusterIPs": ["10.96.0.7", "fd00::7"]}, {}, ["ClusterIP", "10.96.0.7", "<none>", "80/TCP", "<none>"]),
        ({"clusterIPs": ["None"], "ports": []}, {}, ["ClusterIP", "None", "<none>", "<none>", "<none>"]),
        ({"type": "ExternalName", "externalName": "a.b"}, {}, ["ExternalName", "<none>", "a.b", "80/TCP", "<none>"]),
        (
            {"type": "NodePort", "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 80}]},
            {},
            ["NodePort", "<none>", "<none>", "53:30053/UDP,80/TCP", "<none>"],
        ),
        (
            {"externalIPs": ["192.0.2.1", "192.0.2.2"], "selector": {"b": "2", "a": "1"}},
            {},
            ["ClusterIP", "<none>", "192.0.2.1,192.0.2.2", "80/TCP", "a=1,b=2"],
        ),
        ({"type": "LoadBalancer"}, {}, ["LoadBalancer", "<none>", "<pending>", "80/TCP", "<none>"]),
        (
            {"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]},
            {"ingress": [{"hostname": "lb"}, {"ip": "192.0.2.9"}, {"ip": "192.0.2.9"}, {}]},
            ["LoadBalancer", "<none>", "192.0.2.9,lb,192.0.2.1", "80/TCP", "<none>"],
        ),
    ],
)
def test_rows_of_services(spec: dict[str, Any], status: dict[str, Any], cells: list[str]) -> None:
    """Services-dns 6."""
    (row,) = rows(SERVICE, {**service(**spec), "status": {"loadBalancer": status}})
    assert [*row[1:5], row[6]] == cells
    assert (row[0], row[5]) == ("s", "90s")
