"""subPath: a place inside a volume, found without ever leaving it. Source: `node` sections 8.5 and 17.1.

Every step is taken from an open directory, and links are not followed while making directories, so a program that
moves things about in its volume cannot lead the descent elsewhere. What is found stays open; callers mount the
descriptor, not a name.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Final

from homeport.node.volumes.failure import SubPathFailure

__all__ = ["opened_subpath"]

_SYS_OPENAT2: Final = 437
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _open_beneath(directory: int, path: str) -> int:
    """Open what `path` leads to, links followed but only below `directory` (openat2(2)); raises OSError."""
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    result: int = _libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


@contextmanager
def opened_subpath(root: str, subpath: str, what: str) -> Iterator[int]:
    """Yield an O_PATH descriptor of `subpath` below `root`, made as directories when missing.

    what   how the error names it; raises SubPathFailure, whose text holds no host path.
    """
    path = PurePosixPath(subpath)
    if path.is_absolute() or ".." in path.parts:
        raise SubPathFailure(f"failed to prepare subPath for {what}")
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            found = _open_or_make(base, path)
        except OSError as error:
            raise SubPathFailure(f"failed to prepare subPath for {what}") from error
    finally:
        os.close(base)
    try:
        yield found
    finally:
        os.close(found)


def _open_or_make(base: int, path: PurePosixPath) -> int:
    try:
        return _open_beneath(base, str(path))
    except FileNotFoundError:
        _make(base, path)
        return _open_beneath(base, str(path))


def _make(base: int, path: PurePosixPath) -> None:
    """Make the missing directories of `path`, below the deepest part that exists."""
    depth = len(path.parts)
    current = base
    while depth:
        depth -= 1
        try:
            current = _open_beneath(base, str(PurePosixPath(*path.parts[:depth])) if depth else ".")
            break
        except FileNotFoundError:
            continue
    try:
        mode = os.stat(base).st_mode & 0o7777
        for part in path.parts[depth:]:
            try:
                os.mkdir(part, 0o700, dir_fd=current)
            except FileExistsError as error:
                raise OSError(errno.ELOOP, "appeared meanwhile", part) from error
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            os.fchmod(following, mode)
            if current != base:
                os.close(current)
            current = following
    finally:
        if current != base:
            os.close(current)
