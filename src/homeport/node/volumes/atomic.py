"""Files that change all at once: a directory readers see only whole, old or new. Source: `node` section 8.4.

Layout: `..<stamp>/` holds the files, `..data` points to it, and each visible name points into `..data`. An update
builds a new stamped directory and renames one symbolic link over another.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from homeport.node.files import write_file
from homeport.node.volumes.payload import File

__all__ = ["write_atomically"]

DATA = "..data"


def write_atomically(
    target: Path, files: Mapping[str, File], stamp: str, *, group: int | None = None, owner: int | None = None
) -> bool:
    """Make `target` contain exactly `files`; returns False, having touched nothing, when it already does.

    stamp   distinguishes this version's directory from every other's
    group   fsGroup: files get the group and are made group-readable, directories setgid
    """
    root = os.fspath(target)
    current, visible = _current(root), _visible(files)
    if current is not None and _same(current, files, group):
        _link_visible(root, visible)
        return False
    name = f"..{stamp}"
    fresh = f"{root}/{name}"
    os.mkdir(fresh)
    os.chmod(fresh, 0o755)
    for path, file in files.items():
        _write(fresh, path, file, group, owner)
    if group is not None:
        _give(fresh, group)
        _give(root, group)
    if current is None:
        os.symlink(name, f"{root}/{DATA}")
    else:
        temporary = f"{root}/..data_tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(name, temporary)
        os.replace(temporary, f"{root}/{DATA}")
    _link_visible(root, visible)
    _drop_stale(root, visible | {DATA, name})
    return True


def _current(root: str) -> str | None:
    try:
        return f"{root}/{os.readlink(f'{root}/{DATA}')}"
    except FileNotFoundError:
        return None


def _effective(mode: int, group: int | None) -> int:
    return mode if group is None else mode | 0o440


def _same(current: str, files: Mapping[str, File], group: int | None) -> bool:
    if set(_paths(current)) != {os.path.normpath(path) for path in files}:
        return False
    for path, file in files.items():
        with open(f"{current}/{path}", "rb") as found:
            if os.fstat(found.fileno()).st_mode & 0o777 != _effective(file.mode, group) or found.read() != file.content:
                return False
    return True


def _paths(root: str, prefix: str = "") -> Iterator[str]:
    """Yield what lies below a directory and is none, by its path from there."""
    with os.scandir(f"{root}/{prefix}") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(root, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _write(root: str, path: str, file: File, group: int | None, owner: int | None) -> None:
    where = root
    *above, name = (part for part in path.split("/") if part not in ("", "."))
    for part in above:
        where = f"{where}/{part}"
        if not os.path.isdir(where):
            os.mkdir(where)
            os.chmod(where, 0o755)
            if group is not None:
                _give(where, group)
    target = f"{where}/{name}"
    write_file(target, file.content, _effective(file.mode, group))
    if group is not None or owner is not None:
        os.chown(target, -1 if owner is None else owner, -1 if group is None else group)
        os.chmod(target, _effective(file.mode, group))  # a change of owner may take bits away


def _give(directory: str, group: int) -> None:
    os.chown(directory, -1, group)
    os.chmod(directory, (os.stat(directory).st_mode & 0o777) | 0o2050)


def _visible(files: Mapping[str, File]) -> set[str]:
    return {os.path.normpath(path).partition("/")[0] for path in files}


def _link_visible(root: str, visible: set[str]) -> None:
    for name in sorted(visible):
        link = f"{root}/{name}"
        try:
            os.symlink(f"{DATA}/{name}", link)
        except FileExistsError:
            if not os.path.islink(link):
                raise


def _drop_stale(root: str, keep: set[str]) -> None:
    with os.scandir(root) as entries:
        stale = [entry for entry in entries if entry.name not in keep]
    for entry in stale:
        if entry.is_symlink():
            os.unlink(entry.path)
        elif entry.name.startswith(".."):
            shutil.rmtree(entry.path)
