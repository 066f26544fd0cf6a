"""fsGroup: a volume's files given to a group. Source: `node` section 8.7."""

import os
import stat
from pathlib import Path

__all__ = ["give_to_group"]


def give_to_group(root: Path, group: int, *, read_only: bool = False, only_on_mismatch: bool = False) -> None:
    """Give the tree to `group`, with the permissions a member needs; symbolic links are not followed."""
    wanted = 0o440 if read_only else 0o660
    if only_on_mismatch:
        found = root.stat()
        needed = wanted | 0o010 | stat.S_ISGID
        if found.st_gid == group and found.st_mode & needed & 0o2070 == needed & 0o2070:
            return
    for where, directories, files in os.walk(root, topdown=False):
        for name in files:
            _give(os.path.join(where, name), group, wanted)
        for name in directories:
            if os.path.islink(os.path.join(where, name)):
                os.lchown(os.path.join(where, name), -1, group)
        _give(where, group, wanted)


def _give(path: str, group: int, wanted: int) -> None:
    os.lchown(path, -1, group)
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return
    bits = wanted | (0o010 | stat.S_ISGID if stat.S_ISDIR(mode) else 0)
    os.chmod(path, stat.S_IMODE(mode) | bits)
