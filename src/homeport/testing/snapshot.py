"""A simulated cluster at one moment, as a value: kept, returned to, continued elsewhere, or saved to a file.

Objects, log paths and mounts name the directory the cluster's nodes keep their files in. `relocated` gives the same
moment in another directory; the bytes in claims are the user's own and stay as they are.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Final

from homeport.server.objects import Stored
from homeport.testing.behaviour import Behaviour, Program
from homeport.testing.faults import SavedFaults
from homeport.testing.files import Tree
from homeport.testing.machine import SavedMachine
from homeport.testing.recorded_store import SavedStore
from homeport.testing.story import Moment

__all__ = ["Snapshot", "SnapshotError", "relocated"]

_MAGIC: Final = b"homeport snapshot 1\n"
VOLUMES: Final = "volumes"


class SnapshotError(Exception):
    """A snapshot cannot be saved or read; the text says why."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A simulated cluster at one moment. Components begin anew from it, as after a restart; pods run on.

    root   the directory its nodes kept their files in
    files  what lay in there
    states what the server made of the entries: those that are unchanged need not be decoded again
    """

    store: SavedStore
    machines: tuple[SavedMachine, ...]
    behaviours: Mapping[tuple[str, str], Behaviour]
    programs: Mapping[str, Program]
    faults: SavedFaults
    random_state: Any
    now: float
    elapsed: float
    moments: tuple[Moment, ...]
    root: str
    files: Tree
    states: Mapping[str, Stored]

    def save(self, path: str | Path) -> None:
        """Write it to a file, for the same version of Homeport.

        Raises SnapshotError where a program or a command's answer is a function that has no name in a module.
        """
        try:
            content = pickle.dumps(self)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise SnapshotError(f"this snapshot holds a function that cannot be written to a file: {error}") from error
        Path(path).write_bytes(_MAGIC + content)

    @staticmethod
    def load(path: str | Path) -> "Snapshot":
        """Read what `save` wrote. Only read files you trust: they may hold code. Raises SnapshotError, OSError."""
        content = Path(path).read_bytes()
        if not content.startswith(_MAGIC):
            raise SnapshotError(f"{path} is no snapshot of this version of Homeport")
        try:
            found = pickle.loads(content[len(_MAGIC) :])
        except (pickle.UnpicklingError, AttributeError, ImportError, EOFError, TypeError) as error:
            raise SnapshotError(
                f"{path} was written by another version, or names code that is gone: {error}"
            ) from error
        assert isinstance(found, Snapshot)
        return found


def relocated(snapshot: Snapshot, root: Path) -> Snapshot:
    """Return the same moment with everything that names its directory naming `root` instead."""
    old, new = snapshot.root, str(root)
    if old == new:
        return snapshot
    move = _Move(old, new)
    files = {path: entry if _is_claims(path) else move(entry) for path, entry in snapshot.files.items()}
    return replace(
        snapshot, store=move(snapshot.store), machines=move(snapshot.machines), moments=move(snapshot.moments),
        root=new, files=files,
    )  # fmt: skip


def _is_claims(name: str) -> bool:
    parts = PurePath(name).parts
    return len(parts) > 2 and parts[0] == VOLUMES


class _Move:
    """Replaces a directory's name wherever a value has it; what does not name it is returned as it is."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new
        self._old_bytes, self._new_bytes = old.encode(), new.encode()
        self._moved: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        match value:
            case str():
                return value.replace(self._old, self._new) if self._old in value else value
            case bytes():
                return value.replace(self._old_bytes, self._new_bytes) if self._old_bytes in value else value
            case PurePath():
                return type(value)(self(str(value)))
            case tuple():
                moved = tuple(map(self, value))
                return value if all(a is b for a, b in zip(moved, value, strict=True)) else moved
            case list():
                return [self(one) for one in value]
            case dict():
                return {self(key): self(one) for key, one in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        return value

    def _dataclass(self, value: Any) -> Any:
        known = self._moved.get(id(value))
        if known is None:
            before = {field.name: getattr(value, field.name) for field in fields(value)}
            after = {name: self(one) for name, one in before.items()}
            changes = {name: one for name, one in after.items() if one is not before[name]}
            known = self._moved[id(value)] = replace(value, **changes) if changes else value
        return known
