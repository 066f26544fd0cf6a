"""Where a connection from a pod to a Service may end up, and why not elsewhere."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from homeport.explain.connections import explain_connection, explain_to_address
from homeport.explain.model import Evidence
from homeport.explain.names import asked
from homeport.explain.wanted import Wanted, wanted
from homeport.explain.ways import Connection
from homeport.proxy.flows import Connection as Flow
from homeport.proxy.model import ProxySettings, Target
from tests.explain.objects import pod, seen, service, slice_of

SIDE = ProxySettings(
    IPv4Network("10.244.0.0/16"),
    IPv4Network("10.96.0.0/16"),
    (IPv4Address("10.244.0.1"),),
    (IPv4Address("10.96.0.10"),),
    node="here",
)
VIRTUAL: dict[str, Any] = {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}
CLIENT = pod("client", metadata={"labels": {"app": "client"}}, spec={"nodeName": "here"})
READY, UNREADY, LEAVING = (
    ("web-0", "10.244.0.2", "ready"),
    ("web-1", "10.244.0.3", "unready"),
    ("web-2", "10.244.0.4", "leaving"),
)


def sliced(*pods: tuple[str, str, str], port: int = 8080, name: str = "http") -> dict[str, Any]:
    obj = slice_of("nginx", *pods)
    for entry in obj["endpoints"]:
        entry["nodeName"] = "here"
    return {**obj, "ports": [{"name": name, "port": port, "protocol": "TCP"}]}


def explain(*objects: dict[str, Any], to: str = "nginx", port: str = "", client: dict[str, Any] = CLIENT) -> Connection:
    found = seen(client, *objects)
    meaning = asked(to, "default", "cluster.local")[0]
    return explain_connection(Wanted("client", to, port), found, meaning, found, [SIDE])


def annotated(value: str) -> dict[str, Any]:
    obj = service(**VIRTUAL)
    return {**obj, "metadata": {**obj["metadata"], "annotations": {"homeport.local/balance": value}}}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["web-0→db"], Wanted("web-0", "db")),
        (["web-0->db:5432"], Wanted("web-0", "db", "5432")),
        (["pod/web-0 -> svc/db"], Wanted("web-0", "db")),
        (["web-0", "db.prod"], Wanted("web-0", "db.prod")),
        (["web-0", "db:sql"], Wanted("web-0", "db", "sql")),
        (["web-0", "db", "5432"], Wanted("web-0", "db", "5432")),
        (["web-0", "→", "db:5432"], Wanted("web-0", "db", "5432")),
        (["shop/web-0->data/db:5432"], Wanted("web-0", "db.data", "5432", "shop")),
        (["pod/shop/web-0", "svc/data/db"], Wanted("web-0", "db.data", "", "shop")),
        (["web-0", "10.96.0.1:443"], Wanted("web-0", "10.96.0.1", "443")),
        (["web-0", "[fd00:10:96::a]:53"], Wanted("web-0", "fd00:10:96::a", "53")),
        (["web-0", "fd00:10:96::a"], Wanted("web-0", "fd00:10:96::a")),
        (["web-0", "fd00:10:96::a", "53"], Wanted("web-0", "fd00:10:96::a", "53")),
    ],
)
def test_a_connection_is_asked_for_in_several_ways(words: list[str], meant: Wanted) -> None:
    assert wanted(words) == meant


@pytest.mark.parametrize(
    "words", [[], ["web-0"], ["->db"], ["web-0", "sts/db"], ["a", "b", "1", "2"], ["pod/a/b/c", "d"], ["a", "svc/"]]
)
def test_anything_else_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"POD|connection goes"):
        wanted(words)


@pytest.mark.parametrize(
    ("objects", "fine", "outcome", "sentence"),
    [
        (
            [service(**VIRTUAL), sliced(READY)],
            True,
            "balanced",
            "Pod client reaches the one endpoint of Service nginx by 10.96.1.1:80/TCP.",
        ),
        (
            [service(**VIRTUAL), sliced(READY, ("web-1", "10.244.0.3", "ready"), LEAVING)],
            False,
            "balanced",
            "Pod client reaches 2 of 3 endpoints of Service nginx by 10.96.1.1:80/TCP, one drawn at random for each"
            " connection.",
        ),
        (
            [annotated("round-robin"), sliced(READY, ("web-1", "10.244.0.3", "ready"))],
            True,
            "balanced",
            "Pod client reaches 2 of 2 endpoints of Service nginx by 10.96.1.1:80/TCP, one after the other.",
        ),
        (
            [service(sessionAffinity="ClientIP", **VIRTUAL), sliced(READY)],
            True,
            "balanced",
            "Pod client reaches the one endpoint of Service nginx by 10.96.1.1:80/TCP; it keeps its endpoint for"
            " 10800 s (sessionAffinity).",
        ),
        (
            [service(**VIRTUAL), sliced(LEAVING)],
            False,
            "balanced",
            "Pod client reaches the one endpoint of Service nginx by 10.96.1.1:80/TCP; nothing is ready, so those on"
            " their way out serve until the last.",
        ),
        (
            [service(**VIRTUAL), pod("web-1", ready=False), sliced(UNREADY)],
            False,
            "refused",
            "Connections of pod client to Service nginx (10.96.1.1:80/TCP) are refused at once: no ready endpoint, pod"
            " web-1 is not ready (container main: running, its readiness probe has not succeeded yet).",
        ),
        (
            [service(ports=[{"name": "grpc", "port": 90, "targetPort": "grpc"}], **VIRTUAL), sliced(READY)],
            False,
            "refused",
            "Connections of pod client to Service nginx (10.96.1.1:90/TCP) are refused at once: no ready endpoint, as"
            " web-0 offer no port 'grpc', which port 90 leads to.",
        ),
        (
            [service(), sliced(READY)],
            True,
            "direct",
            "Pod client connects to the one endpoint of Service nginx itself, whichever address of the answer it picks:"
            " no virtual address, no balancing, and the port it asks for is the port of the pod.",
        ),
        (
            [service(), pod("web-1", ready=False), sliced(UNREADY)],
            False,
            "none",
            "Pod client cannot connect, as nginx.default.svc.cluster.local does not resolve: headless Service nginx has"
            " no ready endpoint: pod web-1 is not ready (container main: running, its readiness probe has not succeeded"
            " yet).",
        ),
        (
            [service(type="ExternalName", externalName="db.example.com")],
            False,
            "alias",
            "Pod client is sent to db.example.com: Service nginx is an alias (CNAME), and its ports mean nothing; that"
            " name lies outside, and no way leads out of the cluster's network.",
        ),
        (
            [service(type="ExternalName", externalName="db.prod.svc.cluster.local")],
            True,
            "alias",
            "Pod client is sent to db.prod.svc.cluster.local: Service nginx is an alias (CNAME), and its ports mean"
            " nothing.",
        ),
        (
            [service(**{**VIRTUAL, "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]})],
            True,
            "direct",
            "Pod client connects to 10.96.0.10 itself: the cluster's name server has that address, unbalanced.",
        ),
        ([], False, "none", "Service nginx does not exist in namespace default."),
    ],
)
def test_where_it_ends_up(objects: list[dict[str, Any]], fine: bool, outcome: str, sentence: str) -> None:
    found = explain(*objects)
    assert (found.fine, found.outcome, found.sentence) == (fine, outcome, sentence)


def test_who_is_left_out_and_why() -> None:
    extra = pod("web-9", phase="Pending", conditions=[], state={"waiting": {"reason": "ContainerCreating"}})
    found = explain(service(**VIRTUAL), pod("web-1", ready=False), extra, sliced(READY, UNREADY, LEAVING))
    assert {(way.pod, way.reached, way.why.partition(" (")[0]) for way in found.ways} == {
        ("web-0", True, "ready"),
        ("web-1", False, "not ready"),
        ("web-2", False, "terminating, and others are ready"),
        ("web-9", False, "not ready"),
    }


def test_local_traffic_stays_on_the_node_or_is_ignored() -> None:
    local = service(internalTrafficPolicy="Local", **VIRTUAL)
    both = sliced(READY, ("web-1", "10.244.0.3", "ready"))
    both["endpoints"][1]["nodeName"] = "there"
    found = explain(local, both)
    assert [(way.reached, way.why) for way in found.ways] == [
        (True, "ready"),
        (False, "on node there, and internalTrafficPolicy is Local"),
    ]
    both["endpoints"][0]["nodeName"] = "there"
    found = explain(local, both)
    assert found.outcome == "ignored"
    assert "are ignored until the client gives up" in found.sentence


def test_hints_keep_connections_near() -> None:
    both = sliced(READY, ("web-1", "10.244.0.3", "ready"))
    for entry, node in zip(both["endpoints"], ("here", "there"), strict=True):
        entry["hints"] = {"forNodes": [{"name": node}]}
    found = explain(service(trafficDistribution="PreferSameNode", **VIRTUAL), both)
    assert [(way.reached, way.why) for way in found.ways] == [
        (True, "ready"),
        (False, "meant for clients of there (hints)"),
    ]
    assert "trafficDistribution PreferSameNode" in {one.says for one in found.evidence}


def test_a_port_the_service_does_not_have_is_refused() -> None:
    found = explain(service(**VIRTUAL), sliced(READY), port="81")
    assert (found.outcome, found.sentence) == (
        "refused",
        "Connections of pod client to 10.96.1.1, port 81, are refused: Service nginx has no such port (it has 80"
        " (http)).",
    )
    assert explain(service(**VIRTUAL), sliced(READY), port="http").outcome == "balanced"


def test_a_headless_service_translates_no_port() -> None:
    found = explain(service(), sliced(READY), port="80")
    assert found.sentence == (
        "Pod client reaches nobody on port 80: a headless Service translates no ports, and its pods listen on 8080."
    )
    assert explain(service(), sliced(READY), port="8080").fine


def test_the_worst_of_several_ports_is_told_first() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "grpc", "port": 90, "targetPort": "grpc"}]
    found = explain(service(ports=ports, **VIRTUAL), sliced(READY))
    assert found.outcome == "refused"
    assert ("port 80", "Pod client reaches the one endpoint of Service nginx by 10.96.1.1:80/TCP.") in {
        (one.object, one.says) for one in found.evidence
    }


def test_a_member_is_reached_by_its_own_name() -> None:
    found = explain(service(), sliced(READY, UNREADY), to="web-0.nginx")
    assert (found.fine, [way.pod for way in found.ways]) == (True, ["web-0"])


def test_the_client_counts_too() -> None:
    outside = pod("client", metadata={"labels": {}}, spec={"dnsPolicy": "Default"})
    found = explain(service(**VIRTUAL), sliced(READY), client=outside)
    assert not found.fine
    assert found.sentence.endswith(
        "But its dnsPolicy Default asks the host's resolver, which knows no names of the cluster."
    )
    nobody = explain_connection(
        Wanted("clinet", "nginx"), seen(CLIENT), asked("nginx", "default", "cluster.local")[0], seen(CLIENT), [SIDE]
    )
    assert nobody.sentence == "Pod clinet does not exist: namespace default has no such pod (there is 'client')."


def test_json_has_the_endpoints() -> None:
    shown = explain(service(**VIRTUAL), sliced(READY)).as_json()
    assert shown["outcome"] == "balanced"
    assert shown["endpoints"] == [
        {"target": "10.244.0.2:8080", "pod": "web-0", "port": "http", "reached": True, "why": "ready"}
    ]


SIX = ProxySettings(
    IPv6Network("fd00:10:244::/64"), IPv6Network("fd00:10:96::/112"), (IPv6Address("fd00:10:244::1"),), (), node="here"
)
BOTH: dict[str, Any] = {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1", "fd00:10:96::1"]}


def of_six(*pods: tuple[str, str, str]) -> dict[str, Any]:
    return {**sliced(*pods), "addressType": "IPv6"}


def explain_both(*objects: dict[str, Any]) -> Connection:
    found = seen(CLIENT, *objects)
    meaning = asked("nginx", "default", "cluster.local")[0]
    return explain_connection(Wanted("client", "nginx"), found, meaning, found, [SIDE, SIX])


def test_a_service_of_two_families_is_explained_in_each() -> None:
    found = explain_both(service(**BOTH), sliced(READY), of_six(("web-0", "fd00:10:244::2", "ready")))
    assert found.sentence == "Pod client reaches the one endpoint of Service nginx by 10.96.1.1:80/TCP."
    told = [one.says for one in found.evidence if one.object == "IPv6"]
    assert told == ["Pod client reaches the one endpoint of Service nginx by [fd00:10:96::1]:80/TCP."]
    assert [way.target for way in found.ways] == ["10.244.0.2:8080", "[fd00:10:244::2]:8080"]
    assert len(set(found.evidence)) == len(found.evidence)


def test_the_family_that_is_not_well_speaks_first() -> None:
    found = explain_both(service(**BOTH), pod("web-0"), sliced(READY))
    assert (found.fine, found.outcome) == (False, "refused")
    assert "([fd00:10:96::1]:80/TCP) are refused at once" in found.sentence
    said = [one.says for one in found.evidence if one.object == "Pod web-0"]
    assert "left out: has no address of this family" in said


def test_a_pod_with_two_addresses_is_one_endpoint() -> None:
    names = [("web-0", "fd00:10:244::2", "ready"), ("web-1", "fd00:10:244::3", "ready")]
    found = explain_both(service(), sliced(READY, ("web-1", "10.244.0.3", "ready")), of_six(*names))
    assert "connects to 2 of 2 endpoints of Service nginx itself" in found.sentence


@pytest.mark.parametrize(
    ("address", "owner", "fine", "outcome", "sentence"),
    [
        ("10.244.0.2", pod("web-0"), True, "direct",
         "Pod client connects to pod web-0 itself, whose address that is: nothing is balanced."),
        ("10.244.0.2", pod("web-0", ready=False), False, "direct",
         "Pod client connects to pod web-0 itself, whose address that is: nothing is balanced, and it is not ready"
         " (container main: running, its readiness probe has not succeeded yet)."),
        ("10.96.9.9", None, False, "ignored",
         "Connections of pod client to 10.96.9.9 are ignored: no Service has this virtual address."),
        ("10.244.9.9", None, False, "none", "Pod client reaches nobody at 10.244.9.9: no pod has this address."),
        ("192.0.2.1", None, False, "none",
         "Pod client cannot reach 192.0.2.1: it lies outside, and no way leads out of the cluster's network."),
    ],
)  # fmt: skip
def test_addresses(address: str, owner: Any, fine: bool, outcome: str, sentence: str) -> None:
    here = seen(CLIENT, *([owner] if owner else []))
    found = explain_to_address(Wanted("client", address), here, owner, here, [SIDE])
    assert (found.fine, found.outcome, found.sentence) == (fine, outcome, sentence)


def balancer(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    obj = service(type="LoadBalancer", ports=ports, externalIPs=["192.0.2.7"], **VIRTUAL, **spec)
    return {**obj, "status": {"loadBalancer": {"ingress": [{"ip": "10.98.0.1"}]}}}


def explain_by(address: str, port: str, obj: dict[str, Any], *others: dict[str, Any]) -> Connection:
    client = {**CLIENT, "status": {**CLIENT["status"], "podIPs": [{"ip": "10.244.0.9"}]}}
    found = seen(client, obj, *others)
    meaning = asked("nginx", "default", "cluster.local")[0]
    return explain_connection(Wanted("client", address, port), found, meaning, found, [SIDE])


@pytest.mark.parametrize(
    ("address", "port", "spec", "outcome", "words"),
    [
        ("10.98.0.1", "80", {}, "balanced", "reaches the one endpoint of Service nginx by 10.98.0.1:80/TCP"),
        ("192.0.2.7", "", {}, "balanced", "by 192.0.2.7:80/TCP"),
        ("10.244.0.1", "30080", {}, "balanced", "by 10.244.0.1:30080/TCP"),
        ("10.244.0.1", "80", {}, "refused", "has no such port"),
        ("10.98.0.1", "80", {"externalTrafficPolicy": "Local"}, "balanced", "by 10.98.0.1:80/TCP"),
        ("10.98.0.1", "80", {"loadBalancerSourceRanges": ["10.244.0.0/24"]}, "balanced", "by 10.98.0.1:80/TCP"),
        ("10.98.0.1", "80", {"loadBalancerSourceRanges": ["192.0.2.0/24"]}, "ignored",
         "the pod's address is in none of its loadBalancerSourceRanges (192.0.2.0/24)"),
        ("10.96.1.1", "80", {"loadBalancerSourceRanges": ["192.0.2.0/24"]}, "balanced", "by 10.96.1.1:80/TCP"),
    ],
)  # fmt: skip
def test_each_address_of_a_service_is_explained_as_its_own(
    address: str, port: str, spec: dict[str, Any], outcome: str, words: str
) -> None:
    found = explain_by(address, port, balancer(**spec), sliced(READY))
    assert (found.outcome, words in found.sentence) == (outcome, True), found.sentence


def test_the_nodes_address_without_a_node_port_leads_nowhere() -> None:
    here = seen(CLIENT)
    found = explain_to_address(Wanted("client", "10.244.0.1", "81"), here, None, here, [SIDE])
    assert found.sentence == "10.244.0.1 is the node's own address, and no Service has the node port 81."


@pytest.mark.parametrize(
    ("obj", "slices", "means", "about", "says"),
    [
        (service(**VIRTUAL), sliced(READY), "nftables", "table ip homeport",
         "services { 10.96.1.1 . tcp . 80 : goto cluster-1 }"),
        (service(**VIRTUAL), sliced(), "nftables", "table ip homeport",
         "services { 10.96.1.1 . tcp . 80 : goto refuse }"),
        (annotated("round-robin"), sliced(READY), "nftables", "table ip homeport",
         "services { 10.96.1.1 . tcp . 80 : goto cluster/default/nginx/tcp/http }"),
        (annotated("least-connections"), sliced(READY), "nftables", "proxy",
         "joins connections itself, by a TCP socket on 10.96.1.1:80"),
        (service(**VIRTUAL), sliced(READY), "userspace", "proxy",
         "joins connections itself, by a TCP socket on 10.96.1.1:80"),
    ],
)  # fmt: skip
def test_what_carries_a_decision_out_is_shown(obj: Any, slices: Any, means: str, about: str, says: str) -> None:
    found = seen(CLIENT, obj, slices)
    meaning = asked("nginx", "default", "cluster.local")[0]
    told = explain_connection(Wanted("client", "nginx"), found, meaning, found, [SIDE], means=means)
    assert Evidence(about, says) in told.evidence
    untold = explain_connection(Wanted("client", "nginx"), found, meaning, found, [SIDE])
    assert not any(one.object in ("proxy", "table ip homeport") for one in untold.evidence)


def test_connections_under_way_are_told() -> None:
    """Those of this pod, to what it asks for: an endpoint that gets no new ones is named as such."""
    client = {**CLIENT, "status": {**CLIENT["status"], "podIPs": [{"ip": "10.244.0.9"}]}}
    found = seen(client, service(**VIRTUAL), sliced(READY))
    meaning = asked("nginx", "default", "cluster.local")[0]
    front, own = Target(IPv4Address("10.96.1.1"), 80), IPv4Address("10.244.0.9")
    near, gone = (Target(IPv4Address(f"10.244.0.{n}"), 8080) for n in (2, 3))
    flows = [
        *[Flow("tcp", front, near, True, own)] * 2,
        Flow("tcp", front, gone, True, own),
        Flow("tcp", front, near, False, own),  # over
        Flow("udp", front, near, True, own),
        Flow("tcp", front, near, True, IPv4Address("10.244.0.8")),  # somebody else's
        Flow("tcp", Target(front.address, 81), near, True, own),
    ]
    told = explain_connection(Wanted("client", "nginx"), found, meaning, found, [SIDE], flows=flows)
    said = "connections under way: 2 to web-0 (10.244.0.2:8080), 1 to 10.244.0.3:8080, which gets no new ones"
    assert Evidence("Pod client", said) in told.evidence
