"""What a store holds in memory: the present entries in key order, and a window of events to look back over.

No I/O and no waiting: `Journal`s make events durable, `LogStore` applies them here once they are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sortedcontainers import SortedDict

from homeport.store.contract import Compacted, Delete, Entry, Event, Listing, Mismatch, Operation, Put, Revision

__all__ = ["History", "State", "plan"]

_TRIM_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class History:
    """How much of the past is kept: at least so many revisions and so many seconds, and never more than the maximum."""

    revisions: int = 10_000
    seconds: float = 300.0
    max_revisions: int = 50_000


class State:
    """Entries and recent events up to one revision. Every revision is one event; none is missing in the window."""

    def __init__(self, history: History) -> None:
        self.revision = Revision(0)
        self.oldest = Revision(0)
        self._history = history
        self._present: SortedDict[str, Entry] = SortedDict()
        self._events: list[Event] = []  # consecutive revisions, the first of which is `_first`
        self._first = 1
        self._marks: list[tuple[float, int]] = []  # (seconds, newest revision then)

    def restore(self, base: Iterable[Entry], events: Sequence[Event], oldest: Revision, now: float) -> None:
        """Start from the entries as of the revision before `oldest`, and all events since."""
        self._present.update((entry.key, entry) for entry in base)
        self.oldest = oldest
        if events:
            self._first = events[0].revision
            self.revision = Revision(events[0].revision - 1)
            self.apply(events, now)

    def current(self, key: str) -> Entry | None:
        entry: Entry | None = self._present.get(key)
        return entry

    def get(self, key: str, at: Revision | None) -> Entry | None:
        """Return the entry of a key as of revision `at` (None: now). Raises Compacted."""
        for event in self._since(at):
            if event.key == key:
                return event.previous
        return self.current(key)

    def list(self, prefix: str, start: str, limit: int, at: Revision | None) -> Listing:
        """Return the entries under a prefix from `start` on as of revision `at` (None: now). Raises Compacted."""
        undo: dict[str, Entry | None] = {}
        for event in self._since(at):
            if event.key.startswith(prefix):
                undo.setdefault(event.key, event.previous)  # oldest first: the first one seen is the state at `at`
        present = self._present
        if undo:
            present = SortedDict({key: present[key] for key in self._range(present, prefix, "")})
            for key, entry in undo.items():
                if entry is None:
                    present.pop(key, None)
                else:
                    present[key] = entry
        revision = self.revision if at is None else Revision(min(at, self.revision))
        first, last = self._bounds(present, prefix, start)
        if limit <= 0 or last - first <= limit:
            return Listing(present.values()[first:last], revision)
        return Listing(present.values()[first : first + limit], revision, True, last - first - limit)

    def after(self, prefix: str, after: Revision) -> Sequence[Event]:
        """Return the events under a prefix made after a revision. Raises Compacted."""
        if after + 1 < self.oldest:
            raise Compacted(self.oldest)
        events = self._events[max(0, after + 1 - self._first) :]
        return [event for event in events if event.key.startswith(prefix)] if prefix else events

    def apply(self, events: Sequence[Event], now: float) -> None:
        """Make events that became durable visible; `now` in seconds on any steady clock."""
        present = self._present
        for event in events:
            if event.entry is None:
                del present[event.key]
            else:
                present[event.key] = event.entry
        self._events += events
        self.revision = events[-1].revision
        if not self._marks or now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self.revision))

    def expendable(self, now: float) -> Revision | None:
        """Return the revision before which history may go, or None while that is not worth the trouble."""
        limit = self.revision - self._history.revisions
        if limit - self.oldest < _TRIM_AT_ONCE:
            return None
        aged = 0
        for at, newest in self._marks:
            if now - at < self._history.seconds:
                break
            aged = newest
        before = max(min(limit, aged), self.revision - self._history.max_revisions)
        return Revision(before) if before - self.oldest >= _TRIM_AT_ONCE else None

    def compact(self, before: Revision) -> None:
        """Forget events older than `before`."""
        before = Revision(min(before, self.revision))
        if before <= self.oldest:
            return
        self.oldest = before
        del self._events[: max(0, before - self._first)]
        self._first = max(self._first, before)
        self._marks = [mark for mark in self._marks if mark[1] >= before]

    def _since(self, at: Revision | None) -> Sequence[Event]:
        if at is None or at >= self.revision:
            return ()
        if at < self.oldest:
            raise Compacted(self.oldest)
        return self._events[at + 1 - self._first :]

    @staticmethod
    def _bounds(present: "SortedDict[str, Entry]", prefix: str, start: str) -> tuple[int, int]:
        first = present.bisect_left(max(prefix, start))
        last = present.bisect_left(prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else len(present)
        return first, max(first, last)

    @classmethod
    def _range(cls, present: "SortedDict[str, Entry]", prefix: str, start: str) -> Sequence[str]:
        first, last = cls._bounds(present, prefix, start)
        keys: Sequence[str] = present.keys()[first:last]
        return keys


def plan(
    operations: Sequence[Operation], current: Callable[[str], Entry | None], revision: Revision
) -> Sequence[Event]:
    """Return the events operations amount to, the first at `revision`, each seeing those before. Raises Mismatch."""
    events: list[Event] = []
    made: dict[str, Entry | None] = {}
    for number, operation in enumerate(operations, revision):
        key = operation.key
        previous = made[key] if key in made else current(key)
        if (previous.revision if previous else 0) != operation.expect:
            raise Mismatch(key, previous)
        at = Revision(number)
        entry = None
        match operation:
            case Put(_, value, _):
                entry = Entry(key, value, at, previous.created if previous else at)
            case Delete() if previous is None:
                raise Mismatch(key, None)
        made[key] = entry
        events.append(Event(key, at, entry, previous))
    return events
