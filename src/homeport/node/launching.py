"""Starting one program inside the keeper's namespaces: what is asked, and the steps between fork and exec.

Most programs are spawned without a fork (`spawning`). What the keeper must not do to itself is left to a forked child:
to enter a cgroup with a memory limit, where it might be killed for others' want of memory, or a new pid namespace. The
child's failures travel back through a close-on-exec pipe, so a launch either succeeded, exec included, or raises
`LaunchFailed` with the reason.

Standard library only, like everything the namespace keeper runs on.
"""

import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from homeport.node import syscalls
from homeport.node.own_cgroup import home_of
from homeport.node.spawning import DEFAULT_SIGNALS, settle, spawn_there

__all__ = ["FIRST_KEPT_FD", "KEPT_KINDS", "Launch", "LaunchFailed", "spawn"]

FIRST_KEPT_FD: Final = 200
"""A sandbox's first process keeps the keeper's namespaces open, from this descriptor on."""

KEPT_KINDS: Final = ("user", "mnt", "net", "ipc", "uts")
"""The keeper's namespaces, in the order their descriptors are handed to a sandbox's first process."""

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
    bounded   one of them limits memory
    sealed    execute a sealed copy of the program (`sealing`)
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
    bounded: bool = False
    sealed: bool = False
    unshare: Sequence[str] = ()
    hostname: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Launch":
        return cls(**{name: tree[name] for name in cls.__slots__ if name in tree})

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}


def spawn(
    launch: Launch, stdio: Sequence[int], passed: Sequence[int], kept: Sequence[int], program: int | None = None
) -> int:
    """Start the program and return its pid; the caller becomes its parent. Raises LaunchFailed.

    stdio    three open descriptors
    passed   descriptors for `launch.fds`, in that order
    kept     the keeper's namespace descriptors, in the order of `KEPT_KINDS`
    program  an open file to execute in the place of `launch.argv[0]`
    """
    targets = _targets(launch, stdio, passed, kept)
    if _must_fork(launch):
        return _fork(launch, targets, program)
    try:
        return spawn_there(
            launch.argv,
            launch.env,
            targets,
            program=program,
            unshare=_flags(launch),
            home={_NEW[kind]: fd for kind, fd in zip(KEPT_KINDS, kept, strict=True) if kind in _NEW},
            hostname=launch.hostname,
            sysctls=launch.sysctls,
            cgroups=launch.cgroups,
        )
    except OSError as error:
        raise LaunchFailed(_describe(error)) from error


def _flags(launch: Launch) -> int:
    """Return the namespaces to be new, but for that of pids: it begins with a child."""
    flags = 0
    for name in launch.unshare:
        flags |= _NEW.get(name, 0)
    return flags


def _must_fork(launch: Launch) -> bool:
    return (
        "pid" in launch.unshare
        or launch.cwd != "/"
        or launch.bounded
        or any(home_of(procs) is None for procs in launch.cgroups)
    )


def _targets(launch: Launch, stdio: Sequence[int], passed: Sequence[int], kept: Sequence[int]) -> dict[int, int]:
    """Return which descriptor each number stands for in the program."""
    targets = dict(enumerate(stdio))
    targets.update(zip(launch.fds, passed, strict=True))
    if launch.keep:
        targets.update(enumerate(kept, FIRST_KEPT_FD))
    return targets


def _fork(launch: Launch, targets: Mapping[int, int], program: int | None) -> int:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            _become(launch, targets, program, writer)
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


def _become(launch: Launch, targets: Mapping[int, int], program: int | None, writer: int) -> None:
    """Run in the child: turn it into the program. Returns only by exec or exception."""
    for number in DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if launch.keep:  # init of a pid namespace: ignoring SIGCHLD makes the kernel reap for it
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    for path in launch.cgroups:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")
    if launch.unshare:
        _separate(launch, writer)
    os.chdir(launch.cwd)
    os.umask(0o022)
    above = max((*targets, *targets.values(), writer, -1 if program is None else program)) + 1
    executable = launch.argv[0] if program is None else f"/proc/self/fd/{_dup_above(program, above)}"
    _place(targets, writer, above)
    os.execvpe(executable, list(launch.argv), dict(launch.env))


def _separate(launch: Launch, writer: int) -> None:
    flags = _flags(launch)
    syscalls.unshare(flags)
    settle(flags, launch.hostname, launch.sysctls)
    if "pid" in launch.unshare:
        syscalls.unshare(syscalls.CLONE_NEWPID)
        inner = os.fork()
        if inner:
            _say(writer, f"pid {inner}\n")
            os._exit(0)


def _place(targets: Mapping[int, int], writer: int, above: int) -> None:
    """Give every descriptor its number, whatever overlaps; `writer` and the rest close on exec."""
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
