"""The cluster's namespaces come into being here, or are joined again after every keeper of them but the pods has died.

Standard library only: the namespace keeper runs on it. Both functions change the calling process, which must have one
thread (the kernel refuses user and mount namespaces otherwise).
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from homeport.node import syscalls
from homeport.node.launching import FIRST_KEPT_FD, KEPT_KINDS

__all__ = [
    "create_namespaces",
    "has_capability",
    "in_user_namespace",
    "join_namespaces",
    "needs_user_namespace",
]

_CAP_SYS_ADMIN: Final = 21


def has_capability(number: int) -> bool:
    """Tell whether a capability is in this process's effective set."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def needs_user_namespace() -> bool:
    """Tell whether namespaces are only to be had inside a user namespace of our own."""
    return not has_capability(_CAP_SYS_ADMIN)


def in_user_namespace() -> bool:
    """Tell whether this process is in a user namespace with fewer ids than the host's: then ids here are not real."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        first, outside, count = file.readline().split()
    return not (first == outside == "0" and int(count) > 1 << 31)


def create_namespaces(uids: str = "", gids: str = "") -> None:
    """Leave the host: own mount, network, IPC and UTS namespaces, and a user namespace unless this is real root.

    uids, gids  subordinate ranges `FIRST:COUNT` that become ids 1…COUNT inside, by newuidmap(1) and newgidmap(1); our
                own id is 0. Empty: id 0 is the only one.
    """
    if needs_user_namespace():
        _enter_user_namespace(uids, gids)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)


def join_namespaces(pid: int) -> None:
    """Enter the namespaces whose descriptors a sandbox's first process holds (see `launching.FIRST_KEPT_FD`)."""
    fds = [os.open(f"/proc/{pid}/fd/{FIRST_KEPT_FD + index}", os.O_RDONLY) for index in range(len(KEPT_KINDS))]
    try:
        for kind, fd in zip(KEPT_KINDS, fds, strict=True):
            if os.fstat(fd).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
                syscalls.setns(fd, 0)
    finally:
        for fd in fds:
            os.close(fd)


def _enter_user_namespace(uids: str, gids: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    reader, writer = os.pipe()
    helper = os.fork() if uids and gids else 0
    if uids and gids and helper == 0:  # the helper stays outside: newuidmap(1) must be run by the owner, from there
        os._exit(_map_ranges(reader, writer, os.getppid(), (uid, uids), (gid, gids)))
    os.close(reader)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.close(writer)
    if helper and os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1]) == 0:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        return
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")


def _map_ranges(reader: int, writer: int, pid: int, *ranges: tuple[int, str]) -> int:
    """Run in the helper: wait until the parent has its new user namespace, then map both ranges. Return 0 if done."""
    os.close(writer)
    os.read(reader, 1)
    for command, (own, subordinate) in zip(("newuidmap", "newgidmap"), ranges, strict=True):
        first, _, count = subordinate.partition(":")
        with suppress(OSError):
            done = subprocess.run(
                [command, str(pid), "0", str(own), "1", "1", first, count], capture_output=True, check=False
            )
            if done.returncode == 0:
                continue
        return 1
    return 0
