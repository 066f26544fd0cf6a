"""A store in memory that tells every change, in order, in the step it becomes durable, and can be saved and resumed."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homeport.store.contract import Entry, Event, Revision
from homeport.store.log import Done, LogStore
from homeport.store.state import History, State

__all__ = ["RecordedStore", "SavedStore", "digest"]


@dataclass(frozen=True, slots=True)
class SavedStore:
    """Every entry at one revision, and the change that led to it."""

    entries: tuple[Entry, ...]
    last: Event | None


class _Told:
    """A journal that tells and forgets. While it stalls, a commit waits; once it is dead, none ever ends."""

    def __init__(self, tell: Callable[[Sequence[Event]], None]) -> None:
        self._tell = tell
        self.stalled = self.dead = False
        self._held: tuple[Sequence[Event], Done] | None = None

    def commit(self, events: Sequence[Event], done: Done) -> None:
        if self.stalled or self.dead:
            self._held = (events, done)
            return
        self._tell(events)
        done(None)

    def go_on(self) -> None:
        held, self._held = self._held, None
        self.stalled = False
        if held is not None and not self.dead:
            self.commit(*held)

    def compact(self, before: Revision, done: Done) -> None:
        done(None)

    async def close(self) -> None:
        """Nothing is held."""


class RecordedStore(LogStore):
    """`contract.Store` for simulations. `tell` gets every batch of changes before anybody else."""

    def __init__(self, tell: Callable[[Sequence[Event]], None], saved: SavedStore | None = None) -> None:
        self._whole = State(History())
        if saved is not None and saved.last is not None:
            self._whole.restore(_before(saved.entries, saved.last), (saved.last,), saved.last.revision, 0.0)
        self._told = _Told(tell)
        super().__init__(self._whole, self._told)

    def stall(self) -> None:
        """Let writes wait, as a disk that hangs does. Reads and watches go on with what is durable."""
        self._told.stalled = True

    def go_on(self) -> None:
        """End a stall: what waited becomes durable, in order."""
        self._told.go_on()

    @property
    def stalled(self) -> bool:
        return self._told.stalled

    def die(self) -> None:
        """Lose what is not durable, as `kill -9` does: no write under way ever ends, `save` says what is left."""
        self._told.dead = True

    async def close(self) -> None:
        if not self._told.dead:  # else what is under way never ends
            await super().close()

    def current(self, key: str) -> Entry | None:
        """Return the entry of a key, at once."""
        return self._whole.current(key)

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        """Return the entries below a prefix in the order of their keys, at once."""
        return self._whole.list(prefix, "", 0, None).entries

    def save(self) -> SavedStore:
        """Return all that is held, to be resumed by another store."""
        newest = self._whole.after("", Revision(self.revision - 1)) if self.revision else ()
        return SavedStore(tuple(self.entries()), newest[-1] if newest else None)


def _before(entries: Sequence[Entry], last: Event) -> Sequence[Entry]:
    kept = [entry for entry in entries if entry.key != last.key]
    return [*kept, last.previous] if last.previous is not None else kept


def digest(changes: Sequence[tuple[float, Event]], root: str) -> str:
    """Return the SHA-256 of a history: times, keys, revisions and values. `root` is a directory's name to leave out."""
    sha, name = hashlib.sha256(), root.encode()
    for at, event in changes:
        value = event.entry.value.replace(name, b"/homeport") if event.entry is not None else b""
        sha.update(f"{at!r} {event.revision} {event.key} ".encode() + value + b"\n")
    return sha.hexdigest()
