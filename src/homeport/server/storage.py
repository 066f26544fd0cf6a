"""Reads from the caches, writes through the store; a write returns once it is durable and visible."""

from collections.abc import Sequence

from homeport.server import failures
from homeport.server.hub import Hub
from homeport.server.objects import Codec, Stored, Tree
from homeport.store.contract import Delete, Operation, Revision, Store

__all__ = ["Storage"]


class Storage:
    """The registry as the verbs see it. Raises the store's `Mismatch` where somebody wrote in between."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store, self._hub = store, hub

    @property
    def revision(self) -> int:
        return self._hub.revision

    def find(self, codec: Codec, namespace: str | None, name: str) -> Stored | None:
        return self._hub.cache(codec).get(codec.key(namespace, name))

    def get(self, codec: Codec, namespace: str | None, name: str) -> Stored:
        """Return the object; raises NotFound."""
        found = self._hub.cache(codec).get(codec.key(namespace, name))
        if found is None:
            raise failures.not_found(codec.resource, name)
        return found

    async def insert(self, codec: Codec, key: str, tree: Tree) -> Stored:
        """Write a new key. Raises Mismatch when it is taken."""
        return await self._put(codec, key, tree, Revision(0))

    async def replace(self, codec: Codec, old: Stored, tree: Tree) -> Stored:
        """Write over a known state. Raises Mismatch."""
        return await self._put(codec, old.key, tree, Revision(old.revision))

    async def _put(self, codec: Codec, key: str, tree: Tree, expect: Revision) -> Stored:
        value = codec.encode(tree)
        if not codec.native:
            entry = await self._store.put(key, value, expect=expect)
            await self._hub.reached(entry.revision)
            return Stored(key, entry.value, entry.revision)
        with self._hub.knowing(value, tree):
            entry = await self._store.put(key, value, expect=expect)
            await self._hub.reached(entry.revision)
        now = self._hub.cache(codec).get(key)  # unless somebody has written since, whoever reads it shares one tree
        return now if now is not None and now.revision == entry.revision else Stored(key, entry.value, entry.revision)

    async def remove(self, old: Stored) -> int:
        """Delete a known state; returns the deletion's revision. Raises Mismatch."""
        revision = await self._store.delete(old.key, expect=Revision(old.revision))
        await self._hub.reached(revision)
        return revision

    async def replace_and_remove(self, old: Stored, value: bytes) -> int:
        """Commit a last state and its deletion together: watchers see MODIFIED, then DELETED. Raises Mismatch."""
        entry = await self._store.put(old.key, value, expect=Revision(old.revision))
        operations: Sequence[Operation] = (Delete(old.key, entry.revision),)
        revision = (await self._store.transact(operations))[-1]
        await self._hub.reached(revision)
        return revision

    async def catch_up(self, revision: int) -> None:
        """Wait until the caches know of a revision another writer made."""
        await self._hub.reached(revision)
