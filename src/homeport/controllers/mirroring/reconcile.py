"""Which slices mirror an Endpoints object.

Source: services-dns 12 of the specification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeport.api.validation.addresses import canonical_ip
from homeport.controllers.backends import TRIGGER_TIME_ANNOTATION, Port, family_of
from homeport.controllers.endpointslice.model import MANAGED_BY_LABEL, SERVICE_NAME_LABEL

__all__ = [
    "LEADER_ANNOTATION",
    "LIMIT",
    "MANAGER",
    "Action",
    "CreateMirror",
    "DeleteMirror",
    "Desired",
    "Mirror",
    "Mirroring",
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


@dataclass(frozen=True, slots=True)
class Mirroring:
    """The slices an Endpoints object should have, and what was left out of them.

    skipped  addresses too many or none at all;  invalid  those that are none
    """

    slices: tuple[Desired, ...]
    skipped: int = 0
    invalid: int = 0


def desired_mirrors(endpoints: Mapping[str, Any], *, limit: int = LIMIT) -> Mirroring:
    meta = endpoints["metadata"]
    labels = {
        **(meta.get("labels") or {}),
        SERVICE_NAME_LABEL: meta["name"],
        MANAGED_BY_LABEL: MANAGER,
    }
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in NOT_COPIED}
    groups: dict[tuple[str, tuple[Port, ...]], list[Mapping[str, Any]]] = {}
    skipped = invalid = 0
    for ports, members in _repacked(endpoints.get("subsets") or ()):
        taken = 0
        for address, ready in sorted(members, key=lambda member: not member[1]):
            family = family_of(address["ip"])
            if taken >= limit:
                skipped += 1
            elif not family:
                skipped += 1
                invalid += 1
            else:
                taken += 1
                groups.setdefault((family, ports), []).append(_endpoint(address, ready))
    found = (Desired(family, ports, tuple(members), labels, annotations) for (family, ports), members in groups.items())
    return Mirroring(tuple(found), skipped, invalid)


_Members = Sequence[tuple[Mapping[str, Any], bool]]


def _repacked(subsets: Sequence[Mapping[str, Any]]) -> list[tuple[tuple[Port, ...], _Members]]:
    """Join the ports that the same addresses serve, as the canonical form of Endpoints does (services-dns 10.6).

    An address is the same where its target is; listed both ready and not, it is not.
    """
    addresses: dict[tuple[str, str], Mapping[str, Any]] = {}
    serving: dict[Port | None, dict[tuple[str, str], bool]] = {}
    for subset in subsets:
        offered: Sequence[Port | None] = [_port(raw) for raw in subset.get("ports") or ()] or [None]
        for port in offered:
            ready_of = serving.setdefault(port, {})
            for field_name, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field_name) or ():
                    key = address["ip"], (address.get("targetRef") or {}).get("uid", "")
                    addresses.setdefault(key, address)
                    ready_of[key] = ready_of.get(key, True) and ready
    ports_of: dict[frozenset[tuple[tuple[str, str], bool]], tuple[list[Port], _Members]] = {}
    for served, ready_of in serving.items():
        members = [(addresses[key], ready) for key, ready in ready_of.items()]
        ports, _ = ports_of.setdefault(frozenset(ready_of.items()), ([], members))
        ports += [served] if served else []
    return [(tuple(ports), members) for ports, members in ports_of.values()]


def _port(raw: Mapping[str, Any]) -> Port:
    return Port(raw.get("name") or "", raw.get("protocol") or "TCP", raw["port"], raw.get("appProtocol") or "")


def _endpoint(address: Mapping[str, Any], ready: bool) -> Mapping[str, Any]:
    endpoint: dict[str, Any] = {"addresses": [canonical_ip(address["ip"])], "conditions": {"ready": ready}}
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
