"""hostPath volumes: what must be there, what is made. Source: `node` section 8.3."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from homeport.node.volumes.failure import VolumeFailure

__all__ = ["prepare_host_path"]

_CHECKS: Final[dict[str, tuple[Callable[[int], bool], str]]] = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


def prepare_host_path(path: Path, kind: str) -> None:
    """Check, or make, what a hostPath of `kind` names; raises VolumeFailure."""
    if not path.exists():
        if kind in ("", "DirectoryOrCreate"):
            path.mkdir(0o755, parents=True)
        elif kind == "FileOrCreate" and path.parent.is_dir():
            path.touch(0o644)
    if not kind:
        return
    matches, complaint = _CHECKS[kind]
    if not path.exists() or not matches(path.stat().st_mode):
        raise VolumeFailure(f"hostPath type check failed: {path} {complaint}")
