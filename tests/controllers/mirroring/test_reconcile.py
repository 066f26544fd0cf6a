"""Mirrors: one slice per ports and family, labels and annotations copied, nothing written twice."""

from typing import Any

from homeport.controllers.mirroring.reconcile import (
    CreateMirror,
    DeleteMirror,
    Mirror,
    UpdateMirror,
    desired_mirrors,
    is_mirrored,
    reconcile,
)

SERVICE = {"metadata": {"name": "web"}, "spec": {}}


def endpoints(*subsets: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "ns", **metadata}, "subsets": list(subsets)}


def subset(*ips: str, port: int = 80, not_ready: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "addresses": [{"ip": ip} for ip in ips],
        "notReadyAddresses": [{"ip": ip} for ip in not_ready],
        "ports": [{"port": port, "protocol": "TCP"}],
    }


def test_only_endpoints_nobody_else_serves_are_mirrored() -> None:
    assert is_mirrored(endpoints(), SERVICE)
    assert not is_mirrored(endpoints(), None)
    assert not is_mirrored(endpoints(), {"spec": {"selector": {"a": "b"}}})
    assert not is_mirrored(endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), SERVICE)
    assert not is_mirrored(endpoints(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}), SERVICE)


def shown(*subsets: dict[str, Any]) -> list[Any]:
    return [
        (
            d.address_type,
            [p.number for p in d.ports],
            [(*e["addresses"], e["conditions"]["ready"]) for e in d.endpoints],
        )
        for d in desired_mirrors(endpoints(*subsets)).slices
    ]


def test_a_slice_per_ports_and_family() -> None:
    several = subset("10.0.0.1", "FD00::1", not_ready=("10.0.0.2",)), subset("10.0.0.1", port=81)
    assert shown(*several) == [
        ("IPv4", [80], [("10.0.0.1", True), ("10.0.0.2", False)]),
        ("IPv6", [80], [("fd00::1", True)]),
        ("IPv4", [81], [("10.0.0.1", True)]),
    ]


def test_ports_of_the_same_addresses_share_a_slice() -> None:
    """Upstream's test of a custom Endpoint with multiple subsets and same IP address."""
    assert shown(subset("10.0.0.1"), subset("10.0.0.1", port=81)) == [("IPv4", [80, 81], [("10.0.0.1", True)])]
    assert shown(subset("10.0.0.1"), subset(not_ready=("10.0.0.1",))) == [("IPv4", [80], [("10.0.0.1", False)])]
    assert shown({"addresses": [{"ip": "10.0.0.1"}]}) == [("IPv4", [], [("10.0.0.1", True)])]


def test_too_many_and_impossible_addresses_are_counted() -> None:
    found = desired_mirrors(endpoints(subset("10.0.0.1", "10.0.0.2", not_ready=("10.0.0.3",))), limit=1)
    assert ([e["addresses"] for e in found.slices[0].endpoints], found.skipped, found.invalid) == ([["10.0.0.1"]], 2, 0)
    found = desired_mirrors(endpoints(subset("nonsense", "10.0.0.2")), limit=1)
    assert (len(found.slices[0].endpoints), found.skipped, found.invalid) == (1, 1, 1)


def test_labels_and_annotations_are_copied_but_two() -> None:
    annotations = {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    (found,) = desired_mirrors(endpoints(subset("10.0.0.1"), labels={"team": "x"}, annotations=annotations)).slices
    assert found.labels["team"] == "x"
    assert found.annotations == {"a": "b"}


def test_mirrors_are_updated_in_place_and_come_to_rest() -> None:
    first = desired_mirrors(endpoints(subset("10.0.0.1"))).slices
    (create,) = reconcile(first, [])
    assert isinstance(create, CreateMirror)
    mirror = Mirror("web-1", "u", create.content)
    assert reconcile(first, [mirror]) == []
    moved = desired_mirrors(endpoints(subset("10.0.0.1", port=81))).slices
    assert reconcile(moved, [mirror]) == [UpdateMirror("web-1", moved[0])]
    assert reconcile([], [mirror]) == [DeleteMirror("web-1", "u")]
