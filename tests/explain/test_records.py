"""Who stands behind a record, and why there is none."""

from typing import Any

import pytest

from homeport.explain.model import Snapshot
from homeport.explain.records import behind, namespaces_of, nothing_clause
from tests.explain.objects import pod, service, slice_of

DOMAIN = "cluster.local"
MEMBERS = [("web-0", "10.244.0.2", "ready"), ("web-1", "10.244.0.3", "unready"), ("web-2", "10.244.0.4", "leaving")]


def objects() -> dict[str, Snapshot]:
    six = slice_of("nginx", ("web-0", "fd00:10:244::2", "ready"))
    lonely = slice_of("lonely", ("db", "192.0.2.7", "ready"))
    lonely["endpoints"][0].pop("targetRef")
    lonely["endpoints"][0].pop("hostname")
    dns = slice_of("names", ("", "10.96.0.10", "ready"))
    dns["endpoints"][0].pop("targetRef")
    here = {
        "Pod": ({**pod("web-0"), "status": {"podIPs": [{"ip": "10.244.0.2"}]}},),
        "Service": (
            service(ipFamilies=["IPv4", "IPv6"]),
            service("front", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"], ipFamilies=["IPv4"]),
            service("empty", clusterIP="10.96.0.8", clusterIPs=["10.96.0.8"]),
            service("lonely"),
            service("names", clusterIP="10.96.0.10", clusterIPs=["10.96.0.10"]),
            service("outside", type="ExternalName", externalName="db.example.com"),
        ),
        "EndpointSlice": (slice_of("nginx", *MEMBERS), six, slice_of("front", *MEMBERS), lonely, dns),
    }
    return {"default": Snapshot("default", DOMAIN, here)}


@pytest.mark.parametrize(
    ("record", "who"),
    [
        ("web-0.nginx A 10.244.0.2", "Pod web-0, ready, an endpoint of Service nginx"),
        ("nginx A 10.244.0.3", "Pod web-1, not ready, an endpoint of Service nginx"),
        ("nginx A 10.244.0.4", "Pod web-2, terminating, an endpoint of Service nginx"),
        ("nginx AAAA fd00:10:244:0::2", "Pod web-0, ready, an endpoint of Service nginx"),
        ("front A 10.96.0.7", "Service front, a virtual address before web-0"),
        ("empty A 10.96.0.8", "Service empty, a virtual address before nobody: connections are refused"),
        ("192-0-2-7.lonely A 192.0.2.7", "EndpointSlice lonely-abc, ready, an endpoint of Service lonely"),
        ("names A 10.96.0.10", "Service names, a real address, not balanced"),
        ("outside CNAME db.example.com.", "Service outside, an alias (spec.externalName)"),
        ("_http._tcp.nginx SRV 0 50 80 web-0.nginx.default.svc.cluster.local.",
         "Pod web-0, ready, an endpoint of Service nginx"),
        ("_http._tcp.front SRV 0 50 80 front.default.svc.cluster.local.",
         "Service front, a virtual address before web-0"),
        ("_x._tcp.lonely SRV 0 50 80 192-0-2-7.lonely.default.svc.cluster.local.",
         "EndpointSlice lonely-abc, ready, an endpoint of Service lonely"),
        ("2.0.244.10.in-addr.arpa. PTR web-0.nginx.default.svc.cluster.local.",
         "Pod web-0, ready, an endpoint of Service nginx"),
        ("10-244-0-2.default.pod.cluster.local. A 10.244.0.2", "Pod web-0, has this address"),
        ("10-244-0-9.default.pod.cluster.local. A 10.244.0.9", "nobody, no pod of the namespace has this address"),
        ("gone A 10.244.0.2", None),
        ("example.com. A 192.0.2.1", None),
        ("cluster.local. SOA ns.dns.cluster.local.", None),
        ("x.other.svc.cluster.local. A 10.244.0.2", None),
    ],
)  # fmt: skip
def test_who_stands_behind_a_record(record: str, who: str | None) -> None:
    name, kind, data = record.split(" ", 2)
    full = name if name.endswith(".") else f"{name}.default.svc.{DOMAIN}."
    found = behind({"name": full, "type": kind, "data": data}, objects(), DOMAIN)
    assert (found and str(found)) == who


def test_a_crowd_is_shortened() -> None:
    many = [(f"web-{number}", f"10.244.1.{number}", "ready") for number in range(9)]
    front = service("front", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"])
    seen = {"default": Snapshot("default", DOMAIN, {"Service": (front,), "EndpointSlice": (slice_of("front", *many),)})}
    found = behind({"name": "front.default.svc.cluster.local.", "type": "A", "data": "10.96.0.7"}, seen, DOMAIN)
    assert found is not None
    assert found.says == "a virtual address before web-0, web-1, web-2, web-3, web-4 and 4 more"


def test_records_name_their_namespaces() -> None:
    records: list[dict[str, Any]] = [
        {"name": "web.one.svc.cluster.local.", "type": "A", "data": "10.96.0.1"},
        {"name": "1.0.96.10.in-addr.arpa.", "type": "PTR", "data": "web.two.svc.cluster.local."},
        {"name": "10-244-0-2.three.pod.cluster.local.", "type": "A", "data": "10.244.0.2"},
        {"name": "example.com.", "type": "A", "data": "192.0.2.1"},
        {"name": "cluster.local.", "type": "SOA", "data": "ns.dns.cluster.local. hostmaster.cluster.local. 1 2 3 4 5"},
    ]
    assert namespaces_of(records, DOMAIN) == {"one", "two", "three"}


@pytest.mark.parametrize(
    ("name", "kind", "clause"),
    [
        ("web-1.nginx", "A", "web-1.nginx.default.svc.cluster.local does not resolve: pod web-1 is not ready"),
        ("nginy", "A", "namespace default has no Service nginy (there is 'nginx')"),
        (
            "front",
            "AAAA",
            "front.default.svc.cluster.local is there and has no AAAA record: Service front is of IPv4 alone",
        ),
        ("front", "MX", "front.default.svc.cluster.local is there and has no MX record."),
        ("example.com.", "A", ""),
    ],
)
def test_why_there_is_no_record(name: str, kind: str, clause: str) -> None:
    told = nothing_clause(name, kind, "default", objects(), DOMAIN)
    assert clause in told
    assert bool(clause) is bool(told)
