"""Every row of services-dns 2.2, asked of a server: the field, the message and the order of what is refused."""

from typing import Any

import pytest

from tests.server.inprocess import MERGE, SERVICES, WITHOUT_ACCOUNTS, Asker, running
from tests.server.service_rows import (
    BAD_CIDR,
    BAD_IP,
    BALANCER,
    ELSEWHERE,
    EXTERNAL,
    HEALTH,
    LABEL,
    ONCE,
    OUTSIDE,
    QUALIFIED,
    SUBDOMAIN,
    body,
    causes,
    port,
)

pytestmark = pytest.mark.virtual

CREATES: list[tuple[str, Any, list[str]]] = [
    ("1 upper case", body("Web"), [f'metadata.name: Invalid value: "Web": {LABEL}']),
    ("1 dots", body("a.b"), ['metadata.name: Invalid value: "a.b": must not contain dots']),
    ("1 long", body("a" * 64), [f'metadata.name: Invalid value: "{"a" * 64}": must be no more than 63 characters']),
    ("2", body("s", ports=[]), ["spec.ports: Required value"]),
    ("2 headless needs none", body("s", ports=[], clusterIP="None"), []),
    (
        "3 balancer",
        body("s", type="LoadBalancer", clusterIP="None"),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"],
    ),
    (
        "3 node port",
        body("s", type="NodePort", clusterIP="None"),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    ),
    (
        "4",
        body("s", **ELSEWHERE, clusterIP="10.96.0.7", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack"),
        [f"spec.clusterIPs: {EXTERNAL}", f"spec.ipFamilies: {EXTERNAL}", f"spec.ipFamilyPolicy: {EXTERNAL}"],
    ),
    ("5", body("s", type="ExternalName", ports=[]), ["spec.externalName: Required value"]),
    ("5 a lone dot", body("s", type="ExternalName", externalName="."), ["spec.externalName: Required value"]),
    ("5 one trailing dot", body("s", type="ExternalName", externalName="a.example."), []),
    (
        "6",
        body("s", type="ExternalName", externalName="A_b.example."),
        [f'spec.externalName: Invalid value: "A_b.example": {SUBDOMAIN}'],
    ),
    ("6 an address passes", body("s", type="ExternalName", externalName="192.0.2.7"), []),
    ("7", body("s", ports=[port(1, name="a"), port(2)]), ["spec.ports[1].name: Required value"]),
    (
        "8",
        body("s", ports=[port(1, name="a"), port(2, name="a"), port(3, name="B")]),
        ['spec.ports[1].name: Duplicate value: "a"', f'spec.ports[2].name: Invalid value: "B": {LABEL}'],
    ),
    (
        "9, and the target made of it",
        body("s", ports=[port(0)]),
        [
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    ),
    (
        "10",
        body("s", ports=[port(protocol="ICMP")]),
        ['spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (
        "11 number",
        body("s", ports=[port(targetPort=70000)]),
        ["spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    (
        "11 name",
        body("s", ports=[port(targetPort="Not--good-enough-")]),
        [
            f'spec.ports[0].targetPort: Invalid value: "Not--good-enough-": {why}'
            for why in (
                "must be no more than 15 characters",
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "must not contain consecutive hyphens",
                "must not begin or end with a hyphen",
            )
        ],
    ),
    (
        "11 digits",
        body("s", ports=[port(targetPort="80")]),
        ['spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)'],
    ),
    (
        "12",
        body("s", ports=[port(appProtocol="a b")]),
        [f'spec.ports[0].appProtocol: Invalid value: "a b": {QUALIFIED}'],
    ),
    (
        "13",
        body("s", ports=[port(name="a"), port(name="b")]),
        [
            'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,'
            '"NodePort":0}'
        ],
    ),
    (
        "14 on create: taken by the first",
        body("s", type="NodePort", ports=[port(1, name="a", nodePort=30007), port(2, name="b", nodePort=30007)]),
        ["spec.ports[1].nodePort: Invalid value: 30007: provided port is already allocated"],
    ),
    (
        "14 on create: shared by the number, so twice the same",
        body("s", type="NodePort", ports=[port(1, name="a", nodePort=30007), port(1, name="b", nodePort=30007)]),
        [
            "spec.ports[1].nodePort: Duplicate value: 30007",
            'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":1,"TargetPort":0,'
            '"NodePort":0}',
        ],
    ),
    (
        "15",
        body("s", ports=[port(nodePort=30007)]),
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    (
        "16",
        body("s", sessionAffinity="Sticky"),
        ['spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"'],
    ),
    (
        "17 is cleared",
        body("s", sessionAffinity="None", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
        [],
    ),
    (
        "18",
        body("s", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
        [
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less "
            "than 86400"
        ],
    ),
    (
        "18 a day",
        body("s", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86400}}),
        [],
    ),
    (
        "19",
        body("s", clusterIP="10.96.0.7", clusterIPs=["10.96.0.8"]),
        ['spec.clusterIPs: Invalid value: ["10.96.0.8"]: first value must match `clusterIP`'],
    ),
    (
        "20",
        body("s", clusterIPs=["10.96.0.8"]),
        ['spec.clusterIPs: Invalid value: ["10.96.0.8"]: must be empty when `clusterIP` is not specified'],
    ),
    (
        "21",
        body("s", clusterIP="None", clusterIPs=["None", "10.96.0.7"]),
        ['spec.clusterIPs: Invalid value: ["None","10.96.0.7"]: \'None\' must be the first and only value'],
    ),
    (
        "21 second",
        body("s", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7", "None"]),
        [f'spec.clusterIPs[1]: Invalid value: "None": {BAD_IP}'],
    ),
    (
        "22, 23",
        body("s", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7", "10.96.0.8", "10.96.0.9"]),
        [
            'spec.clusterIPs: Invalid value: ["10.96.0.7","10.96.0.8","10.96.0.9"]: may only hold up to 2 values',
            'spec.clusterIPs: Invalid value: ["10.96.0.7","10.96.0.8","10.96.0.9"]: '
            "may specify no more than one IP for each IP family",
        ],
    ),
    ("24", body("s", clusterIP="10.96.0.300"), [f'spec.clusterIPs[0]: Invalid value: "10.96.0.300": {BAD_IP}']),
    (
        "24 zeros in what is no address",
        body("s", clusterIP="010.96.0.300"),
        [f'spec.clusterIPs[0]: Invalid value: "010.96.0.300": {BAD_IP}'],
    ),
    (
        "24 zeros",
        body("s", clusterIP="10.096.0.7"),
        ['spec.clusterIPs[0]: Invalid value: "10.096.0.7": must not have leading 0s'],
    ),
    (
        "24 mapped",
        body("s", clusterIP="::ffff:10.96.0.7"),
        ['spec.clusterIPs[0]: Invalid value: "::ffff:10.96.0.7": must not be an IPv4-mapped IPv6 address'],
    ),
    (
        "25",
        body("s", clusterIP="10.96.0.7", ipFamilies=["IPv6"]),
        [
            'spec.clusterIPs[0]: Invalid value: "10.96.0.7": expected an IPv6 value as indicated by `ipFamilies[0]`',
        ],
    ),
    (
        "26",
        body("s", ipFamilies=["IPv5", "IPv5"]),
        [
            'spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
            'spec.ipFamilies[1]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
            'spec.ipFamilies[1]: Duplicate value: "IPv5"',
        ],
    ),
    (
        "27, after the addresses and families",
        body("s", clusterIP="10.96.0.7", clusterIPs=["10.96.0.8"], ipFamilies=["IPv4", "IPv4"], ipFamilyPolicy="Two"),
        [
            'spec.clusterIPs: Invalid value: ["10.96.0.8"]: first value must match `clusterIP`',
            'spec.ipFamilies[1]: Duplicate value: "IPv4"',
            'spec.ipFamilyPolicy: Unsupported value: "Two": supported values: '
            '"PreferDualStack", "RequireDualStack", "SingleStack"',
        ],
    ),
    (
        "28",
        body("s", externalIPs=["0.0.0.0", "::1", "169.254.1.1", "224.0.0.5", "ff12::1", "01.2.3.4"]),
        [
            'spec.externalIPs[0]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)',
            'spec.externalIPs[1]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
            'spec.externalIPs[2]: Invalid value: "169.254.1.1": '
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            'spec.externalIPs[3]: Invalid value: "224.0.0.5": '
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            'spec.externalIPs[4]: Invalid value: "ff12::1": '
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            'spec.externalIPs[5]: Invalid value: "01.2.3.4": must not have leading 0s',
        ],
    ),
    (
        "29",
        body("s", type="Ingress"),
        [
            'spec.type: Unsupported value: "Ingress": supported values: '
            '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
        ],
    ),
    (
        "30, 32, 33 of another type",
        body(
            "s",
            loadBalancerSourceRanges=["192.0.2.0/24"],
            allocateLoadBalancerNodePorts=True,
            loadBalancerClass="example.com/a",
        ),
        [
            f"spec.LoadBalancerSourceRanges: {BALANCER}",
            f"spec.allocateLoadBalancerNodePorts: {BALANCER}",
            f"spec.loadBalancerClass: {BALANCER}",
        ],
    ),
    (
        "31",
        body(
            "s",
            type="LoadBalancer",
            loadBalancerSourceRanges=[
                " 192.0.2.0/24 ",
                "192.0.2.0",
                "10.0.0.1/8",
                "10.0.0.0/08",
                "::ffff:10.0.0.0/104",
            ],
        ),
        [
            f'spec.LoadBalancerSourceRanges[1]: Invalid value: "192.0.2.0": {BAD_CIDR}',
            'spec.LoadBalancerSourceRanges[2]: Invalid value: "10.0.0.1/8": '
            "must not have bits set beyond the prefix length",
            'spec.LoadBalancerSourceRanges[3]: Invalid value: "10.0.0.0/08": '
            "must not have leading 0s in IP or prefix length",
            'spec.LoadBalancerSourceRanges[4]: Invalid value: "::ffff:10.0.0.0/104": '
            "must not have an IPv4-mapped IPv6 address",
        ],
    ),
    (
        "31 the annotation of old",
        body("s", {"service.beta.kubernetes.io/load-balancer-source-ranges": "192.0.2.0/24, x"}),
        [
            f"metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: {BALANCER}",
            "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: "
            f'Invalid value: "x": {BAD_CIDR}',
        ],
    ),
    (
        "33 form",
        body("s", type="LoadBalancer", loadBalancerClass="a b"),
        [f'spec.loadBalancerClass: Invalid value: "a b": {QUALIFIED}'],
    ),
    (
        "34",
        body("s", externalTrafficPolicy="Local"),
        [f'spec.externalTrafficPolicy: Invalid value: "Local": {OUTSIDE}'],
    ),
    ("34 with external addresses", body("s", externalTrafficPolicy="Local", externalIPs=["192.0.2.1"]), []),
    (
        "35",
        body("s", type="NodePort", externalTrafficPolicy="Near"),
        ['spec.externalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"'],
    ),
    (
        "36",
        body("s", type="NodePort", healthCheckNodePort=30009),
        [f"spec.healthCheckNodePort: Invalid value: 30009: {HEALTH}"],
    ),
    (
        "38",
        body("s", internalTrafficPolicy="Near"),
        ['spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"'],
    ),
    (
        "39",
        body("s", trafficDistribution="Near"),
        [
            'spec.trafficDistribution: Unsupported value: "Near": supported values: '
            '"PreferClose", "PreferSameZone", "PreferSameNode"'
        ],
    ),
    (
        "41",
        body(
            "s",
            {"service.kubernetes.io/topology-mode": "Auto", "service.kubernetes.io/topology-aware-hints": "auto"},
        ),
        [
            'metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": '
            "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified"
        ],
    ),
    (
        "several, in the order of validation",
        body(
            "Web",
            ports=[port(0, protocol="ICMP"), port(1)],
            sessionAffinity="Sticky",
            externalIPs=["x"],
            internalTrafficPolicy="Near",
            trafficDistribution="Near",
        ),
        [
            f'metadata.name: Invalid value: "Web": {LABEL}',
            "spec.ports[0].name: Required value",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].name: Required value",
            'spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"',
            f'spec.externalIPs[0]: Invalid value: "x": {BAD_IP}',
            'spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
            'spec.trafficDistribution: Unsupported value: "Near": supported values: '
            '"PreferClose", "PreferSameZone", "PreferSameNode"',
        ],
    ),
]


async def test_creates_are_refused_row_by_row() -> None:
    got, wanted = {}, {}
    async with running(WITHOUT_ACCOUNTS) as ask:
        for row, tree, refused in CREATES:
            wanted[row] = refused
            answer = await ask("POST", SERVICES, tree)
            if answer.status == 201:
                got[row] = list[str]()
                await ask("DELETE", f"{SERVICES}/{tree['metadata']['name']}")
            else:
                got[row] = causes(answer)
    assert got == wanted


async def refused(ask: Asker, stored: Any, change: Any) -> list[str]:
    """Store a Service, change it by a merge patch, and return what was refused."""
    await ask.create(SERVICES, stored)
    answer = await ask("PATCH", f"{SERVICES}/s", change, content_type=MERGE)
    await ask("DELETE", f"{SERVICES}/s")
    return [] if answer.status == 200 else causes(answer)


LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30050}

UPDATES: list[tuple[str, Any, Any, list[str]]] = [
    (
        "33",
        body("s", type="LoadBalancer", loadBalancerClass="a.b/c"),
        {"loadBalancerClass": None},
        [f"spec.loadBalancerClass: Invalid value: null: {ONCE}"],
    ),
    (
        "33 given later",
        body("s", type="LoadBalancer"),
        {"loadBalancerClass": "a.b/c"},
        [f'spec.loadBalancerClass: Invalid value: "a.b/c": {ONCE}'],
    ),
    ("33 while becoming one", body("s"), {"type": "LoadBalancer", "loadBalancerClass": "a.b/c"}, []),
    (
        "33 of another type, told by both checks",
        body("s"),
        {"loadBalancerClass": "a.b/c"},
        [f"spec.loadBalancerClass: {BALANCER}"] * 2,
    ),
    (
        "37",
        body("s", **LOCAL),
        {"healthCheckNodePort": 30051},
        ["spec.healthCheckNodePort: Forbidden: field is immutable"],
    ),
    (
        "37 somebody else's port",
        body("s", **LOCAL),
        {"healthCheckNodePort": 30099},
        ["spec.healthCheckNodePort: Forbidden: field is immutable"],
    ),
    ("37 no longer needed", body("s", **LOCAL), {"externalTrafficPolicy": "Cluster"}, []),
    (
        "a health check port is no node port of its own",
        body("s", **LOCAL),
        {"ports": [port(nodePort=30050)]},
        ["spec.ports[0].nodePort: Invalid value: 30050: provided port is already allocated"],
    ),
    (
        "the address changes",
        body("s", clusterIP="10.96.0.7"),
        {"clusterIP": "10.96.0.8"},
        [f'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: {ONCE}'],
    ),
    (
        "the address changes to one of no range",
        body("s", clusterIP="10.96.0.7"),
        {"clusterIP": "192.0.2.1"},
        [f'spec.clusterIPs[0]: Invalid value: ["192.0.2.1"]: {ONCE}'],
    ),
    (
        "the address changes to somebody's",
        body("s", clusterIP="10.96.0.7"),
        {"clusterIP": "10.96.0.1"},
        [f'spec.clusterIPs[0]: Invalid value: ["10.96.0.1"]: {ONCE}'],
    ),
    ("left out", body("s", clusterIP="10.96.0.7"), {"clusterIP": "", "clusterIPs": None}, []),
    (
        "into headless",
        body("s", clusterIP="10.96.0.7"),
        {"clusterIP": "None"},
        [f'spec.clusterIPs[0]: Invalid value: ["None"]: {ONCE}'],
    ),
    (
        "out of headless",
        body("s", clusterIP="None", selector={"a": "b"}),
        {"clusterIP": "10.96.0.7"},
        [f'spec.clusterIPs[0]: Invalid value: ["10.96.0.7"]: {ONCE}'],
    ),
    (
        "another family",
        body("s", clusterIP="10.96.0.7"),
        {"ipFamilies": ["IPv6"]},
        ['spec.clusterIPs[0]: Invalid value: "10.96.0.7": expected an IPv6 value as indicated by `ipFamilies[0]`'],
    ),
    ("headless families are free", body("s", clusterIP="None"), {"ipFamilies": ["IPv6", "IPv4"]}, []),
    (
        "node port out of range",
        body("s", type="NodePort"),
        {"ports": [port(nodePort=80)]},
        [
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
            "The range of valid ports is 30000-32767"
        ],
    ),
    (
        "a node port that is new keeps a type from being left",
        body("s", type="NodePort", ports=[port(nodePort=30007)]),
        {"type": "ClusterIP", "ports": [port(nodePort=30008)]},
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    (
        "a traffic policy that is new as well",
        body("s", type="NodePort"),
        {"type": "ClusterIP", "externalTrafficPolicy": "Local"},
        [f'spec.externalTrafficPolicy: Invalid value: "Local": {OUTSIDE}'],
    ),
    ("to another name", body("s"), ELSEWHERE, []),
    ("to another name, without one", body("s"), {"type": "ExternalName"}, ["spec.externalName: Required value"]),
    (
        "to another name, with another family",
        body("s"),
        {**ELSEWHERE, "ipFamilies": ["IPv6"]},
        [f"spec.ipFamilies: {EXTERNAL}"],
    ),
    ("and back", body("s", **ELSEWHERE), {"type": "ClusterIP", "ports": [port()]}, []),
    (
        "and back, to an address of no range",
        body("s", **ELSEWHERE),
        {"type": "ClusterIP", "ports": [port()], "clusterIP": "192.0.2.1"},
        [
            'spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: '
            "the provided network does not match the current range"
        ],
    ),
    ("and to no address", body("s", **ELSEWHERE), {"type": "ClusterIP", "clusterIP": "None"}, []),
]


async def test_updates_are_refused_row_by_row() -> None:
    got, wanted = {}, {}
    async with running(WITHOUT_ACCOUNTS) as ask:
        await ask.create(SERVICES, body("other", type="NodePort", ports=[port(nodePort=30099)]))
        for row, stored, change, expected in UPDATES:
            wanted[row] = expected
            got[row] = await refused(ask, stored, {"spec": change})
    assert got == wanted


async def test_an_update_naming_one_node_port_twice_is_an_error_of_the_server_as_upstream() -> None:
    async with running() as ask:
        await ask.create(SERVICES, body("s", type="NodePort"))
        twice = [port(1, name="a", nodePort=30007), port(2, name="b", nodePort=30007)]
        answer = await ask("PATCH", f"{SERVICES}/s", {"spec": {"ports": twice}}, content_type=MERGE)
        assert (answer.status, answer.body["message"]) == (500, "duplicate nodePort: {TCP 30007}")
        shared = [port(1, name="a", nodePort=30007), port(2, name="b", nodePort=30007, protocol="UDP")]
        assert (await ask("PATCH", f"{SERVICES}/s", {"spec": {"ports": shared}}, content_type=MERGE)).status == 200


async def test_a_long_message_says_equal_things_once() -> None:
    async with running() as ask:
        await ask.create(SERVICES, body("s"))
        change = {"spec": {"loadBalancerClass": "a.b/c"}}
        answer = await ask("PATCH", f"{SERVICES}/s", change, content_type=MERGE)
        assert answer.body["message"] == f'Service "s" is invalid: spec.loadBalancerClass: {BALANCER}'
