"""Claims in the way of a decision: which nodes a pod's volumes allow, and what to bind once a node is chosen.

Source: workloads 17.2 and node 16.2 of the specification.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.api.node_selectors import matches_node_selector
from homeport.api.quantity import Quantity, parse_quantity
from homeport.api.selectors import LabelSelector, label_selector_from_object
from homeport.scheduler.model import Node

__all__ = [
    "Binding",
    "Claim",
    "ClaimView",
    "StorageClass",
    "Volume",
    "VolumeIndex",
    "decode_claim",
    "decode_storage_class",
    "decode_volume",
    "pod_reason",
    "volume_plan",
]

REASON_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
REASON_NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
REASON_VOLUME_GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
EXCLUSIVE = "ReadWriteOncePod"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"


@dataclass(frozen=True, slots=True)
class Claim:
    namespace: str
    name: str
    uid: str
    class_name: str
    requested: Quantity
    access_modes: frozenset[str]
    volume_mode: str
    selector: LabelSelector | None
    volume_name: str
    bound: bool
    lost: bool
    selected_node: str
    terminating: bool


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    version: str
    class_name: str
    capacity: Quantity
    access_modes: frozenset[str]
    volume_mode: str
    labels: Mapping[str, str]
    claim: tuple[str, str, str] | None
    available: bool
    node_affinity: Mapping[str, Any] | None
    terminating: bool


@dataclass(frozen=True, slots=True)
class StorageClass:
    name: str
    provisioner: str
    waits_for_consumer: bool
    topologies: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimView:
    """The claims a pod names (None where missing), and what could serve them."""

    claims: tuple[tuple[str, Claim | None], ...]
    volumes: Mapping[str, Volume]
    classes: Mapping[str, StorageClass]

    @property
    def unbound(self) -> list[Claim]:
        return [claim for _, claim in self.claims if claim is not None and not claim.bound]


class VolumeIndex:
    """All volumes, kept so that those which may concern a claim are found without looking at the others."""

    def __init__(self) -> None:
        self._known: dict[str, Volume] = {}
        self._open: dict[str, Volume] = {}  # nobody's, and to be had
        self._reserved: dict[tuple[str, str], dict[str, Volume]] = {}  # by the claim's namespace and name

    def put(self, volume: Volume) -> None:
        """Add a volume, or its newer form."""
        self.drop(volume.name)
        self._known[volume.name] = volume
        if volume.claim is not None:
            self._reserved.setdefault(volume.claim[:2], {})[volume.name] = volume
        elif volume.available:
            self._open[volume.name] = volume

    def drop(self, name: str) -> None:
        """Forget a volume."""
        volume = self._known.pop(name, None)
        if volume is None:
            return
        self._open.pop(name, None)
        if volume.claim is not None:
            found = self._reserved[volume.claim[:2]]
            del found[name]
            if not found:
                del self._reserved[volume.claim[:2]]

    def for_claims(self, claims: Iterable[Claim]) -> Mapping[str, Volume]:
        """Return the volumes that serve one of the claims, or may."""
        found: dict[str, Volume] = {}
        for claim in claims:
            if not claim.bound:
                found |= self._open
            elif claim.volume_name in self._known:
                found[claim.volume_name] = self._known[claim.volume_name]
            found |= self._reserved.get((claim.namespace, claim.name), {})
        return found


@dataclass(frozen=True, slots=True)
class Binding:
    """What must become true before the pod is bound: `volume` reserved for the claim, or one provisioned (None)."""

    claim: Claim
    volume: Volume | None


def pod_reason(view: ClaimView) -> str:
    """Return why the pod can run nowhere because of its claims, "" when it may somewhere."""
    for name, claim in view.claims:
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.lost:
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume_name}"'
        if claim.terminating:
            return f'persistentvolumeclaim "{name}" is being deleted'
    for claim in view.unbound:
        storage_class = view.classes.get(claim.class_name)
        if storage_class is None or not storage_class.waits_for_consumer or claim.volume_name:
            return "pod has unbound immediate PersistentVolumeClaims"
    return ""


def volume_plan(view: ClaimView, node: Node) -> tuple[str, tuple[Binding, ...]]:
    """Return why the node cannot have the pod's volumes ("" when it can), and what to bind there."""
    if not view.claims:
        return "", ()
    for _, claim in view.claims:
        if claim is not None and claim.bound:
            volume = view.volumes.get(claim.volume_name)
            if volume is None:
                return REASON_VOLUME_GONE, ()
            if not matches_node_selector(volume.node_affinity, node.labels, node.name):
                return REASON_AFFINITY, ()
    taken: set[str] = set()
    plan = []
    for claim in sorted(view.unbound, key=lambda claim: claim.requested):
        volume = _static(claim, view.volumes, node, taken)
        if volume is None and not _provisionable(claim, view.classes.get(claim.class_name), node):
            return REASON_NO_VOLUME, ()
        if volume is not None:
            taken.add(volume.name)
        plan.append(Binding(claim, volume))
    return "", tuple(plan)


