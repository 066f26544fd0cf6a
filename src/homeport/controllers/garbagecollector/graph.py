"""Who owns whom: objects by uid, and the dependents of each.

The graph mirrors what the informers have seen. It may know a dependent before its owner, or never see the owner at all.
So absence here proves nothing: the controller asks the server before it believes an owner gone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.resources import Resource

__all__ = ["FOREGROUND", "ORPHAN", "Graph", "Node", "Reference", "decode_node"]

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"


@dataclass(frozen=True, slots=True)
class Reference:
    """One ownerReference."""

    api_version: str
    kind: str
    name: str
    uid: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Node:
    """An object, as far as its collection goes."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    version: str
    owners: tuple[Reference, ...]
    finalizers: tuple[str, ...]
    terminating: bool

    @property
    def awaits_dependents(self) -> bool:
        """Being deleted in the foreground."""
        return self.terminating and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        return self.terminating and ORPHAN in self.finalizers and FOREGROUND not in self.finalizers


def decode_node(resource: Resource, raw: Mapping[str, Any]) -> Node:
    meta = raw["metadata"]
    return Node(
        resource,
        meta.get("namespace", ""),
        meta["name"],
        meta.get("uid", ""),
        meta.get("resourceVersion", ""),
        tuple(
            Reference(
                ref.get("apiVersion", ""),
                ref.get("kind", ""),
                ref.get("name", ""),
                ref.get("uid", ""),
                bool(ref.get("blockOwnerDeletion")),
            )
            for ref in meta.get("ownerReferences") or ()
        ),
        tuple(meta.get("finalizers") or ()),
        "deletionTimestamp" in meta,
    )


class Graph:
    """The objects known, and an index from owner to dependents that exists before the owner does."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def put(self, node: Node) -> None:
        """Add or replace a node."""
        self.remove(node.uid)
        self._nodes[node.uid] = node
        for reference in node.owners:
            self._dependents.setdefault(reference.uid, set()).add(node.uid)

    def remove(self, uid: str) -> None:
        """Forget a node; what it owned stays known as its dependents."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return
        for reference in node.owners:
            dependents = self._dependents.get(reference.uid)
            if dependents is not None:
                dependents.discard(uid)
                if not dependents:
                    del self._dependents[reference.uid]

    def dependents(self, uid: str) -> Iterator[Node]:
        """Yield the objects that name `uid` as an owner."""
        for dependent in sorted(self._dependents.get(uid, ())):
            node = self._nodes.get(dependent)
            if node is not None:
                yield node

    def has_dependents(self, uid: str) -> bool:
        return uid in self._dependents
