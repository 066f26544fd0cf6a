"""The decision about one object, once the state of each of its owners is known.

Source: workloads 14.2 of the specification.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from homeport.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Node

__all__ = [
    "Action",
    "DeleteObject",
    "DropFinalizer",
    "DropReferences",
    "OwnerState",
    "UnblockReferences",
    "collect",
    "finish_owner",
]


class OwnerState(Enum):
    """What an owner reference is worth."""

    SOLID = auto()
    """The owner exists; also while it terminates for any reason but foreground deletion, and when nobody can tell."""
    WAITING = auto()
    """The owner is being deleted and waits for its dependents."""
    DANGLING = auto()
    """The owner is gone, or another object has its name."""


@dataclass(frozen=True, slots=True)
class DeleteObject:
    node: Node
    propagation: str


@dataclass(frozen=True, slots=True)
class DropReferences:
    """Patch these owners out of the node's references."""

    node: Node
    owners: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnblockReferences:
    """Let the node no longer block its owners: it stands in a circle with them."""

    node: Node


@dataclass(frozen=True, slots=True)
class DropFinalizer:
    node: Node
    finalizer: str


Action = DeleteObject | DropReferences | UnblockReferences | DropFinalizer


def collect(node: Node, owners: Mapping[str, OwnerState], dependents: Sequence[Node]) -> list[Action]:
    """Return what to do about an object that is not itself the owner of a running deletion.

    owners      the state of every uid in `node.owners`
    dependents  what the node itself owns
    """
    if not node.owners or (node.terminating and not node.awaits_dependents):
        return []
    states = {reference.uid: owners[reference.uid] for reference in node.owners}
    waiting = [uid for uid, state in states.items() if state is OwnerState.WAITING]
    if OwnerState.SOLID in states.values():
        lost = frozenset(uid for uid, state in states.items() if state is not OwnerState.SOLID)
        return [DropReferences(node, lost)] if lost else []
    if waiting and dependents:
        circle = any(dependent.awaits_dependents for dependent in dependents)
        unblock: list[Action] = [UnblockReferences(node)] if circle else []
        return [*unblock, DeleteObject(node, "Foreground")]
    if ORPHAN in node.finalizers:
        return [DeleteObject(node, "Orphan")]
    if FOREGROUND in node.finalizers:
        return [DeleteObject(node, "Foreground")]
    return [DeleteObject(node, "Background")]


def finish_owner(node: Node, dependents: Sequence[Node]) -> list[Action]:
    """Return what completes the deletion of an owner that orphans its dependents or waits for them.

    An empty answer for a waiting owner means that dependents are still in its way: they are the ones to collect.
    """
    if node.orphans_dependents:
        drops: list[Action] = [DropReferences(dependent, frozenset({node.uid})) for dependent in dependents]
        return [*drops, DropFinalizer(node, ORPHAN)]
    if node.awaits_dependents and not any(_blocks(dependent, node) for dependent in dependents):
        return [DropFinalizer(node, FOREGROUND)]
    return []


def _blocks(dependent: Node, owner: Node) -> bool:
    return any(reference.uid == owner.uid and reference.blocks for reference in dependent.owners)
