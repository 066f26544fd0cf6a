"""Rows of volumes, claims and storage classes."""

from collections.abc import Iterable
from typing import Final

from homeport.api.tables.cells import AGE, NAME, Cells, Printer, Tree, age, narrow, wide

__all__ = ["CLAIM", "STORAGE_CLASS", "VOLUME"]

UNSET: Final = "<unset>"
_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_DEFAULT_CLASS: Final = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"


def _modes(modes: Iterable[str] | None) -> str:
    given = set(modes or ())
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _class(tree: Tree) -> str:
    annotations = tree["metadata"].get("annotations", {})
    return str(annotations.get(_BETA_CLASS) or tree["spec"].get("storageClassName") or "")


def _claim(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    volume = spec.get("volumeName", "")
    return [
        tree["metadata"].get("name", ""),
        "Terminating" if tree["metadata"].get("deletionTimestamp") else status.get("phase", ""),
        volume,
        status.get("capacity", {}).get("storage", "0") if volume else "",
        _modes(status.get("accessModes")) if volume else "",
        _class(tree),
        spec.get("volumeAttributesClassName") or UNSET,
        age(tree, now),
        spec.get("volumeMode") or UNSET,
    ]


def _volume(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    claim = spec.get("claimRef")
    return [
        tree["metadata"].get("name", ""),
        spec.get("capacity", {}).get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        "Terminating" if tree["metadata"].get("deletionTimestamp") else status.get("phase", ""),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(tree),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age(tree, now),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(tree: Tree, now: float) -> Cells:
    metadata = tree["metadata"]
    annotations = metadata.get("annotations", {})
    default = any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)
    return [
        metadata.get("name", "") + (" (default)" if default else ""),
        tree.get("provisioner", ""),
        tree.get("reclaimPolicy", "Delete"),
        tree.get("volumeBindingMode", "Immediate"),
        bool(tree.get("allowVolumeExpansion", False)),
        age(tree, now),
    ]


CLAIM: Final = Printer(
    (
        NAME,
        narrow("Status"),
        narrow("Volume"),
        narrow("Capacity"),
        narrow("Access Modes"),
        narrow("StorageClass"),
        narrow("VolumeAttributesClass"),
        AGE,
        wide("VolumeMode"),
    ),
    _claim,
)
VOLUME: Final = Printer(
    (
        NAME,
        narrow("Capacity"),
        narrow("Access Modes"),
        narrow("Reclaim Policy"),
        narrow("Status"),
        narrow("Claim"),
        narrow("StorageClass"),
        narrow("VolumeAttributesClass"),
        narrow("Reason"),
        AGE,
        wide("VolumeMode"),
    ),
    _volume,
)
STORAGE_CLASS: Final = Printer(
    (
        NAME,
        narrow("Provisioner"),
        narrow("ReclaimPolicy"),
        narrow("VolumeBindingMode"),
        narrow("AllowVolumeExpansion"),
        AGE,
    ),
    _storage_class,
)
