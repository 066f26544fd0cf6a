"""Finding the namespace keeper and entering its namespaces.

`enter` belongs at the very start of a child process: the kernel lets only a process with one thread change user and
mount namespaces. Network namespaces are per thread, so a second call for that alone may come later, from the thread
that shall move; threads started before it stay outside, and can still reach the host's network.
"""

import json
import os
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeport.node import syscalls
from homeport.node.holder import RECORD

__all__ = ["Holder", "enter", "find_holder", "wait_for_end"]

_KINDS = (
    ("user", syscalls.CLONE_NEWUSER),
    ("mnt", syscalls.CLONE_NEWNS),
    ("net", syscalls.CLONE_NEWNET),
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The namespace keeper as a process: its pid and when it started (clock ticks since boot)."""

    pid: int
    start: int

    @property
    def alive(self) -> bool:
        return syscalls.same_process(self.pid, self.start)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "Holder":
        return cls(int(tree["pid"]), int(tree["start"]))


def find_holder(run: Path) -> Holder | None:
    """Return the living keeper recorded in `run` (`<data>/run`), or None."""
    try:
        tree = json.loads((run / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    holder = Holder.from_json(tree)
    return holder if tree.get("boot") == syscalls.boot_id() and holder.alive else None


def enter(holder: Holder, *, user: bool = True, mount: bool = True, net: bool = True) -> None:
    """Join the keeper's namespaces; those we are already in are left alone. Raises OSError.

    With `mount`, root and working directory become the namespace's root. In the user namespace we are id 0 with all
    capabilities over what it owns. The pidfd is checked against the start time, so a recycled pid is never entered.
    """
    pidfd = os.pidfd_open(holder.pid)
    try:
        if not holder.alive:
            raise ProcessLookupError(f"process {holder.pid} is no longer the namespace keeper")
        flags = 0
        for (kind, flag), wanted in zip(_KINDS, (user, mount, net), strict=True):
            if wanted and not _shared(holder.pid, kind):
                flags |= flag
        if flags:
            syscalls.setns(pidfd, flags)  # the kernel takes them in the right order: user first
        if flags & syscalls.CLONE_NEWUSER:
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
    finally:
        os.close(pidfd)


def wait_for_end(pid: int, timeout_seconds: float = 10) -> bool:
    """Block until process `pid` is gone, for use in a thread; False when it still lives after the time given."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout_seconds * 1000))
    finally:
        os.close(pidfd)


def _shared(pid: int, kind: str) -> bool:
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino == os.stat(f"/proc/thread-self/ns/{kind}").st_ino
