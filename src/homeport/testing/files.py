"""What lies below a directory, as a value: read whole, and put back by touching only what differs."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

from homeport.node.files import write_file

__all__ = ["Directory", "Entry", "File", "Link", "Tree", "read_tree", "write_tree"]

_PERMISSIONS = 0o7777
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Directory:
    """What it holds are entries of their own."""

    mode: int


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    mode: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link and where it leads."""

    target: str


Entry: TypeAlias = Directory | File | Link
Tree: TypeAlias = Mapping[str, Entry]
"""Entries by their paths below the root, each directory before what is in it."""


def read_tree(root: Path) -> Tree:
    """Return what is below a directory. Sockets and pipes are left out. Raises OSError."""
    return {path: entry for path, entry in _scan(os.fspath(root)).items() if entry is not None}


def _scan(root: str) -> dict[str, Entry | None]:
    """Return every path and what it is, None for sockets and pipes."""
    found: dict[str, Entry | None] = {}
    _add(found, root, "")
    return found


def _add(found: dict[str, Entry | None], root: str, prefix: str) -> None:
    with os.scandir(f"{root}/{prefix}") as entries:
        for entry in sorted(entries, key=attrgetter("name")):
            path = prefix + entry.name
            if entry.is_symlink():
                found[path] = Link(os.readlink(entry.path))
            elif entry.is_dir():
                found[path] = Directory(entry.stat(follow_symlinks=False).st_mode & _PERMISSIONS)
                _add(found, root, f"{path}/")
            else:
                found[path] = _read(entry.path) if entry.is_file() else None


def _read(path: str) -> File:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode, content = os.fstat(descriptor).st_mode & _PERMISSIONS, os.read(descriptor, _CHUNK)
        while len(content) and len(content) % _CHUNK == 0 and (more := os.read(descriptor, _CHUNK)):
            content += more
    finally:
        os.close(descriptor)
    return File(mode, content)


def write_tree(root: Path, tree: Tree) -> None:
    """Make what is below a directory equal to a tree. Raises OSError."""
    present = _scan(os.fspath(root))
    for path in reversed(present):
        there, wanted = present[path], tree.get(path)
        if type(wanted) is not type(there) or (isinstance(there, Link) and wanted != there):
            _remove(f"{root}/{path}", there, wanted)
    for path, entry in tree.items():
        there = present.get(path)
        if there != entry:
            _write(f"{root}/{path}", entry, there)


def _remove(path: str, there: Entry | None, wanted: Entry | None) -> None:
    if isinstance(there, Directory):
        shutil.rmtree(path)  # sockets and pipes may be left in it
    elif there is not None or wanted is not None:
        os.unlink(path)


def _write(path: str, entry: Entry, there: Entry | None) -> None:
    match entry:
        case Directory(mode):
            if not isinstance(there, Directory):
                os.mkdir(path)
            os.chmod(path, mode)
        case File(mode, content):
            write_file(path, content, mode)
        case Link(target):
            os.symlink(target, path)
