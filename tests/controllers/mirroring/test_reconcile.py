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


def test_a_slice_per_ports_and_family() -> None:
    found, skipped, invalid = desired_mirrors(
        endpoints(subset("10.0.0.1", "fd00::1", not_ready=("10.0.0.2",)), subset("10.0.0.1", port=81))
    )
    assert [(d.address_type, [p.number for p in d.ports], len(d.endpoints)) for d in found] == [
        ("IPv4", [80], 2),
        ("IPv6", [80], 1),
        ("IPv4", [81], 1),
    ]
    assert found[0].endpoints[1]["conditions"] == {"ready": False}
    assert (skipped, invalid) == (0, [])


def test_too_many_and_impossible_addresses_are_counted() -> None:
    found, skipped, invalid = desired_mirrors(endpoints(subset("10.0.0.1", "10.0.0.2", "nonsense")), limit=1)
    assert (len(found[0].endpoints), skipped, invalid) == (1, 1, ["nonsense"])


def test_labels_and_annotations_are_copied_but_two() -> None:
    annotations = {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    (found,), _, _ = desired_mirrors(endpoints(subset("10.0.0.1"), labels={"team": "x"}, annotations=annotations))
    assert found.labels["team"] == "x"
    assert found.annotations == {"a": "b"}


def test_mirrors_are_updated_in_place_and_come_to_rest() -> None:
    first, _, _ = desired_mirrors(endpoints(subset("10.0.0.1")))
    (create,) = reconcile(first, [])
    assert isinstance(create, CreateMirror)
    mirror = Mirror("web-1", "u", create.content)
    assert reconcile(first, [mirror]) == []
    moved, _, _ = desired_mirrors(endpoints(subset("10.0.0.1", port=81)))
    assert reconcile(moved, [mirror]) == [UpdateMirror("web-1", moved[0])]
    assert reconcile([], [mirror]) == [DeleteMirror("web-1", "u")]
