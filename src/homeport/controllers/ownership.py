"""Whose children are these: which objects a controller keeps, adopts and lets go.

Source: `workloads` 0.1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from homeport.api.owners import controller_reference, controller_uid

__all__ = ["Claimed", "adoption_patch", "claim", "release_patch"]

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is ours already, what to take in, and what to let go."""

    kept: tuple[Tree, ...]
    adopt: tuple[Tree, ...]
    release: tuple[Tree, ...]


def claim(owner: Tree, children: Iterable[Tree], matches: Callable[[Tree], bool]) -> Claimed:
    """Sort `children` of the owner's namespace. `matches` is its selector, and whatever else makes a child fit."""
    uid = owner["metadata"]["uid"]
    deleting = "deletionTimestamp" in owner["metadata"]
    kept, adopt, release = [], [], []
    for child in children:
        controller = controller_uid(child)
        if controller:
            if controller != uid:
                continue
            if matches(child):
                kept.append(child)
            elif not deleting:
                release.append(child)
        elif not deleting and "deletionTimestamp" not in child["metadata"] and matches(child):
            adopt.append(child)
    return Claimed(tuple(kept), tuple(adopt), tuple(release))


def adoption_patch(owner: Tree, child: Tree, finalizers: Sequence[str] = ()) -> Tree:
    """Return the strategic merge patch that makes `owner` the controller; it fails for another child of that name.

    finalizers  what the owner puts on its children
    """
    metadata: dict[str, Any] = {
        "uid": child["metadata"]["uid"],
        "ownerReferences": [controller_reference(owner).as_json()],
    }
    if finalizers:
        metadata["finalizers"] = list(finalizers)
    return {"metadata": metadata}


def release_patch(owner: Tree, child: Tree, finalizers: Sequence[str] = ()) -> Tree:
    """Return the strategic merge patch that takes the owner's reference away, and its finalizers."""
    metadata: dict[str, Any] = {
        "uid": child["metadata"]["uid"],
        "ownerReferences": [{"$patch": "delete", "uid": owner["metadata"]["uid"]}],
    }
    if finalizers:
        metadata["$deleteFromPrimitiveList/finalizers"] = list(finalizers)
    return {"metadata": metadata}
