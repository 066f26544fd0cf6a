"""Service statuses and warnings, row by row (services-dns 2.3): what is refused, and what is said and taken."""

from typing import Any

import pytest

from tests.server.inprocess import MERGE, SERVICES, running
from tests.server.service_rows import BAD_IP, ELSEWHERE, SUBDOMAIN, body, causes

pytestmark = pytest.mark.virtual


STATUSES: list[tuple[str, str, Any, list[str]]] = [
    (
        "not a balancer",
        "NodePort",
        {"ip": "192.0.2.1"},
        ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"],
    ),
    ("the mode is given", "LoadBalancer", {"ip": "192.0.2.1"}, []),
    (
        "mode without address",
        "LoadBalancer",
        {"hostname": "a.example", "ipMode": "VIP"},
        ["status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set"],
    ),
    (
        "another mode",
        "LoadBalancer",
        {"ip": "192.0.2.1", "ipMode": "Direct"},
        ['status.loadBalancer.ingress[0].ipMode: Unsupported value: "Direct": supported values: "Proxy", "VIP"'],
    ),
    (
        "an address for a name",
        "LoadBalancer",
        {"hostname": "192.0.2.1"},
        ['status.loadBalancer.ingress[0].hostname: Invalid value: "192.0.2.1": must be a DNS name, not an IP address'],
    ),
    (
        "neither address nor name",
        "LoadBalancer",
        {"ip": "192.0.2", "hostname": "A_b"},
        [
            f'status.loadBalancer.ingress[0].ip: Invalid value: "192.0.2": {BAD_IP}',
            f'status.loadBalancer.ingress[0].hostname: Invalid value: "A_b": {SUBDOMAIN}',
        ],
    ),
]


async def test_statuses_are_refused_row_by_row() -> None:
    got, wanted = {}, {}
    async with running() as ask:
        for row, kind, ingress, expected in STATUSES:
            wanted[row] = expected
            await ask.create(SERVICES, body("s", type=kind))
            change = {"status": {"loadBalancer": {"ingress": [ingress]}}, "spec": {"externalName": "ignored"}}
            answer = await ask("PATCH", f"{SERVICES}/s/status", change, content_type=MERGE)
            got[row] = [] if answer.status == 200 else causes(answer)
            await ask("DELETE", f"{SERVICES}/s")
    assert got == wanted


async def test_a_status_update_leaves_the_spec_and_takes_finalizers() -> None:
    async with running() as ask:
        await ask.create(SERVICES, body("s", type="LoadBalancer"))
        change = {
            "metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]},
            "spec": {"externalName": "ignored"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
        }
        answer = await ask("PATCH", f"{SERVICES}/s/status", change, content_type=MERGE)
        assert "externalName" not in answer.body["spec"]
        assert answer.body["metadata"]["finalizers"] == ["service.kubernetes.io/load-balancer-cleanup"]
        assert answer.body["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1", "ipMode": "VIP"}]
        address = answer.body["spec"]["clusterIP"]
        await ask("DELETE", f"{SERVICES}/s")
        assert (await ask("POST", SERVICES, body("t", clusterIP=address))).status == 422
        await ask("PATCH", f"{SERVICES}/s/status", {"metadata": {"finalizers": None}}, content_type=MERGE)
        assert (await ask("POST", SERVICES, body("t", clusterIP=address))).status == 201


WARNINGS: list[tuple[str, Any, list[str]]] = [
    (
        "headless",
        body("s", clusterIP="None", loadBalancerIP="192.0.2.1", externalIPs=["192.0.2.1"], sessionAffinity="ClientIP"),
        [
            "spec.loadBalancerIP is ignored for headless services",
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
        ],
    ),
    (
        "external addresses",
        body("s", externalIPs=["192.0.2.1", "2001:DB8::1"]),
        [
            'spec.externalIPs[1]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")',
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        ],
    ),
    (
        "elsewhere",
        body("s", **ELSEWHERE, externalIPs=["192.0.2.1"]),
        ['spec.externalIPs is ignored when spec.type is "ExternalName"'],
    ),
    (
        "a name of no use",
        body("s", externalName="a.example"),
        ['spec.externalName is ignored when spec.type is not "ExternalName"'],
    ),
    (
        "near",
        body("s", trafficDistribution="PreferClose"),
        ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'],
    ),
    (
        "hints",
        body("s", {"service.kubernetes.io/topology-aware-hints": "auto"}),
        [
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
            "service.kubernetes.io/topology-mode instead"
        ],
    ),
    (
        "an address for the balancer with zeros",
        body("s", loadBalancerIP="01.2.3.4"),
        [
            'spec.loadBalancerIP: non-standard IP address "01.2.3.4" will be considered invalid in a future Kubernetes '
            'release: use "1.2.3.4"'
        ],
    ),
    (
        "an address for the balancer of IPv4 in IPv6",
        body("s", loadBalancerIP="::ffff:1.2.3.4"),
        [
            'spec.loadBalancerIP: non-standard IP address "::ffff:1.2.3.4" will be considered invalid in a future '
            'Kubernetes release: use "1.2.3.4"'
        ],
    ),
    ("no address for the balancer", body("s", loadBalancerIP="somewhere"), []),
    (
        "ranges of clients",
        body("s", type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", "2001:DB8::/64"]),
        [
            'spec.loadBalancerSourceRanges[1]: IPv6 CIDR value "2001:DB8::/64" should be in RFC 5952 canonical format '
            '("2001:db8::/64")'
        ],
    ),
    ("none", body("s"), []),
]


async def test_warnings_of_services_row_by_row() -> None:
    got, wanted = {}, {}
    async with running() as ask:
        for row, tree, expected in WARNINGS:
            wanted[row] = [f'299 - "{text}"'.replace('"', '\\"').replace('\\"', '"', 1)[:-2] + '"' for text in expected]
            answer = await ask("POST", SERVICES, tree)
            assert answer.status == 201, answer.body
            got[row] = [value for name, value in answer.raw.headers if name.lower() == "warning"]
            await ask("DELETE", f"{SERVICES}/s")
    assert got == wanted
