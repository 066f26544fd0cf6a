"""Decode each version of an object once, however often it is looked at."""

from collections.abc import Callable
from typing import Generic, TypeVar

from homeport.client.contract import Object
from homeport.client.informer import Informer

__all__ = ["Decoded"]

V = TypeVar("V")


class Decoded(Generic[V]):
    """Remembers the value of the newest version seen of each object of a cache, and forgets what is gone.

    decode  a pure function of the object and one number, such as the seconds a pod must be ready
    """

    def __init__(self, cache: Informer, decode: Callable[[Object, int], V]) -> None:
        self._decode = decode
        self._values: dict[str, tuple[str, int, V]] = {}
        cache.add_handler(delete=self._forget)

    def _forget(self, last: Object) -> None:
        self._values.pop(last["metadata"]["uid"], None)

    def of(self, obj: Object, number: int) -> V:
        """Return the decoded value of an object."""
        metadata = obj["metadata"]
        known = self._values.get(metadata["uid"])
        if known is not None and known[0] == metadata["resourceVersion"] and known[1] == number:
            return known[2]
        value = self._decode(obj, number)
        self._values[metadata["uid"]] = metadata["resourceVersion"], number, value
        return value
