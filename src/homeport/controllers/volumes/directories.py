"""Directories that hold the data of local volumes: created once, removed without following links.

Layout below the root, the cluster's `volumes/`:
    pvc-<uid>_<namespace>_<claim>/        the data, mode 0777: the pod decides who owns what in it
    pvc-<uid>_<namespace>_<claim>.json    which volume it belongs to, for a store that was lost
    .deleting-<name>-<n>                  on its way out

Removal renames first, so that a half-removed directory is never taken for a volume again.
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Directories", "LocalDirectories"]

MODE: Final = 0o777


class Directories(Protocol):
    """Where the data of volumes lives. Names are single path components. Raises OSError."""

    def create(self, name: str, facts: Mapping[str, str]) -> str:
        """Make the directory if it is not there, note `facts` about it, and return its absolute path."""
        ...

    def remove(self, name: str) -> None:
        """Remove the directory and what it holds; a missing one is no error."""
        ...

    def names(self) -> Sequence[str]:
        """Return the directories there are, sorted."""
        ...

    def remove_unused(self, name: str) -> None:
        """Remove a directory nobody has ever written to; one that holds anything stays."""
        ...


class LocalDirectories:
    """Directories on this machine's disk, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, name: str, facts: Mapping[str, str]) -> str:
        path = self._path(name)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_dir():
            path.mkdir()
            path.chmod(MODE)  # the umask does not apply to what pods of any user share
        note = path.with_name(f"{name}.json")
        note.write_text(json.dumps(dict(facts), sort_keys=True) + "\n", encoding="utf-8")
        return str(path)

    def remove(self, name: str) -> None:
        path = self._path(name)
        for doomed in self._root.glob(f".deleting-{name}-*"):
            self._remove_tree(doomed)
        if path.is_symlink():
            raise OSError(f"{path} is a symbolic link: not a volume's directory")
        if path.is_dir():
            doomed = self._root / f".deleting-{name}-{os.getpid()}"
            path.rename(doomed)
            self._remove_tree(doomed)
        path.with_name(f"{name}.json").unlink(missing_ok=True)

    def names(self) -> Sequence[str]:
        if not self._root.is_dir():
            return ()
        return sorted(e.name for e in os.scandir(self._root) if e.is_dir(follow_symlinks=False) and e.name[0] != ".")

    def remove_unused(self, name: str) -> None:
        path = self._path(name)
        try:
            path.rmdir()
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            if error.errno != errno.ENOENT:
                raise
        path.with_name(f"{name}.json").unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not name or "/" in name or name.startswith("."):
            raise ValueError(f"not a directory name: {name!r}")
        return self._root / name

    @staticmethod
    def _remove_tree(path: Path) -> None:
        if not shutil.rmtree.avoids_symlink_attacks:
            raise OSError("this platform cannot remove a tree without following links")
        device = path.stat().st_dev
        for folder, names, _ in os.walk(path, followlinks=False):
            for name in names:
                inner = os.lstat(os.path.join(folder, name))
                if inner.st_dev != device:
                    raise OSError(f"{folder}/{name} is a mount: the volume is still in use")
        shutil.rmtree(path)
