"""Stored bytes and what is made of them.

The canonical form is the JSON of the storage version with `kind`, `apiVersion` and `metadata` first and without
`resourceVersion`, which is the store's revision. So the served form is one splice of bytes, a list item another, and
nothing is encoded again to be read.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from homeport.api.resources import Gvk, Resource

__all__ = ["Codec", "Stored", "Tree", "encode_json", "stamped"]

Tree = dict[str, Any]

encode_json: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
_decode: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode


def stamped(tree: Tree, revision: int) -> Tree:
    """Return the tree with `metadata.resourceVersion` set to a revision; everything else is shared."""
    return {**tree, "metadata": {**tree["metadata"], "resourceVersion": str(revision)}}


class Stored:
    """One key's value at one revision. Immutable; the tree is decoded when first asked for, and frozen."""

    __slots__ = ("_tree", "key", "revision", "value")

    def __init__(self, key: str, value: bytes, revision: int) -> None:
        self.key, self.value, self.revision = key, value, revision
        self._tree: Tree | None = None

    @property
    def tree(self) -> Tree:
        """The decoded object, `resourceVersion` included. Shared: never changed in place."""
        if self._tree is None:
            tree: Tree = _decode(self.value)
            tree["metadata"]["resourceVersion"] = str(self.revision)
            self._tree = tree
        return self._tree

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored, (self.key, self.value, self.revision)  # what is decoded can be decoded again

    def told(self, tree: Tree) -> None:
        """Take the tree the value was made from, so that it need not be decoded."""
        self._tree = stamped(tree, self.revision)

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    def at(self, revision: int) -> "Stored":
        """Return the same state under another revision, as a DELETED event shows it."""
        other = Stored(self.key, self.value, revision)
        if self._tree is not None:
            other._tree = stamped(self._tree, revision)
        return other


class Codec:
    """How one served resource is kept and shown.

    `storage` differs from `resource` for kinds served by two groups from one place; then `to_storage` and
    `from_storage` convert trees.
    """

    def __init__(
        self,
        resource: Resource,
        storage: Resource | None = None,
        to_storage: Callable[[Tree], Tree] | None = None,
        from_storage: Callable[[Tree], Tree] | None = None,
    ) -> None:
        self.resource = resource
        self.storage = storage or resource
        self._to, self._from = to_storage, from_storage
        kind, version = self.storage.kind, self.storage.api_version
        self._head = f'{{"kind":"{kind}","apiVersion":"{version}","metadata":{{'.encode()
        self._cut = len(self._head)
        group = f"{self.storage.group}/" if self.storage.group else ""
        self.prefix: Final = f"/registry/{group}{self.storage.plural}/"

    @property
    def gvk(self) -> Gvk:
        return self.resource.gvk

    @property
    def native(self) -> bool:
        """Whether objects are served in the form they are stored in."""
        return self._from is None

    def key(self, namespace: str | None, name: str) -> str:
        return f"{self.prefix}{namespace}/{name}" if self.resource.namespaced else self.prefix + name

    def scope(self, namespace: str | None) -> str:
        """Return the key prefix of a collection."""
        return f"{self.prefix}{namespace}/" if namespace and self.resource.namespaced else self.prefix

    def encode(self, tree: Tree) -> bytes:
        """Return the canonical bytes of a served tree; its `resourceVersion` is not part of them."""
        if self._to is not None:
            tree = self._to(tree)
        metadata = dict(tree["metadata"])
        metadata.pop("resourceVersion", None)
        ordered = {"kind": self.storage.kind, "apiVersion": self.storage.api_version, "metadata": metadata}
        for name, value in tree.items():
            if name not in ordered:
                ordered[name] = value
        return encode_json(ordered)

    def tree(self, stored: Stored) -> Tree:
        """Return the object as this resource serves it."""
        return stored.tree if self._from is None else self._from(stored.tree)

    def json(self, stored: Stored) -> bytes:
        """Return the object's JSON, `resourceVersion` spliced in."""
        if self._from is not None:
            return encode_json(self._from(stored.tree))
        return b'%b"resourceVersion":"%d",%b' % (self._head, stored.revision, stored.value[self._cut :])

    def item(self, stored: Stored) -> bytes:
        """Return the object's JSON as an item of a list: without kind and apiVersion (api-machinery 9.1)."""
        if self._from is not None:
            tree = dict(self._from(stored.tree))
            del tree["kind"], tree["apiVersion"]
            return encode_json(tree)
        return b'{"metadata":{"resourceVersion":"%d",%b' % (stored.revision, stored.value[self._cut :])
