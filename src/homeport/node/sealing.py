"""Programs executed from sealed memory: nothing that runs in a container can overwrite what started it.

A container runtime guards itself against that (CVE-2019-5736) by copying itself into a sealed memfd and executing the
copy, at every start. One that is executed from such a copy finds it in order: half of what its start costs is saved.

Standard library only, like everything the namespace keeper runs on.
"""

import fcntl
import os
from contextlib import suppress
from typing import Final

__all__ = ["SealedPrograms"]

_F_ADD_SEALS: Final = 1033
_F_SEAL_ALL: Final = 0x1 | 0x2 | 0x4 | 0x8  # seal, shrink, grow, write
_MFD_EXEC: Final = 0x10  # since Linux 6.3; before, every memfd may be executed


class SealedPrograms:
    """Copies by path, made when first asked for and again when the file has changed."""

    def __init__(self) -> None:
        self._copies: dict[str, tuple[tuple[int, int, int, int], int]] = {}

    def find(self, path: str) -> int | None:
        """Return a descriptor of a sealed copy of `path`; None when there is none to be had. It closes on exec.

        It stays ours. A descriptor is executed as `/proc/self/fd/N`.
        """
        with suppress(OSError):  # no such program, or a kernel that lets no memfd be executed: the file itself remains
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._copies.get(path)
            if known is None or known[0] != identity:
                copy = _sealed(path, status.st_size)
                if known is not None:
                    os.close(known[1])
                known = self._copies[path] = identity, copy
            return known[1]
        return None

    def close(self) -> None:
        """Let go of all copies."""
        for _, copy in self._copies.values():
            os.close(copy)
        self._copies.clear()


def _sealed(path: str, size: int) -> int:
    copy = _memfd(os.path.basename(path))
    try:
        with open(path, "rb") as program:
            done = 0
            while done < size:
                moved = os.sendfile(copy, program.fileno(), done, size - done)
                if moved == 0:
                    break
                done += moved
        os.fchmod(copy, 0o755)
        fcntl.fcntl(copy, _F_ADD_SEALS, _F_SEAL_ALL)
    except BaseException:
        os.close(copy)
        raise
    return copy


def _memfd(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_EXEC)
    except OSError:
        return os.memfd_create(name, flags)
