"""Starting one program inside the keeper's namespaces: what is asked, and the steps between fork and exec.

Standard library only, like everything the namespace keeper runs on. The child's failures travel back through a
close-on-exec pipe, so a launch either succeeded, exec included, or raises `LaunchFailed` with the reason.
"""

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeport.node import syscalls

__all__ = ["FIRST_KEPT_FD", "Launch", "LaunchFailed", "spawn"]

FIRST_KEPT_FD: Final = 200
"""A sandbox's first process keeps the keeper's namespaces open, from this descriptor on (`unsharing.KINDS`)."""

_NEW = {"net": syscalls.CLONE_NEWNET, "ipc": syscalls.CLONE_NEWIPC, "uts": syscalls.CLONE_NEWUTS}


class LaunchFailed(Exception):
    """The program was not started; the text says which step failed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One program to start.

    name      by which exits are announced
    stdio     paths for stdin (a FIFO, its end withheld until `hang_up`), stdout, stderr (opened read-write: a FIFO
              neither blocks nor breaks); None: /dev/null
    log       a file that stdout and stderr are appended to, where `stdio` names none
    fds       numbers that the descriptors sent along get in the program
    exit      where the end is recorded: JSON with pid, code, signal, time
    pid_file  the program detaches a process and writes its pid here: that process is the one reported
    console   a Unix socket path on which the program (a runtime) delivers the terminal's master side
    cgroups   `cgroup.procs` files to enter first
    unshare   namespaces to be new: `net`, `ipc`, `uts`, `pid`
    keep      keep descriptors of the keeper's own namespaces open, so that they outlive it
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    stdio: Sequence[str | None] = (None, None, None)
    log: str = ""
    fds: Sequence[int] = ()
    exit: str = ""
    pid_file: str = ""
    console: str = ""
    cgroups: Sequence[str] = ()
    unshare: Sequence[str] = ()
    hostname: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Launch":
        return cls(**{name: tree[name] for name in cls.__slots__ if name in tree})

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}


def spawn(launch: Launch, stdio: Sequence[int], passed: Sequence[int], kept: Sequence[int]) -> int:
    """Start the program and return its pid; the caller becomes its parent. Raises LaunchFailed.

    stdio   three open descriptors
    passed  descriptors for `launch.fds`, in that order
    kept    the keeper's namespace descriptors, used when `launch.keep`
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            _become(launch, stdio, passed, kept, writer)
        except BaseException as error:
            _say(writer, f"error {_describe(error)}")
        finally:
            os._exit(127)
    os.close(writer)
    try:
        said = _read_all(reader)
    finally:
        os.close(reader)
    word, _, rest = said.partition(" ")
    if word == "pid":  # a new pid namespace: the program is the child's child, the child is gone
        os.waitpid(pid, 0)
        inner, _, trouble = rest.partition("\n")
        if trouble:
            raise LaunchFailed(trouble.removeprefix("error "))
        return int(inner)
    if word == "error":
        os.waitpid(pid, 0)
        raise LaunchFailed(rest)
    return pid


def _become(launch: Launch, stdio: Sequence[int], passed: Sequence[int], kept: Sequence[int], writer: int) -> None:
    """Run in the child: turn it into the program. Returns only by exec or exception."""
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # A sandbox's first process may be init of a pid namespace: ignoring SIGCHLD makes the kernel reap for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN if launch.keep else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    for path in launch.cgroups:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")
    if launch.unshare:
        _separate(launch, writer)
    os.chdir(launch.cwd)
    os.umask(0o022)
    targets: dict[int, int] = dict(enumerate(stdio))
    targets.update(zip(launch.fds, passed, strict=True))
    if launch.keep:
        targets.update(enumerate(kept, FIRST_KEPT_FD))
    _place(targets, writer)
    os.execvpe(launch.argv[0], list(launch.argv), dict(launch.env))


def _separate(launch: Launch, writer: int) -> None:
    flags = 0
    for name in launch.unshare:
        flags |= _NEW.get(name, 0)
    syscalls.unshare(flags)
    if "net" in launch.unshare:
        syscalls.loopback_up()
    if launch.hostname and "uts" in launch.unshare:
        syscalls.set_hostname(launch.hostname)
    for key, value in launch.sysctls.items():
        with open("/proc/sys/" + key.replace(".", "/"), "w", encoding="utf-8") as file:
            file.write(value)
    if "pid" in launch.unshare:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        inner = os.fork()
        if inner:
            _say(writer, f"pid {inner}\n")
            os._exit(0)


def _place(targets: Mapping[int, int], writer: int) -> None:
    """Give every descriptor its number, whatever overlaps; `writer` and the rest close on exec."""
    above = max((*targets, *targets.values(), writer)) + 1
    moved = {target: _dup_above(source, above) for target, source in targets.items()}
    if writer in targets:
        raise OSError(f"descriptor {writer} is taken")
    for target, source in moved.items():
        os.dup2(source, target, inheritable=True)
        os.close(source)


def _dup_above(source: int, lowest: int) -> int:
    return fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, lowest)


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _say(writer: int, text: str) -> None:
    os.write(writer, text.encode("utf-8", "replace"))


def _read_all(reader: int) -> str:
    chunks = []
    while chunk := os.read(reader, 65536):
        chunks.append(chunk)
    return b"".join(chunks).decode("utf-8", "replace")
