"""Claims, volumes and classes as values.

Source: workloads 17 and node 9 of the specification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.quantity import Quantity, parse_quantity
from homeport.api.selectors import LabelSelector, label_selector_from_object

__all__ = [
    "BIND_COMPLETED",
    "BOUND_BY_CONTROLLER",
    "DEFAULT_CLASS",
    "PROVISIONED_BY",
    "SELECTED_NODE",
    "STORAGE_PROVISIONERS",
    "Claim",
    "ClaimRef",
    "StorageClass",
    "Volume",
    "decode_claim",
    "decode_class",
    "decode_volume",
]

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONERS: Final = (
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
)
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
LEGACY_CLASS: Final = "volume.beta.kubernetes.io/storage-class"


@dataclass(frozen=True, slots=True)
class ClaimRef:
    """A volume's pointer to its claim; `uid` is "" while somebody has only reserved it."""

    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """`class_name` None: none was named, and a default may still be given; "" asks for a volume without class."""

    namespace: str
    name: str
    uid: str
    class_name: str | None
    requested: Quantity
    request_text: str
    access_modes: frozenset[str]
    volume_mode: str
    selector: LabelSelector | None
    volume_name: str
    phase: str
    capacity: Quantity | None
    annotations: Mapping[str, str]
    terminating: bool = False

    @property
    def bind_completed(self) -> bool:
        return BIND_COMPLETED in self.annotations

    @property
    def selected_node(self) -> str:
        return self.annotations.get(SELECTED_NODE, "")


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    uid: str
    class_name: str
    capacity: Quantity
    access_modes: frozenset[str]
    volume_mode: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    claim: ClaimRef | None
    phase: str
    reclaim: str
    host_path: str = ""
    terminating: bool = False

    @property
    def bound_by_controller(self) -> bool:
        return BOUND_BY_CONTROLLER in self.annotations

    @property
    def provisioned_by(self) -> str:
        return self.annotations.get(PROVISIONED_BY, "")

    def is_for(self, claim: Claim) -> bool:
        """Whether it points at this claim, or is reserved for its name."""
        ref = self.claim
        return (
            ref is not None
            and (ref.namespace, ref.name) == (claim.namespace, claim.name)
            and ref.uid in ("", claim.uid)
        )


@dataclass(frozen=True, slots=True)
class StorageClass:
    name: str
    provisioner: str
    waits_for_consumer: bool
    reclaim: str
    expandable: bool
    default: bool
    created: str


def decode_claim(raw: Mapping[str, Any]) -> Claim:
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    annotations = meta.get("annotations") or {}
    request = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    capacity = (status.get("capacity") or {}).get("storage")
    return Claim(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        class_name=annotations.get(LEGACY_CLASS, spec.get("storageClassName")),
        requested=parse_quantity(request),
        request_text=request,
        access_modes=frozenset(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        selector=label_selector_from_object(spec["selector"]) if spec.get("selector") else None,
        volume_name=spec.get("volumeName") or "",
        phase=status.get("phase") or "",
        capacity=parse_quantity(capacity) if capacity else None,
        annotations=annotations,
        terminating="deletionTimestamp" in meta,
    )


def decode_volume(raw: Mapping[str, Any]) -> Volume:
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    annotations = meta.get("annotations") or {}
    ref = spec.get("claimRef")
    return Volume(
        name=meta["name"],
        uid=meta.get("uid", ""),
        class_name=annotations.get(LEGACY_CLASS) or spec.get("storageClassName") or "",
        capacity=parse_quantity((spec.get("capacity") or {}).get("storage", "0")),
        access_modes=frozenset(spec.get("accessModes") or ()),
        volume_mode=spec.get("volumeMode") or "Filesystem",
        labels=meta.get("labels") or {},
        annotations=annotations,
        claim=ClaimRef(ref.get("namespace", ""), ref.get("name", ""), ref.get("uid") or "") if ref else None,
        phase=status.get("phase") or "",
        reclaim=spec.get("persistentVolumeReclaimPolicy") or "Retain",
        host_path=(spec.get("hostPath") or {}).get("path", ""),
        terminating="deletionTimestamp" in meta,
    )


def decode_class(raw: Mapping[str, Any]) -> StorageClass:
    meta = raw["metadata"]
    return StorageClass(
        name=meta["name"],
        provisioner=raw.get("provisioner", ""),
        waits_for_consumer=raw.get("volumeBindingMode") == "WaitForFirstConsumer",
        reclaim=raw.get("reclaimPolicy") or "Delete",
        expandable=bool(raw.get("allowVolumeExpansion")),
        default=(meta.get("annotations") or {}).get(DEFAULT_CLASS) == "true",
        created=meta.get("creationTimestamp", ""),
    )
