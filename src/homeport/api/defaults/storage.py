"""Defaults of volumes, claims and storage classes."""

from typing import Any

from homeport.api.defaults.pods import resource_list

__all__ = ["claim", "storage_class", "volume"]

Tree = dict[str, Any]


def claim(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("volumeMode", "Filesystem")
    tree.setdefault("status", {}).setdefault("phase", "Pending")
    for name in ("requests", "limits"):
        if amounts := spec.get("resources", {}).get(name):
            resource_list(amounts)


def volume(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    tree.setdefault("status", {}).setdefault("phase", "Pending")
    if "capacity" in spec:
        resource_list(spec["capacity"])
    if "hostPath" in spec:
        spec["hostPath"].setdefault("type", "")
    if "iscsi" in spec:
        spec["iscsi"].setdefault("iscsiInterface", "default")
    if rbd := spec.get("rbd"):
        for key, value in (("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")):
            rbd.setdefault(key, value)
    if disk := spec.get("azureDisk"):
        disk.setdefault("cachingMode", "ReadWrite")
        disk.setdefault("fsType", "ext4")
        disk.setdefault("readOnly", False)
        disk.setdefault("kind", "Shared")
    if "scaleIO" in spec:
        spec["scaleIO"].setdefault("storageMode", "ThinProvisioned")
        spec["scaleIO"].setdefault("fsType", "xfs")


def storage_class(tree: Tree) -> None:
    tree.setdefault("reclaimPolicy", "Delete")
    tree.setdefault("volumeBindingMode", "Immediate")
