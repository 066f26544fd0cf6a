"""A kubeconfig for a cluster, and merging one into another."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from homeport.engine.directory import write_atomically

__all__ = ["MergeError", "kubeconfig_text", "merge_into"]

_LISTS: Final = ("clusters", "contexts", "users")


class MergeError(Exception):
    """The other file cannot be merged into; nothing was changed."""


def kubeconfig_text(name: str, server: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    """Return a kubeconfig with one context; PEM in, credentials inline."""
    context = f"homeport-{name}"

    def inline(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
    tree = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": inline(ca)}}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": "default"}}],
        "current-context": context,
    }
    return str(yaml.safe_dump(tree, sort_keys=False))


def merge_into(path: Path, ours: Path) -> str:
    """Add our entries to another kubeconfig, replacing those of the same name; return the context now current."""
    new = yaml.safe_load(ours.read_text(encoding="utf-8"))
    try:
        old = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        old = {}
    except (OSError, yaml.YAMLError) as error:
        raise MergeError(f"{path}: cannot be read as a kubeconfig ({error}); nothing was changed") from error
    if not isinstance(old, dict):
        raise MergeError(f"{path}: not a kubeconfig; nothing was changed")
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", **old}
    for part in _LISTS:
        merged[part] = _replace_by_name(old.get(part) or [], new[part])
    merged["current-context"] = new["current-context"]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, str(yaml.safe_dump(merged, sort_keys=False)))
    return str(new["current-context"])


def _replace_by_name(old: list[Mapping[str, Any]], new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    names = {entry["name"] for entry in new}
    return [*(entry for entry in old if entry.get("name") not in names), *new]
