"""Who is told of a resource's changes: everybody, or only those whom a change can concern.

A node asks for its own pods, a volume for one ConfigMap. With a thousand such watches a change would be looked at a
thousand times to be told twice; so those who name a key or a node are found by it. Upstream's watch cache keeps the
same two indices.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from homeport.server.cache import Change

__all__ = ["Concern", "Observer", "Observers"]

Concern: TypeAlias = tuple[str, str]
"""What an observer is about: `("key", <key of one object>)` or `("node", <name in spec.nodeName>)`."""

KEY: Final = "key"
NODE: Final = "node"


class Observer(Protocol):
    """Is told every change, in revision order, in the loop turn it became durable."""

    def offer(self, change: "Change") -> None: ...


class Observers:
    """Observers in the order they came: whoever asked first is told first."""

    def __init__(self) -> None:
        self._order = itertools.count()
        self._all: dict[Observer, tuple[int, Concern | None]] = {}
        self._general: dict[Observer, int] = {}
        self._by_concern: dict[Concern, dict[Observer, int]] = {}
        self._by_node = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, observer: Observer, concern: Concern | None = None) -> None:
        """Tell an observer from now on, only what concerns it where it says what does."""
        number = next(self._order)
        self._all[observer] = number, concern
        if concern is None:
            self._general[observer] = number
        else:
            self._by_concern.setdefault(concern, {})[observer] = number
            self._by_node += concern[0] == NODE

    def drop(self, observer: Observer) -> None:
        """Tell an observer no more; one that is not known changes nothing."""
        _, concern = self._all.pop(observer, (0, None))
        self._general.pop(observer, None)
        if concern is not None:
            found = self._by_concern[concern]
            del found[observer]
            self._by_node -= concern[0] == NODE
            if not found:
                del self._by_concern[concern]

    def concerned(self, change: "Change") -> Sequence[Observer]:
        """Return whom a change may concern, in order."""
        if not self._by_concern:
            return tuple(self._general)
        found = dict(self._general)
        found |= self._by_concern.get((KEY, change.key), {})
        for node in self._nodes(change) if self._by_node else ():
            found |= self._by_concern.get((NODE, node), {})
        if len(found) == len(self._general):
            return tuple(found)
        return sorted(found, key=found.__getitem__)

    @staticmethod
    def _nodes(change: "Change") -> Iterator[str]:
        """Yield the nodes a pod is and was on."""
        for stored in (change.new, change.old):
            if stored is not None:
                spec: Any = stored.tree.get("spec") or {}
                yield spec.get("nodeName") or ""
