"""Which slices mirror an Endpoints object.

Source: services-dns 12 of the specification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeport.controllers.backends import TRIGGER_TIME_ANNOTATION, Port, family_of
from homeport.controllers.endpointslice.model import MANAGED_BY_LABEL, SERVICE_NAME_LABEL

__all__ = [
    "LIMIT",
    "MANAGER",
    "Action",
    "CreateMirror",
    "DeleteMirror",
    "Desired",
    "Mirror",
    "UpdateMirror",
    "desired_mirrors",
    "is_mirrored",
    "reconcile",
]

MANAGER: Final = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL: Final = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION: Final = "control-plane.alpha.kubernetes.io/leader"
LIMIT: Final = 1000
NOT_COPIED: Final = (TRIGGER_TIME_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration")


@dataclass(frozen=True, slots=True)
class Desired:
    """What one mirroring slice should say; `endpoints` in the form of the API, as they are mostly copied."""

    address_type: str
    ports: tuple[Port, ...]
    endpoints: tuple[Mapping[str, Any], ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirroring slice that exists."""

    name: str
    uid: str
    content: Desired


@dataclass(frozen=True, slots=True)
class CreateMirror:
    content: Desired


@dataclass(frozen=True, slots=True)
class UpdateMirror:
    name: str
    content: Desired


@dataclass(frozen=True, slots=True)
class DeleteMirror:
    name: str
    uid: str


Action = CreateMirror | UpdateMirror | DeleteMirror


def is_mirrored(endpoints: Mapping[str, Any], service: Mapping[str, Any] | None) -> bool:
    """Whether an Endpoints object is one nobody else makes slices for."""
    if service is None or (service.get("spec") or {}).get("selector"):
        return False
    meta = endpoints["metadata"]
    return (meta.get("labels") or {}).get(SKIP_LABEL) != "true" and LEADER_ANNOTATION not in (
        meta.get("annotations") or {}
    )


def desired_mirrors(endpoints: Mapping[str, Any], *, limit: int = LIMIT) -> tuple[list[Desired], int, list[str]]:
    """Return the slices, how many addresses were too many, and the texts that are no addresses."""
    meta = endpoints["metadata"]
    labels = {
        **(meta.get("labels") or {}),
        SERVICE_NAME_LABEL: meta["name"],
        MANAGED_BY_LABEL: MANAGER,
    }
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in NOT_COPIED}
    groups: dict[tuple[str, tuple[Port, ...]], dict[str, Mapping[str, Any]]] = {}
    skipped, invalid = 0, []
    for subset in endpoints.get("subsets") or ():
        ports = tuple(
            Port(p.get("name") or "", p.get("protocol") or "TCP", p["port"], p.get("appProtocol") or "")
            for p in subset.get("ports") or ()
        )
        taken = 0
        for field_name, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field_name) or ():
                family = family_of(address["ip"])
                if not family:
                    invalid.append(address["ip"])
                elif taken >= limit:
                    skipped += 1
                else:
                    taken += 1
                    groups.setdefault((family, ports), {})[address["ip"]] = _endpoint(address, ready)
    found = [
        Desired(family, ports, tuple(members.values()), labels, annotations)
        for (family, ports), members in groups.items()
    ]
    return found, skipped, invalid


def _endpoint(address: Mapping[str, Any], ready: bool) -> Mapping[str, Any]:
    endpoint: dict[str, Any] = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field_name in ("hostname", "nodeName", "targetRef"):
        if address.get(field_name):
            endpoint[field_name] = address[field_name]
    return endpoint


def reconcile(wanted: Sequence[Desired], existing: Sequence[Mirror]) -> list[Action]:
    """Return the writes that make `existing` say `wanted`: slices keep their ports and family where they can."""
    surplus = list(existing)
    actions: list[Action] = []
    creates = []
    for content in wanted:
        kin = next((m for m in surplus if _kind(m.content) == _kind(content)), None)
        if kin is None:
            creates.append(content)
            continue
        surplus.remove(kin)
        if kin.content != content:
            actions.append(UpdateMirror(kin.name, content))
    for content in creates:
        reusable = next((m for m in surplus if m.content.address_type == content.address_type), None)
        if reusable is None:
            actions.append(CreateMirror(content))
        else:
            surplus.remove(reusable)
            actions.append(UpdateMirror(reusable.name, content))
    return actions + [DeleteMirror(mirror.name, mirror.uid) for mirror in surplus]


def _kind(content: Desired) -> tuple[str, frozenset[Port]]:
    return content.address_type, frozenset(content.ports)
