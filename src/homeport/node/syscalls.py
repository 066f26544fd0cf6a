"""The few system calls Python's standard library lacks, and what `/proc` says about a process.

Nothing but the standard library is imported here: the namespace keeper, which lives as long as the cluster, runs on it.
Every function raises OSError with the kernel's errno.
"""

import ctypes
import fcntl
import os
import socket
import struct
from typing import Final

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MNT_DETACH",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "MS_SLAVE",
    "become_subreaper",
    "boot_id",
    "loopback_up",
    "mount",
    "open_in_root",
    "same_process",
    "set_hostname",
    "setns",
    "start_ticks",
    "sync_filesystem",
    "umount",
    "unshare",
]

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_SLAVE: Final = 1 << 19
MNT_DETACH: Final = 2

_SYS_OPENAT2: Final = 437  # the same number on every architecture
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_IN_ROOT: Final = 0x10

_PR_SET_CHILD_SUBREAPER: Final = 36
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open `path` as a process with directory `root` as its root would: no link, `..` or magic link leads out of it.

    openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS; the descriptor closes on exec.
    """
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    fd: int = _libc.syscall(ctypes.c_long(_SYS_OPENAT2), root, os.fsencode(path), how, ctypes.c_size_t(len(how)))
    if fd < 0:
        _check(fd, path)
    return fd


def sync_filesystem(fd: int) -> None:
    """Write everything of the file system `fd` is on to the disk (syncfs(2))."""
    _check(_libc.syncfs(fd), "syncfs")


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones (unshare(2))."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, kinds: int) -> None:
    """Join the namespaces `kinds` of a pidfd, or the one namespace `fd` stands for (setns(2))."""
    _check(_libc.setns(fd, kinds), f"setns {kinds:#x}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount (mount(2)); paths are resolved by the kernel, so `/proc/self/fd/N` works for any of them."""
    result = _libc.mount(
        os.fsencode(source) or None,
        os.fsencode(target),
        os.fsencode(kind) or None,
        ctypes.c_ulong(flags),
        os.fsencode(options) or None,
    )
    _check(result, target)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """Unmount, lazily unless told otherwise (umount2(2))."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace."""
    socket.sethostname(name)


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent dies (prctl(2))."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER")


def loopback_up() -> None:
    """Bring `lo` of this network namespace up, which gives it 127.0.0.1 and ::1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def start_ticks(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot; None when there is none, or only a zombie.

    Together with the pid and the boot id this names a process for ever (proc(5), `stat` field 22).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def same_process(pid: int, ticks: int) -> bool:
    """Tell whether `pid` is still the process that started at `ticks`."""
    return pid > 0 and start_ticks(pid) == ticks


def boot_id() -> str:
    """Return the random id of this boot: a recorded pid of another boot means nothing."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
