"""Ranges of cluster addresses and the objects that stand for one address: rules, first status, rows."""

from typing import Any

import pytest
from tests.api.objects import NOW, created, refusals, updated

from homeport.api import tables
from homeport.api.resources import Gvk
from homeport.clock import rfc3339

CIDR = Gvk("networking.k8s.io", "v1", "ServiceCIDR")
ADDRESS = Gvk("networking.k8s.io", "v1", "IPAddress")
PARENT = {"group": "", "resource": "services", "namespace": "db", "name": "pg"}


def ranges(*cidrs: str) -> dict[str, Any]:
    return {"metadata": {"name": "more"}, "spec": {"cidrs": list(cidrs)}}


def address(ip: str = "10.96.0.7", **reference: str) -> dict[str, Any]:
    return {"metadata": {"name": ip}, "spec": {"parentRef": {**PARENT, **reference}}}


@pytest.mark.parametrize(
    ("cidrs", "text"),
    [
        ((), "spec.cidrs: Required value: at least one CIDR required"),
        (
            ("10.1.0.0/24", "10.2.0.0/24", "fd00::/112"),
            'spec.cidrs: Invalid value: {"CIDRs":["10.1.0.0/24","10.2.0.0/24","fd00::/112"]}: '
            "may only hold up to 2 values",
        ),
        (
            ("10.1.0.0/24", "10.2.0.0/24"),
            'spec.cidrs: Invalid value: ["10.1.0.0/24","10.2.0.0/24"]: may specify no more than one IP for each IP '
            "family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ),
        (
            ("10.1.0.0",),
            'spec.cidrs[0]: Invalid value: "10.1.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
        ),
        (
            ("10.1.0.0/24", "fd00::7/112"),
            'spec.cidrs[1]: Invalid value: "fd00::7/112": must not have bits set beyond the prefix length',
        ),
        (
            ("10.01.0.0/24",),
            'spec.cidrs[0]: Invalid value: "10.01.0.0/24": must not have leading 0s in IP or prefix length',
        ),
        (
            ("FD00::/112",),
            'spec.cidrs[0]: Invalid value: "FD00::/112": must be in canonical form ("fd00::/112")',
        ),
        (
            ("::ffff:10.0.0.0/104",),
            'spec.cidrs[0]: Invalid value: "::ffff:10.0.0.0/104": must not have an IPv4-mapped IPv6 address',
        ),
    ],
)
def test_a_broken_range_is_named(cidrs: tuple[str, ...], text: str) -> None:
    assert refusals(CIDR, ranges(*cidrs)) == [text]


@pytest.mark.parametrize("cidrs", [("10.1.0.0/24",), ("fd00::/112",), ("fd00::/112", "10.1.0.0/24")])
def test_ranges_of_one_or_both_families_are_taken(cidrs: tuple[str, ...]) -> None:
    assert refusals(CIDR, ranges(*cidrs)) == []


def test_a_range_only_grows_by_the_other_family() -> None:
    old = created(CIDR, ranges("10.1.0.0/24"))
    assert updated(CIDR, old, ranges("10.1.0.0/24", "fd00::/112"))[1] == []
    assert updated(CIDR, old, ranges("10.2.0.0/24"))[1] == [
        'spec.cidrs[0]: Invalid value: "10.2.0.0/24": field is immutable'
    ]
    assert updated(CIDR, old, ranges("fd00::/112", "10.1.0.0/24"))[1] == [
        'spec.cidrs[0]: Invalid value: "fd00::/112": field is immutable'
    ]
    both = created(CIDR, ranges("10.1.0.0/24", "fd00::/112"))
    assert updated(CIDR, both, ranges("10.1.0.0/24"))[1] == [
        'spec.cidrs: Invalid value: ["10.1.0.0/24"]: field is immutable'
    ]


def test_only_the_status_path_writes_a_ranges_status() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": rfc3339(NOW)}
    ready = {"conditions": [condition]}
    old = created(CIDR, {**ranges("10.1.0.0/24"), "status": ready})
    assert old["status"] == {}
    assert updated(CIDR, old, {**old, "status": ready})[0]["status"] == {}
    moved = {"metadata": {**old["metadata"], "labels": {"a": "b"}}, "spec": {"cidrs": []}, "status": ready}
    after, refused = updated(CIDR, old, moved, "status")
    assert refused == []
    assert after["spec"] == old["spec"]
    assert "labels" not in after["metadata"]
    assert after["status"] == ready


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (address("ten"), 'metadata.name: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7'),
        (address("FD00::1"), 'metadata.name: Invalid value: "FD00::1": must be in canonical form ("fd00::1")'),
        (address("fd00::0:1"), 'metadata.name: Invalid value: "fd00::0:1": must be in canonical form ("fd00::1")'),
        ({"metadata": {"name": "10.0.0.1"}, "spec": {}}, "spec.parentRef: Required value"),
        (address(resource=""), "spec.parentRef.resource: Required value"),
        (address(name="a/b"), "spec.parentRef.name: Invalid value: \"a/b\": may not contain '/'"),
        (address(group="A"), 'spec.parentRef.group: Invalid value: "A": a lowercase RFC 1123 subdomain'),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_a_broken_address_is_named(body: dict[str, Any], text: str) -> None:
    found = refusals(ADDRESS, body)
    assert len(found) == 1
    assert found[0].startswith(text)


def test_an_address_keeps_its_parent() -> None:
    old = created(ADDRESS, address())
    assert updated(ADDRESS, old, address())[1] == []
    assert updated(ADDRESS, old, address(namespace="web"))[1] == [
        'spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"web","Name":"pg"}: '
        "field is immutable"
    ]


def test_rows() -> None:
    born = rfc3339(NOW - 90)
    cidr = created(CIDR, ranges("10.1.0.0/24", "fd00::/112"))
    cidr["metadata"]["creationTimestamp"] = born
    assert [column["name"] for column in tables.columns(CIDR)] == ["Name", "CIDRs", "Age"]
    assert tables.row(CIDR, cidr, NOW)["cells"] == ["more", "10.1.0.0/24,fd00::/112", "90s"]
    one = created(ADDRESS, address())
    one["metadata"]["creationTimestamp"] = born
    assert [column["name"] for column in tables.columns(ADDRESS)] == ["Name", "ParentRef"]
    assert tables.row(ADDRESS, one, NOW)["cells"] == ["10.96.0.7", "services/db/pg", "90s"]
