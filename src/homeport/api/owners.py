"""Owner references: who an object belongs to, and the one among them that controls it.

Source: Kubernetes API conventions, "ObjectMeta"; `workloads` 0 and 0.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

__all__ = ["Owner", "controller_of", "controller_reference", "controller_uid", "owners_of"]


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of `metadata.ownerReferences`."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_deletion: bool = False

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
        }
        if self.controller:
            out["controller"] = True
        if self.block_deletion:
            out["blockOwnerDeletion"] = True
        return out


def owners_of(obj: Mapping[str, Any]) -> Sequence[Owner]:
    """Return every owner, in the order written."""
    return [_decode(entry) for entry in obj["metadata"].get("ownerReferences") or ()]


def controller_of(obj: Mapping[str, Any]) -> Owner | None:
    """Return the owner that controls the object; the server admits at most one."""
    for entry in obj["metadata"].get("ownerReferences") or ():
        if entry.get("controller"):
            return _decode(entry)
    return None


def controller_uid(obj: Mapping[str, Any]) -> str:
    """Return the uid of the owner that controls the object; empty when nobody does."""
    for entry in obj["metadata"].get("ownerReferences") or ():
        if entry.get("controller"):
            return str(entry.get("uid", ""))
    return ""


def controller_reference(owner: Mapping[str, Any]) -> Owner:
    """Return the reference controllers put on what they make: it controls, and deletion waits for it."""
    metadata = owner["metadata"]
    return Owner(owner["apiVersion"], owner["kind"], metadata["name"], metadata["uid"], True, True)


def _decode(entry: Mapping[str, Any]) -> Owner:
    get = entry.get
    return _shared(
        get("apiVersion", ""),
        get("kind", ""),
        get("name", ""),
        get("uid", ""),
        bool(get("controller")),
        bool(get("blockOwnerDeletion")),
    )


_shared = lru_cache(maxsize=4096)(Owner)
"""Everybody asks for the owner of the same few objects, at every change of each."""
