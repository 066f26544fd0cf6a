"""Where simulated nodes keep their files: in memory where the system offers that, gone with the process that made them.

A process that is killed removes nothing. Its directories bear its name, and the next process to need one removes those
of the dead first.
"""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from homeport.node import syscalls

__all__ = ["scratch_directory", "sweep"]

MEMORY: Final = Path("/dev/shm")
PREFIX: Final = "homeport-world-"


def scratch_directory() -> Path:
    """Return a new directory of this process."""
    root = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _sweep_once(root)
    pid = os.getpid()
    owner = f"{_namespace()}-{pid}-{syscalls.start_ticks(pid)}-"
    return Path(tempfile.mkdtemp(prefix=PREFIX + owner, dir=root))


@cache
def _sweep_once(root: Path) -> None:
    sweep(root)


def sweep(root: Path) -> None:
    """Remove the directories of processes of this PID namespace that have ended; others' stay."""
    here = _namespace()
    for path in root.glob(f"{PREFIX}{here}-*"):
        pid, ticks = path.name.removeprefix(f"{PREFIX}{here}-").split("-")[:2]
        if not syscalls.same_process(int(pid), int(ticks)):
            shutil.rmtree(path, ignore_errors=True)  # another user's, or somebody else is at it already


@cache
def _namespace() -> int:
    """Return what tells this PID namespace from others, in which the same numbers are other processes."""
    return os.stat("/proc/self/ns/pid").st_ino
