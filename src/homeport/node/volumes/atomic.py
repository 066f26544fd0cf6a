"""Files that change all at once: a directory readers see only whole, old or new. Source: `node` section 8.4.

Layout: `..<stamp>/` holds the files, `..data` points to it, and each visible name points into `..data`. An update
builds a new stamped directory and renames one symbolic link over another.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

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
    current = _current(target)
    if current is not None and _same(current, files, group):
        _link_visible(target, files)
        return False
    fresh = target / f"..{stamp}"
    fresh.mkdir()
    fresh.chmod(0o755)
    for path, file in files.items():
        _write(fresh, path, file, group, owner)
    if group is not None:
        _give(fresh, group)
        _give(target, group)
    temporary = target / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.replace(target / DATA)
    _link_visible(target, files)
    _drop_stale(target, files, fresh.name)
    return True


def _current(target: Path) -> Path | None:
    try:
        return target / os.readlink(target / DATA)
    except FileNotFoundError:
        return None


def _effective(mode: int, group: int | None) -> int:
    return mode if group is None else mode | 0o440


def _same(current: Path, files: Mapping[str, File], group: int | None) -> bool:
    there = {str(Path(root, name).relative_to(current)) for root, _, names in os.walk(current) for name in names}
    if there != {str(Path(path)) for path in files}:
        return False
    for path, file in files.items():
        found = current / path
        if found.stat().st_mode & 0o777 != _effective(file.mode, group) or found.read_bytes() != file.content:
            return False
    return True


def _write(root: Path, path: str, file: File, group: int | None, owner: int | None) -> None:
    where = root
    for part in Path(path).parts[:-1]:
        where = where / part
        if not where.is_dir():
            where.mkdir()
            where.chmod(0o755)
            if group is not None:
                _give(where, group)
    target = where / Path(path).name
    target.write_bytes(file.content)
    if group is not None or owner is not None:
        os.chown(target, -1 if owner is None else owner, -1 if group is None else group)
    target.chmod(_effective(file.mode, group))


def _give(directory: Path, group: int) -> None:
    os.chown(directory, -1, group)
    directory.chmod((directory.stat().st_mode & 0o777) | 0o2050)


def _visible(files: Mapping[str, File]) -> set[str]:
    return {Path(path).parts[0] for path in files}


def _link_visible(target: Path, files: Mapping[str, File]) -> None:
    for name in _visible(files):
        link = target / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")


def _drop_stale(target: Path, files: Mapping[str, File], current: str) -> None:
    keep = _visible(files) | {DATA, current}
    for entry in target.iterdir():
        if entry.name in keep:
            continue
        if entry.is_symlink():
            entry.unlink()
        elif entry.name.startswith(".."):
            shutil.rmtree(entry)
