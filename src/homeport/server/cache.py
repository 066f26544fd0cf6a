"""One resource's present objects in key order, a window of its recent changes, and those who watch it."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final, TypeVar

from sortedcontainers import SortedDict

from homeport.server.objects import Codec, Stored
from homeport.server.observers import Observer, Observers

__all__ = ["Change", "Observer", "ResourceCache", "TooOld"]

T = TypeVar("T")

WINDOW_SECONDS: Final = 90.0  # at least 75 s (api-machinery 10.10)
WINDOW_LEAST: Final = 512
WINDOW_MOST: Final = 20_000
MEMO_LIMIT: Final = 64
_END: Final = "\U0010ffff"


class TooOld(Exception):
    """The window starts after the revision asked for; `floor` is the oldest one to resume from."""

    def __init__(self, floor: int) -> None:
        super().__init__(f"window starts after revision {floor}")
        self.floor = floor


class Change:
    """One committed change of one key. `frames` keeps the events made of it, for all watchers to share.

    at        when it was seen, loop time in seconds; of one that is `recalled` from before a start, when that was
    """

    __slots__ = ("_gone", "at", "frames", "key", "new", "old", "recalled", "revision")

    def __init__(
        self, key: str, revision: int, old: Stored | None, new: Stored | None, at: float, recalled: bool = False
    ) -> None:
        self.key, self.revision, self.old, self.new, self.at = key, revision, old, new, at
        self.recalled = recalled
        self.frames: dict[Hashable, Any] = {}
        self._gone: Stored | None = None

    @property
    def gone(self) -> Stored:
        """The old state at this change's revision: what a DELETED event carries."""
        if self._gone is None:
            assert self.old is not None
            self._gone = self.old.at(self.revision)
        return self._gone


class ResourceCache:
    """What is stored under one resource's prefix. Changes come in revision order from one place, the hub.

    known_since  the moment (loop time, seconds) from which on the window has every change, with its time
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.entries: SortedDict[str, Stored] = SortedDict()
        self.floor = 0
        self.changed = 0  # revision of the last change
        self.known_since = 0.0
        self.observers = Observers()
        self._window: deque[Change] = deque()
        self._memo: dict[tuple[str, Hashable], Any] = {}

    def load(self, entries: Iterable[Stored], revision: int, now: float) -> None:
        """Start from a listing made at `revision`."""
        self.known_since = now
        self.entries.update({stored.key: stored for stored in entries})
        self.floor = self.changed = revision

    def recall(self, changes: Iterator[Change], floor: int) -> None:
        """Put changes older than the loaded listing into the window, which then starts after `floor`."""
        self._window.extend(changes)
        self.floor = floor

    def get(self, key: str) -> Stored | None:
        found: Stored | None = self.entries.get(key)
        return found

    def scan(self, prefix: str, start: str = "") -> Iterator[Stored]:
        """Yield what lies below `prefix`, in key order, from `start` (inclusive) on."""
        entries = self.entries
        for key in entries.irange(start if start > prefix else prefix, prefix + _END):
            yield entries[key]

    def apply(self, key: str, revision: int, new: Stored | None, now: float) -> None:
        """Take one durable change in and tell the observers."""
        old = self.entries.pop(key, None) if new is None else self.entries.get(key)
        if new is not None:
            self.entries[key] = new
        elif old is None:
            return
        self.changed = revision
        if self._memo:
            self._memo.clear()
        change = Change(key, revision, old, new, now)
        window = self._window
        window.append(change)
        while len(window) > WINDOW_MOST or (len(window) > WINDOW_LEAST and now - window[0].at > WINDOW_SECONDS):
            forgotten = window.popleft()
            self.floor, self.known_since = forgotten.revision, max(self.known_since, forgotten.at)
        for observer in self.observers.concerned(change):
            observer.offer(change)
        change.frames.clear()  # everybody has them; the window keeps states alone

    def since(self, revision: int) -> list[Change]:
        """Return the changes made after `revision`, oldest first. Raises TooOld."""
        if revision < self.floor:
            raise TooOld(self.floor)
        found = []
        for change in reversed(self._window):
            if change.revision <= revision:
                break
            found.append(change)
        found.reverse()
        return found

    def memoised(self, prefix: str, what: Hashable, make: Callable[[], T]) -> T:
        """Return `make()`, kept until the next change of this resource."""
        found = self._memo.get((prefix, what))
        if found is None:
            found = self.remember(prefix, what, make())
        return found

    def remember(self, prefix: str, what: Hashable, value: T) -> T:
        """Keep a value until the next change of this resource."""
        if len(self._memo) >= MEMO_LIMIT:
            self._memo.clear()
        self._memo[prefix, what] = value
        return value
