"""Starting a program without forking the keeper: it goes where the program shall be, spawns it there, and comes back.

`posix_spawn` (a vfork) copies no page tables and runs none of our code in the child, which is several times cheaper
than fork and exec. What the child would have done on its way, the keeper does to itself, being of one thread: it enters
the namespaces and the cgroups, which are inherited, and leaves them again whatever happens.

Standard library only, like everything the namespace keeper runs on.
"""

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from homeport.node import syscalls
from homeport.node.own_cgroup import home_of

__all__ = ["DEFAULT_SIGNALS", "Stranded", "settle", "spawn_there"]

DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
"""What the keeper, or Python, handles or ignores and no program shall inherit."""


class Stranded(RuntimeError):
    """The way back failed. Whoever hears this must end: it is no longer where its work is."""


def spawn_there(
    argv: Sequence[str],
    env: Mapping[str, str],
    targets: Mapping[int, int],
    *,
    program: int | None = None,
    unshare: int = 0,
    home: Mapping[int, int] | None = None,
    hostname: str = "",
    sysctls: Mapping[str, str] | None = None,
    cgroups: Sequence[str] = (),
) -> int:
    """Start a program in a session of its own and return its pid. Raises OSError with nothing started, or Stranded.

    targets   number in the program → descriptor; everything else closes on exec
    program   an open file to execute in the place of `argv[0]`
    unshare   flags of the namespaces to be new
    home      for each of these flags a descriptor of the namespace to come back to
    cgroups   `cgroup.procs` files to enter; the caller has asked `home_of` about each
    """
    with ExitStack() as stack:
        above = max((*targets, *targets.values(), -1 if program is None else program)) + 1
        moved = {target: _dup_above(source, above, stack) for target, source in targets.items()}
        executable = _resolve(argv[0], env) if program is None else f"/proc/self/fd/{_dup_above(program, above, stack)}"
        for procs in cgroups:
            stack.enter_context(_in_cgroup(procs))
        if unshare:
            stack.enter_context(_in_new_namespaces(unshare, home or {}))
            settle(unshare, hostname, sysctls or {})
        stack.callback(os.umask, os.umask(0o022))
        return os.posix_spawn(
            executable,
            list(argv),
            dict(env),
            file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in moved.items()],
            setsid=True,
            setsigmask=(),
            setsigdef=DEFAULT_SIGNALS,
        )


def settle(unshare: int, hostname: str, sysctls: Mapping[str, str]) -> None:
    """Make the new namespaces what the program expects to find."""
    if unshare & syscalls.CLONE_NEWNET:
        syscalls.loopback_up()
    if hostname and unshare & syscalls.CLONE_NEWUTS:
        syscalls.set_hostname(hostname)
    for key, value in sysctls.items():
        with open("/proc/sys/" + key.replace(".", "/"), "w", encoding="utf-8") as file:
            file.write(value)


@contextmanager
def _in_new_namespaces(flags: int, home: Mapping[int, int]) -> Iterator[None]:
    syscalls.unshare(flags)
    try:
        yield
    finally:
        for flag, descriptor in home.items():
            if flag & flags:
                with _back():
                    syscalls.setns(descriptor, flag)


@contextmanager
def _in_cgroup(procs: str) -> Iterator[None]:
    back = home_of(procs)
    if back is None:
        raise OSError(f"no way back from {procs}")
    with open(back, "wb", buffering=0) as home, open(procs, "wb", buffering=0) as group:
        group.write(b"0")
        try:
            yield
        finally:
            with _back():
                home.write(b"0")


@contextmanager
def _back() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Stranded(str(error)) from error


def _resolve(name: str, env: Mapping[str, str]) -> str:
    """Return the file `name` means by the program's own PATH (execvp(3)); the name itself when there is none."""
    if "/" not in name:
        for folder in env.get("PATH", os.defpath).split(":"):
            path = os.path.join(folder or ".", name)
            if os.access(path, os.X_OK):
                return path
    return name


def _dup_above(source: int, lowest: int, stack: ExitStack) -> int:
    copy: int = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, lowest)
    stack.callback(os.close, copy)
    return copy
