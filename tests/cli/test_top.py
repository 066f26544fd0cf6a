"""`top`: connections of the kernel and of user space in one table."""

from ipaddress import ip_address, ip_network
from typing import Any

from homeport.cli.top import rows_of, totals
from homeport.proxy.flows import Connection
from homeport.proxy.model import Carried, ProxySettings, Target
from tests.explain.objects import slice_of

SIDES = [
    ProxySettings(ip_network("10.244.0.0/16"), ip_network("10.96.0.0/16"), ()),
    ProxySettings(ip_network("fd00:10:244::/64"), ip_network("fd00:10:96::/112"), ()),
]
SERVICE = {
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {"clusterIPs": ["10.96.0.7", "fd00:10:96::7"], "ports": [{"name": "http", "port": 80}]},
}


def both() -> list[dict[str, Any]]:
    """Slices of one pod, in each family."""
    made = [slice_of("web", ("web-0", address, "ready")) for address in ("10.244.0.2", "fd00:10:244::2")]
    return [
        {**one, "addressType": f"IPv{n}", "ports": [{"name": "http", "port": 8080}]}
        for one, n in zip(made, (4, 6), strict=True)
    ]


def test_each_family_counts_its_own() -> None:
    pods = [Target(ip_address(address), 8080) for address in ("10.244.0.2", "fd00:10:244::2")]
    fronts = [Target(ip_address(address), 80) for address in SERVICE["spec"]["clusterIPs"]]
    flows = [
        Connection("tcp", front, pod, live, pod.address)
        for front, pod in zip(fronts, pods, strict=True)
        for live in (True, False)
    ]
    joined = [Carried(("default", "web"), "tcp", "http", pods[1], 2, 5)]
    rows = [row for side in SIDES for row in rows_of(SERVICE, both(), flows, side, joined)]
    assert [(row["endpoint"], row["pod"], row["live"], row["picks"]) for row in rows] == [
        ("10.244.0.2:8080", "web-0", 1, 2),
        ("[fd00:10:244::2]:8080", "web-0", 3, 7),
    ]
    assert totals(rows) == [{"namespace": "default", "service": "web", "live": 4, "picks": 9}]
    assert totals([]) == []
