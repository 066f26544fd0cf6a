"""The few mounts volumes need: a seam with a real side (mount(2)) and one that only makes directories."""

import os
import re
from pathlib import Path
from typing import Protocol

from homeport.node import syscalls

__all__ = ["KernelMounts", "Mounts", "PlainMounts", "mounted_below"]


class Mounts(Protocol):
    """Mounts in the agent's own mount namespace. All raise OSError."""

    def tmpfs(self, target: Path, size_bytes: int | None, mode: int) -> None:
        """Mount memory on an existing directory, unless it is there already."""
        ...

    def bind(self, descriptor: int, target: Path) -> None:
        """Bind what an open descriptor stands for onto an existing file or directory."""
        ...

    def unmount_below(self, root: Path) -> None:
        """Unmount everything at and below `root`, deepest first."""
        ...


def mounted_below(root: Path, mountinfo: str) -> list[Path]:
    """Return the mount points at or below `root` in the text of /proc/self/mountinfo, deepest first."""
    found = []
    plain = max(re.split(r"[^0-9A-Za-z-]+", root.name), key=len)  # never written in another way there
    for line in mountinfo.splitlines():
        if plain not in line:  # nearly all are of other pods
            continue
        fields = line.split(" ")
        point = fields[4].encode("latin-1", "backslashreplace").decode("unicode_escape")
        if Path(point).is_relative_to(root):
            found.append(Path(point))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


class KernelMounts:
    """The real side."""

    def tmpfs(self, target: Path, size_bytes: int | None, mode: int) -> None:
        if os.path.ismount(target):
            return
        options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
        syscalls.mount("tmpfs", str(target), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)

    def bind(self, descriptor: int, target: Path) -> None:
        syscalls.mount(f"/proc/self/fd/{descriptor}", str(target), "", syscalls.MS_BIND | syscalls.MS_REC)

    def unmount_below(self, root: Path) -> None:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        for point in mounted_below(root, mountinfo):
            syscalls.umount(str(point))


class PlainMounts:
    """The simulated side: a memory volume is a directory, a bound one a symbolic link to what it was bound to."""

    def tmpfs(self, target: Path, size_bytes: int | None, mode: int) -> None:
        target.chmod(mode)

    def bind(self, descriptor: int, target: Path) -> None:
        source = os.readlink(f"/proc/self/fd/{descriptor}")
        if target.is_dir() and not target.is_symlink():
            target.rmdir()
        else:
            target.unlink()
        target.symlink_to(source)

    def unmount_below(self, root: Path) -> None:
        """Nothing is mounted."""
