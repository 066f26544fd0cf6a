"""Objects by where they live, and by whatever else somebody looks them up by."""

from collections.abc import Sequence

from homeport.client.contract import Indexer, Object

__all__ = ["Index", "Key", "key_of"]

Key = tuple[str, str]
"""Namespace ("" for what has none) and name."""


def key_of(obj: Object) -> Key:
    """Return where an object lives."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Index:
    """Objects by the values an indexer names for them."""

    def __init__(self, indexer: Indexer) -> None:
        self.indexer = indexer
        self._buckets: dict[str, dict[Key, Object]] = {}

    def insert(self, key: Key, obj: Object) -> None:
        for value in self.indexer(obj):
            self._buckets.setdefault(value, {})[key] = obj

    def replace(self, key: Key, old: Object, new: Object) -> None:
        """Put an object's newer form in the place of the older one: what changed last comes last."""
        before, after = self.indexer(old), self.indexer(new)
        if before == after:
            for value in after:
                bucket = self._buckets[value]
                del bucket[key]
                bucket[key] = new
        else:
            self._take_out(key, before)
            self.insert(key, new)

    def remove(self, key: Key, obj: Object) -> None:
        self._take_out(key, self.indexer(obj))

    def _take_out(self, key: Key, values: Sequence[str]) -> None:
        for value in values:
            bucket = self._buckets.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del self._buckets[value]

    def get(self, value: str) -> list[Object]:
        return list(self._buckets.get(value, {}).values())
