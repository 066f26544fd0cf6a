"""What those who decide may know: invariants hold them to no more than that, and to no less.

Nobody in a cluster sees the present. A controller's copy lags behind the store by a moment; while its watch is broken
or the server is away, by as long as that lasts. So a decision is judged by all that was true since the moment its
maker's copy is known to have been complete. While all is well that is a second ago.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar

from homeport.api.resources import Resource
from homeport.client.informer import InformerFactory

__all__ = ["HELD_UP_SECONDS", "STALE_SECONDS", "Knowledge", "Ledger", "Past", "Spells"]

STALE_SECONDS: Final = 1.0
"""How old what somebody acts upon may be, while nothing disturbs it."""

HELD_UP_SECONDS: Final = 2.0
"""How long who has caught up may still act upon what it knew before."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Ledger:
    """When what became durable."""

    def __init__(self) -> None:
        self._changes: dict[str, deque[tuple[float, int]]] = {}

    def note(self, key: str, revision: int, now: float) -> None:
        """A change became durable."""
        group, kind, *_ = key.removeprefix("/registry/").split("/")
        for place in (group, f"{group}/{kind}"):
            changes = self._changes.setdefault(place, deque())
            changes.append((now, revision))
            while len(changes) > 1 and changes[1][0] < now - STALE_SECONDS:
                changes.popleft()

    def last_before(self, resource: Resource, moment: float) -> int:
        """Return the revision of the last change of a kind up to a moment that lies STALE_SECONDS back at most."""
        place = f"{resource.group}/{resource.plural}" if resource.group else resource.plural
        return max((revision for at, revision in self._changes.get(place, ()) if at <= moment), default=0)


class Knowledge:
    """How far back the news may lie that one party acts upon.

    ledger    what there is to know
    copies    the party's informers now; None while there are none
    hindered  whether news cannot reach it at this moment
    watches   how many watches it has open
    """

    def __init__(
        self,
        ledger: Ledger,
        now: Callable[[], float],
        copies: Callable[[], InformerFactory | None],
        hindered: Callable[[], bool],
        watches: Callable[[], int],
    ) -> None:
        self._ledger, self._now, self._copies, self._hindered, self._watches = ledger, now, copies, hindered, watches
        self._troubled_at: float | None = None
        self._well_at: float | None = None

    def disturb(self) -> None:
        """Something comes between the party and the news."""
        if self._troubled_at is None:
            self._troubled_at = self._now()
        self._well_at = None

    @property
    def since(self) -> float:
        """The moment from which on everything may be news."""
        now = self._now()
        if self._hindered():
            self.disturb()
        elif self._troubled_at is not None:
            self._recover(now)
        return (now if self._troubled_at is None else self._troubled_at) - STALE_SECONDS

    @property
    def is_fresh(self) -> bool:
        """Whether the party knows of everything older than STALE_SECONDS."""
        self.since  # noqa: B018 (it finds out)
        return self._troubled_at is None

    def _recover(self, now: float) -> None:
        if not self._has_caught_up(now):
            self._well_at = None
        elif self._well_at is None:
            self._well_at = now
        elif now - self._well_at >= HELD_UP_SECONDS:
            self._troubled_at = None

    def _has_caught_up(self, now: float) -> bool:
        factory = self._copies()
        if factory is None or self._watches() < len(factory.informers):
            return False
        for informer in factory.informers:
            revision = self._ledger.last_before(informer.resource, now - STALE_SECONDS)
            if not informer.synced.is_set() or (revision and not informer.seen(str(revision))):
                return False
        return True


class Past(Generic[K, V]):
    """What things were, and until when."""

    def __init__(self) -> None:
        self._ended: dict[K, list[tuple[float, V]]] = {}

    def end(self, key: K, value: V, now: float) -> None:
        """Until now it was this."""
        self._ended.setdefault(key, []).append((now, value))

    def since(self, key: K, since: float) -> Iterator[V]:
        """Yield what it was at some time after `since` and is no more."""
        for until, value in reversed(self._ended.get(key, ())):
            if until < since:
                return
            yield value


class Spells(Generic[K, V]):
    """From when until when something had a value."""

    def __init__(self) -> None:
        self._spells: dict[K, list[tuple[V, float, float]]] = {}

    def note(self, key: K, value: V | None, now: float) -> None:
        """From now on it has this value; None: none."""
        spells = self._spells.setdefault(key, [])
        if spells and spells[-1][2] == float("inf"):
            last, began, _ = spells[-1]
            if last == value:
                return
            spells[-1] = (last, began, now)
        if value is not None:
            spells.append((value, now, float("inf")))

    def had(self, key: K, since: float) -> set[V]:
        """Return the values it had at some time after `since`, or has."""
        return {value for value, _, until in self._spells.get(key, ()) if until >= since}

    def has_had(self, key: K, since: float) -> V | None:
        """Return the value it had all the time since then; None without one."""
        spells = self._spells.get(key)
        if not spells or spells[-1][1] > since or spells[-1][2] != float("inf"):
            return None
        return spells[-1][0]

    def retract(self, key: K, before: float) -> None:
        """What it has now does not count from a moment on."""
        spells = self._spells.get(key)
        if spells and spells[-1][2] >= before:
            spells[-1] = (spells[-1][0], spells[-1][1], before)
