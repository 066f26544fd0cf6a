"""Endpoints: who is listed where, how subsets are joined and cut."""

from dataclasses import replace

import pytest

from homeport.controllers.backends import ContainerPort, ServicePort, TriggerTimes, observe_trigger
from homeport.controllers.endpoints.codec import decode_content, encode
from homeport.controllers.endpoints.reconcile import Address, Subset, desired, truncate
from tests.controllers.endpointslice.test_reconcile import HTTP, SERVICE, pod


@pytest.mark.parametrize(
    ("ready", "terminating", "publish", "where"),
    [
        (True, False, False, "ready"),
        (False, False, False, "not ready"),
        (False, False, True, "ready"),
        (True, True, False, "absent"),
        (False, True, False, "absent"),
        (False, True, True, "ready"),
    ],
)
def test_a_pod_is_listed_as_the_table_says(ready: bool, terminating: bool, publish: bool, where: str) -> None:
    service = replace(SERVICE, publish_not_ready=publish)
    content = desired(service, [pod(1, ready=ready, terminating=terminating)])
    found = (
        {"ready": len(content.subsets[0].ready), "not ready": len(content.subsets[0].not_ready)}
        if (content.subsets)
        else {}
    )
    assert [name for name, count in found.items() if count] == ([] if where == "absent" else [where])


def test_ports_with_the_same_addresses_share_a_subset() -> None:
    service = replace(SERVICE, ports=(ServicePort("b", "TCP", 2), ServicePort("a", "TCP", 1)))
    (subset,) = desired(service, [pod(1), pod(2)]).subsets
    assert [port.name for port in subset.ports] == ["a", "b"]


def test_a_named_port_that_differs_makes_subsets() -> None:
    service = replace(SERVICE, ports=(ServicePort("m", "TCP", "metrics"),))
    pods = [pod(n, ports=(ContainerPort("metrics", "TCP", 9000 + n),)) for n in (1, 2)]
    assert [[p.number for p in s.ports] for s in desired(service, pods).subsets] == [[9001], [9002]]


def test_a_headless_service_without_ports_still_lists_addresses() -> None:
    headless = replace(SERVICE, cluster_ip="None", ports=())
    (subset,) = desired(headless, [pod(1)]).subsets
    assert (len(subset.ready), subset.ports) == (1, ())
    assert desired(replace(SERVICE, ports=()), [pod(1)]).subsets == ()


def test_beyond_the_limit_ready_addresses_stay() -> None:
    def addresses(count: int, tag: str) -> tuple[Address, ...]:
        return tuple(Address(f"10.0.{n // 250}.{n % 250}", "", "ns", f"{tag}{n}", f"{tag}{n}") for n in range(count))

    subsets = (Subset(addresses(6, "a"), addresses(4, "b"), (HTTP,)), Subset(addresses(3, "c"), (), (HTTP,)))
    kept, cut = truncate(subsets, 10)
    assert cut
    assert [(len(s.ready), len(s.not_ready)) for s in kept] == [(6, 1), (3, 0)]
    kept, cut = truncate(subsets, 5)
    assert [(len(s.ready), len(s.not_ready)) for s in kept] == [(4, 0), (1, 0)]
    assert truncate(subsets, 13) == (subsets, False)


def test_what_is_written_reads_back() -> None:
    content = desired(SERVICE, [pod(1), pod(2, ready=False)])
    assert decode_content(encode(SERVICE, content, "2026-01-01T00:00:05Z", None)) == content


def test_the_trigger_is_the_oldest_change_since_the_last_look() -> None:
    early, late = pod(1, ready_since="2026-01-01T00:00:05Z"), pod(2, ready_since="2026-01-01T00:00:09Z")
    seen, time = observe_trigger(None, SERVICE, [early])
    assert (seen, time) == (TriggerTimes(SERVICE.created, {"web-0001": "2026-01-01T00:00:05Z"}), SERVICE.created)
    seen, time = observe_trigger(seen, SERVICE, [early, late])
    assert time == "2026-01-01T00:00:09Z"
    assert observe_trigger(seen, SERVICE, [early, late])[1] == ""