def _static(claim: Claim, volumes: Mapping[str, Volume], node: Node, taken: set[str]) -> Volume | None:
    fitting = []
    for volume in volumes.values():
        if volume.name in taken or volume.terminating or not _satisfies(claim, volume):
            continue
        if not matches_node_selector(volume.node_affinity, node.labels, node.name):
            continue
        if volume.claim is not None:
            if volume.claim[:2] == (claim.namespace, claim.name) and volume.claim[2] in ("", claim.uid):
                return volume
        elif volume.available:
            fitting.append(volume)
    return min(fitting, key=lambda volume: (volume.capacity, volume.name), default=None)


def _satisfies(claim: Claim, volume: Volume) -> bool:
    return (
        volume.capacity >= claim.requested
        and volume.class_name == claim.class_name
        and volume.volume_mode == claim.volume_mode
        and claim.access_modes <= volume.access_modes
        and (claim.selector is None or claim.selector.matches(volume.labels))
    )


def _provisionable(claim: Claim, storage_class: StorageClass | None, node: Node) -> bool:
    if storage_class is None or storage_class.provisioner in ("", NO_PROVISIONER):
        return False
    if claim.selected_node not in ("", node.name):
        return False
    return not storage_class.topologies or any(
        all(node.labels.get(e["key"]) in e["values"] for e in term.get("matchLabelExpressions") or ())
        for term in storage_class.topologies
    )


def decode_claim(raw: Mapping[str, Any]) -> Claim:
    meta, spec = raw["metadata"], raw.get("spec") or {}
    annotations = meta.get("annotations") or {}
    volume_name = spec.get("volumeName") or ""
    requests = (spec.get("resources") or {}).get("requests") or {}
    return Claim(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        class_name=annotations.get("volume.beta.kubernetes.io/storage-class", spec.get("storageClassName") or ""),
        requested=parse_quantity(requests.get("storage", "0")),
        access_modes=frozenset(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        selector=label_selector_from_object(spec["selector"]) if spec.get("selector") else None,
        volume_name=volume_name,
        bound=bool(volume_name) and BIND_COMPLETED in annotations,
        lost=(raw.get("status") or {}).get("phase") == "Lost",
        selected_node=annotations.get(SELECTED_NODE, ""),
        terminating="deletionTimestamp" in meta,
    )


def decode_volume(raw: Mapping[str, Any]) -> Volume:
    meta, spec = raw["metadata"], raw.get("spec") or {}
    ref = spec.get("claimRef")
    return Volume(
        name=meta["name"],
        version=meta.get("resourceVersion", ""),
        class_name=spec.get("storageClassName") or "",
        capacity=parse_quantity((spec.get("capacity") or {}).get("storage", "0")),
        access_modes=frozenset(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        labels=meta.get("labels") or {},
        claim=(ref.get("namespace", ""), ref.get("name", ""), ref.get("uid") or "") if ref else None,
        available=(raw.get("status") or {}).get("phase") == "Available",
        node_affinity=(spec.get("nodeAffinity") or {}).get("required"),
        terminating="deletionTimestamp" in meta,
    )


def decode_storage_class(raw: Mapping[str, Any]) -> StorageClass:
    return StorageClass(
        raw["metadata"]["name"],
        raw.get("provisioner", ""),
        raw.get("volumeBindingMode") == "WaitForFirstConsumer",
        tuple(raw.get("allowedTopologies") or ()),
    )


def exclusive_conflict(view: ClaimView, in_use: Sequence[str]) -> bool:
    """Whether a claim only one pod may use at a time is in use; `in_use` are the claims of other pods."""
    return any(claim is not None and EXCLUSIVE in claim.access_modes and name in in_use for name, claim in view.claims)
