"""What Services are given, keep and give up: node ports, dry runs, families and changes of type (services-dns 3-5)."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from tests.server.inprocess import MERGE, SERVICES, WITHOUT_ACCOUNTS, Asker, running
from tests.server.test_service_rules import body, causes, port

pytestmark = pytest.mark.virtual

BOTH = replace(WITHOUT_ACCOUNTS, service_cidrs=(IPv4Network("10.96.0.0/24"), IPv6Network("fd00:10:96::/112")))
FEW = replace(WITHOUT_ACCOUNTS, node_ports=(30000, 30001))


async def made(ask: Asker, **spec: Any) -> Any:
    return (await ask.create(SERVICES, body("s", **spec)))["spec"]


async def changed(ask: Asker, **spec: Any) -> Any:
    answer = await ask("PATCH", f"{SERVICES}/s", {"spec": spec}, content_type=MERGE)
    assert answer.status == 200, answer.body
    return answer.body["spec"]


def node_ports(spec: Any) -> list[int]:
    return [one.get("nodePort", 0) for one in spec["ports"]]


def pair(first: int = 0, second: int = 0, **fields: Any) -> list[Any]:
    """TCP and UDP of one number."""
    entries = [port(53, name="t"), port(53, name="u", protocol="UDP", **fields)]
    for entry, number in zip(entries, (first, second), strict=True):
        if number:
            entry["nodePort"] = number
    return entries


async def test_entries_of_one_number_share_a_node_port_on_create_and_not_on_update() -> None:
    async with running() as ask:
        for first, second in ((30005, 0), (0, 30005), (30005, 30005)):
            assert node_ports(await made(ask, type="NodePort", ports=pair(first, second))) == [30005, 30005]
            await ask("DELETE", f"{SERVICES}/s")
        chosen = node_ports(await made(ask, type="NodePort", ports=pair()))
        assert chosen[0] == chosen[1] >= 30086
        await ask("DELETE", f"{SERVICES}/s")
        await made(ask, ports=pair())
        first, second = node_ports(await changed(ask, type="NodePort"))
        assert first != second
        shared = await changed(ask, ports=pair(30007, 30007))
        assert node_ports(shared) == [30007, 30007]


async def test_two_node_ports_asked_for_are_two_node_ports() -> None:
    async with running() as ask:
        assert node_ports(await made(ask, type="NodePort", ports=pair(30005, 30006))) == [30005, 30006]
        taken = body("t", type="NodePort", ports=[port(1, name="a", nodePort=30006), port(2, name="b", nodePort=1)])
        assert causes(await ask("POST", SERVICES, taken)) == [
            "spec.ports[0].nodePort: Invalid value: 30006: provided port is already allocated"
        ]
        first = body("t", type="NodePort", ports=pair(0, 30006))
        assert causes(await ask("POST", SERVICES, first)) == [  # told where it is needed first
            "spec.ports[0].nodePort: Invalid value: 30006: provided port is already allocated"
        ]


async def test_a_balancer_without_node_ports_has_those_it_asks_for() -> None:
    async with running() as ask:
        asked = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
        assert node_ports(await made(ask, **asked, ports=pair(0, 30005))) == [0, 30005]
        assert node_ports(await changed(ask, allocateLoadBalancerNodePorts=True))[1] == 30005
        kept = node_ports(await changed(ask, allocateLoadBalancerNodePorts=False))
        assert all(kept)


async def test_node_ports_run_out() -> None:
    async with running(FEW) as ask:
        await made(ask, type="LoadBalancer", externalTrafficPolicy="Local")
        full = await ask("POST", SERVICES, body("t", type="NodePort"))
        why = "Internal error occurred: failed to allocate a nodePort: range is full"
        assert (full.status, full.body["message"]) == (500, why)
        asked = body("t", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30001)
        asked["spec"]["allocateLoadBalancerNodePorts"] = False
        taken = await ask("POST", SERVICES, asked)
        assert (taken.status, taken.body["message"]) == (
            500,
            "Internal error occurred: failed to allocate requested HealthCheck NodePort 30001: "
            "provided port is already allocated",
        )
        asked["spec"]["healthCheckNodePort"] = 80
        outside = await ask("POST", SERVICES, asked)
        assert outside.body["message"].endswith(
            "HealthCheck NodePort 80: provided port is not in the valid range. The range of valid ports is 30000-30001"
        )


async def test_a_put_keeps_what_it_leaves_out_by_the_names_of_ports() -> None:
    async with running() as ask:
        old = [port(1, name="a", nodePort=30005), port(2, name="b", nodePort=30006)]
        before = await made(ask, type="NodePort", ports=old)
        again = [port(7, name="b"), port(8, name="a"), port(9, name="c", nodePort=30005)]
        spec = {"type": "NodePort", "ports": again}
        after = (await ask("PUT", f"{SERVICES}/s", {"metadata": {"name": "s"}, "spec": spec})).body["spec"]
        assert node_ports(after)[0] == 30006
        assert node_ports(after)[1] not in (0, 30005, 30006)
        assert node_ports(after)[2] == 30005
        assert after["clusterIPs"] == before["clusterIPs"]


async def test_a_dry_run_is_told_of_places_nobody_has() -> None:
    async with running() as ask:
        await ask.create(SERVICES, body("other", type="NodePort", clusterIP="10.96.0.7", ports=[port(nodePort=30099)]))

        async def tried(**spec: Any) -> Any:
            return await ask("POST", f"{SERVICES}?dryRun=All", body("s", **spec))

        guessed = (await tried(type="NodePort", ports=[port(1, name="a"), port(2, name="b")])).body["spec"]
        assert (guessed["clusterIP"], node_ports(guessed)) == ("10.96.0.0", [32769, 32770])
        named = (await tried(type="NodePort", ports=[port(1, name="a", nodePort=30005), port(2, name="b")])).body
        assert node_ports(named["spec"]) == [30005, 30006]
        assert (await tried(clusterIP="10.96.0.7")).body["spec"]["clusterIPs"] == ["10.96.0.7"]  # nobody is asked
        assert causes(await tried(type="NodePort", ports=[port(nodePort=30099)])) == [
            "spec.ports[0].nodePort: Invalid value: 30099: provided port is already allocated"
        ]
        assert causes(await tried(clusterIP="192.0.2.1")) == [
            'spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: the provided IP '
            "(192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
        ]
        await ask.create(SERVICES, body("s", type="NodePort", clusterIP="10.96.0.8", ports=[port(nodePort=30005)]))


POLICY = "spec.ipFamilyPolicy: Invalid value: "
RELEASE = "must be 'SingleStack' to release the secondary"

FAMILIES: list[tuple[str, Any, Any, Any]] = [
    ("second asked for", {}, {"ipFamilyPolicy": "RequireDualStack"}, ["IPv4", "IPv6"]),
    ("second preferred", {}, {"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"]),
    ("by families", {}, {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}, ["IPv4", "IPv6"]),
    (
        "families without the policy",
        {},
        {"ipFamilies": ["IPv4", "IPv6"]},
        [
            POLICY
            + "\"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"
        ],
    ),
    (
        "both lists without the policy",
        {"clusterIP": "10.96.0.7"},
        {"ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.96.0.7", "fd00:10:96::7"]},
        [
            POLICY
            + f"\"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            for what in ("cluster IPs", "IP families")
        ],
    ),
    (
        "primary exchanged",
        {"clusterIP": "10.96.0.7"},
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
        ['spec.clusterIPs[0]: Invalid value: "10.96.0.7": expected an IPv6 value as indicated by `ipFamilies[0]`'],
    ),
    ("back", {"ipFamilyPolicy": "RequireDualStack"}, {"ipFamilyPolicy": "SingleStack"}, ["IPv4"]),
    (
        "back by fewer families",
        {"ipFamilyPolicy": "RequireDualStack"},
        {"ipFamilies": ["IPv4"]},
        [POLICY + f'"RequireDualStack": {RELEASE} IP family'],
    ),
    (
        "back by less of both",
        {"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.96.0.7"},
        {"ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.7"]},
        [POLICY + f'"PreferDualStack": {RELEASE} {what}' for what in ("cluster IP", "IP family")],
    ),
    (
        "back to the other",
        {"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.96.0.7"},
        {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"], "clusterIP": "fd00:10:96::7"},
        [
            'spec.clusterIPs[0]: Invalid value: ["fd00:10:96::7"]: may not change once set',
            'spec.ipFamilies[0]: Invalid value: ["fd00:10:96::7"]: may not change once set',
        ],
    ),
    (
        "elsewhere and back",
        {"ipFamilyPolicy": "RequireDualStack"},
        {"type": "ExternalName", "externalName": "a.b"},
        None,
    ),
    ("headless, freely", {"clusterIP": "None", "selector": {"a": "b"}}, {"ipFamilies": ["IPv6"]}, ["IPv6"]),
    ("the selector goes", {"clusterIP": "None", "selector": {"a": "b"}}, {"selector": None}, ["IPv4"]),
]


async def test_families_of_an_update_row_by_row() -> None:
    got, wanted = {}, {}
    async with running(BOTH) as ask:
        for row, spec, change, expected in FAMILIES:
            wanted[row] = expected
            await ask.create(SERVICES, body("s", **spec))
            answer = await ask("PATCH", f"{SERVICES}/s", {"spec": change}, content_type=MERGE)
            got[row] = answer.body["spec"].get("ipFamilies") if answer.status == 200 else causes(answer)
            await ask("DELETE", f"{SERVICES}/s")
    assert got == wanted


async def test_an_update_that_says_no_policy_keeps_it_and_may_gain_the_second_family() -> None:
    """Only an update that repeats `PreferDualStack`, addresses and families is left alone (rule 1)."""
    async with running(BOTH) as ask:
        await made(ask, ipFamilyPolicy="SingleStack")
        await changed(ask, ipFamilyPolicy="PreferDualStack")
        whole = {"metadata": {"name": "s"}, "spec": {"ports": [port()]}}
        spec = (await ask("PUT", f"{SERVICES}/s", whole)).body["spec"]
        assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("PreferDualStack", ["IPv4", "IPv6"])


LEFT = ["clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy", "internalTrafficPolicy"]

TRANSITIONS: list[tuple[str, Any, Any, set[str], set[str]]] = [
    (
        "balancer to a name elsewhere",
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "a.b/c"},
        {"type": "ExternalName", "externalName": "a.b"},
        {*LEFT, "clusterIP", "healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"},
        {"ports", "sessionAffinity", "selector"},
    ),
    (
        "balancer to node port",
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "a.b/c"},
        {"type": "NodePort"},
        {"healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"},
        {"clusterIP", "externalTrafficPolicy", "nodePort"},
    ),
    (
        "local to cluster",
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
        {"externalTrafficPolicy": "Cluster"},
        {"healthCheckNodePort"},
        {"nodePort", "clusterIP"},
    ),
    ("cluster to local", {"type": "LoadBalancer"}, {"externalTrafficPolicy": "Local"}, set(), {"healthCheckNodePort"}),
    (
        "node port inside",
        {"type": "NodePort"},
        {"type": "ClusterIP"},
        {"nodePort", "externalTrafficPolicy"},
        {"clusterIP"},
    ),
    (
        "node port inside, with external addresses",
        {"type": "NodePort", "externalIPs": ["192.0.2.1"]},
        {"type": "ClusterIP"},
        {"nodePort"},
        {"externalTrafficPolicy"},
    ),
    ("inside to node port", {}, {"type": "NodePort"}, set(), {"nodePort", "externalTrafficPolicy", "clusterIP"}),
    (
        "a name elsewhere to node port",
        {"type": "ExternalName", "externalName": "a.b"},
        {"type": "NodePort"},
        set(),
        {"nodePort", "clusterIPs", "ipFamilies", "externalName"},
    ),
]


async def test_what_a_change_of_type_takes_and_leaves() -> None:
    async with running() as ask:
        for row, spec, change, gone, there in TRANSITIONS:
            before = await made(ask, selector={"a": "b"}, **spec)
            after = await changed(ask, **change)
            fields = after.keys() | after["ports"][0].keys()
            assert not gone & fields, row
            assert there <= fields, row
            if "clusterIP" in before and "clusterIP" in after:
                assert after["clusterIPs"] == before["clusterIPs"], row
            if gone & {"nodePort", "clusterIPs", "healthCheckNodePort"}:
                free = {one for one in node_ports(before) if one} - {one for one in node_ports(after) if one}
                for number in free:
                    await ask.create(SERVICES, body("t", type="NodePort", ports=[port(nodePort=number)]))
                    await ask("DELETE", f"{SERVICES}/t")
            await ask("DELETE", f"{SERVICES}/s")


async def test_the_balancers_status_goes_with_the_type() -> None:
    async with running() as ask:
        await made(ask, type="LoadBalancer")
        told = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        await ask("PATCH", f"{SERVICES}/s/status", told, content_type=MERGE)
        answer = await ask("PATCH", f"{SERVICES}/s", {"spec": {"type": "NodePort"}}, content_type=MERGE)
        assert answer.body["status"] == {"loadBalancer": {}}


async def test_a_selector_for_a_headless_service_of_two_families_on_a_cluster_of_one() -> None:
    async with running() as ask:
        await made(ask, clusterIP="None")
        answer = await ask("PATCH", f"{SERVICES}/s", {"spec": {"selector": {"a": "b"}}}, content_type=MERGE)
        assert causes(answer) == [
            POLICY + '"RequireDualStack": this cluster is not configured for dual-stack services',
            'spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster',
        ]
        labels = await ask("PATCH", f"{SERVICES}/s", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
        assert labels.status == 200
        single = {"selector": {"a": "b"}, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
        assert (await changed(ask, **single))["ipFamilies"] == ["IPv4"]


async def test_figures_of_the_allocators() -> None:
    settings = replace(FEW, service_cidrs=(IPv4Network("10.96.0.0/28"),))
    async with running(settings) as ask:
        await made(ask, type="NodePort", ports=[port(80, nodePort=30000)])
        for refused in (body("t", clusterIP="10.96.0.1"), body("t", type="NodePort", ports=[port(80, nodePort=30000)])):
            assert (await ask("POST", SERVICES, refused)).status == 422
        await ask("POST", f"{SERVICES}?dryRun=All", body("t", type="NodePort"))
        await ask.create(SERVICES, body("t", clusterIP="10.96.0.9"))
        page = (await ask("GET", "/metrics")).raw.body.decode()
    found = [line.removeprefix("kube_apiserver_") for line in page.splitlines() if line.startswith("kube_apiserver_")]
    assert found == [
        'clusterip_allocator_allocated_ips{cidr="10.96.0.0/28"} 3',
        'clusterip_allocator_available_ips{cidr="10.96.0.0/28"} 11',
        'clusterip_allocator_allocation_total{cidr="10.96.0.0/28",scope="dynamic"} 2',
        'clusterip_allocator_allocation_total{cidr="10.96.0.0/28",scope="static"} 2',
        'clusterip_allocator_allocation_errors_total{cidr="10.96.0.0/28",scope="static"} 1',
        "nodeport_allocator_allocated_ports 1",
        "nodeport_allocator_available_ports 1",
        'nodeport_allocator_allocation_total{scope="static"} 1',
        'nodeport_allocator_allocation_errors_total{scope="static"} 1',
    ]
