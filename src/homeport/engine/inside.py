"""Run any program of the host in the cluster's network, with the cluster's resolver: `homeport run -- …`.

The child joins the network namespace (and, without root, the user namespace that owns it), gets a mount namespace of
its own in which `/etc/resolv.conf` names the cluster's DNS server, and turns into the program. Files, working
directory, environment, standard streams, user and group are those of the caller. The host sees none of it.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from homeport.node import syscalls
from homeport.node.namespaces import Holder, enter

__all__ = ["InsideError", "plain_hosts", "resolver_text", "run_inside"]

_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_NSSWITCH: Final = Path("/etc/nsswitch.conf")
_NAME_CACHES: Final = (Path("/run/nscd/socket"), Path("/var/run/nscd/socket"))
"""Where glibc would ask a daemon of the host before the resolver."""
_FORWARDED: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
"""The terminal sends these to the program itself; what becomes of us follows from what becomes of it."""


class InsideError(Exception):
    """The program was not started; the text names the step that failed and the remedy."""


def resolver_text(servers: Sequence[str], search: Sequence[str]) -> str:
    """Return a resolv.conf as pods have it: short names are tried with the cluster's suffixes first (§16.1)."""
    lines = [f"search {' '.join(search)}", *(f"nameserver {one}" for one in servers), "options ndots:5", ""]
    return "\n".join(lines)


def plain_hosts(nsswitch: str) -> str | None:
    """Return nsswitch.conf with host names from files and DNS alone, or None when it is like that already.

    `resolve` and `mdns*` answer from the host's point of view, some with a verdict that ends the search, and cluster
    names end in `.local`. Source: nsswitch.conf(5), nss-resolve(8).
    """
    lines = nsswitch.splitlines(keepends=True)
    for number, line in enumerate(lines):
        database, _, sources = line.partition(":")
        if database.strip() == "hosts":
            if set(sources.split("#")[0].split()) <= {"files", "dns", "myhostname"}:
                return None
            lines[number] = "hosts: files dns\n"
            return "".join(lines)
    return None


def run_inside(
    holder: Holder, argv: Sequence[str], servers: Sequence[str], search: Sequence[str], *, privileged: bool = False
) -> int:
    """Run `argv` inside and return its exit code, 128 + n for death by signal n. Raises InsideError.

    privileged  without root: run as id 0 of the cluster's user namespace, with capabilities over its network, as a
                packet sniffer needs. Otherwise the program sees its own user, and has none.

    For the main thread of a process: signals are passed on while the program runs.
    """
    if not argv:
        raise InsideError("no command given")
    sys.stdout.flush()
    sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*_FORWARDED, *_FROM_TERMINAL))  # until we can pass them on
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        with _files(resolver_text(servers, search), _nsswitch()) as files:
            pid = os.fork()
            if pid == 0:
                _become(holder, argv, files, privileged, mask, writer)
            os.close(writer)
            with open(reader, encoding="utf-8") as trouble:
                said = trouble.read()  # ends when the program starts: the pipe closes on exec
        if said:
            os.waitpid(pid, 0)
            raise InsideError(json.loads(said))
        with _signals_passed_on(pid):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return _wait(pid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _nsswitch() -> str | None:
    try:
        return plain_hosts(_NSSWITCH.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None


@contextmanager
def _files(resolver: str, nsswitch: str | None) -> Iterator[list[tuple[Path, Path]]]:
    """Write the files to bind, as (source, target); once bound they need no name any more."""
    with tempfile.TemporaryDirectory(prefix="homeport-run-") as name:
        pairs: list[tuple[Path, Path]] = []
        for target, text in ((_RESOLV_CONF, resolver), (_NSSWITCH, nsswitch)):
            if text is not None:
                source = Path(name, target.name)
                source.write_text(text, encoding="utf-8", errors="surrogateescape")
                source.chmod(0o644)
                pairs.append((source, target))
        yield pairs


def _become(
    holder: Holder,
    argv: Sequence[str],
    files: Sequence[tuple[Path, Path]],
    privileged: bool,
    mask: Iterable[int],
    writer: int,
) -> None:
    """Turn this fresh child into the program, or report on `writer` and end with 127. Never returns."""
    step = "start"
    try:
        uid, gid = os.geteuid(), os.getegid()
        step = "enter the cluster's network (was the cluster started by another user?)"
        enter(holder, user=True, mount=False, net=True)
        step = "make a private view of files"
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
        for source, target in files:
            step = f"replace {target} (it must exist, if only empty)"
            syscalls.mount(str(source), os.path.realpath(target), flags=syscalls.MS_BIND)
        for cache in _NAME_CACHES:
            if cache.exists():
                step = f"hide {cache}"
                syscalls.mount("/dev/null", os.path.realpath(cache), flags=syscalls.MS_BIND)
        if os.geteuid() != uid and not privileged:
            step = "become the calling user again"
            _resume_identity(uid, gid)
        step = f"run {argv[0]}"
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores them; programs expect them
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(argv[0], list(argv))
    except BaseException as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        os.write(writer, json.dumps(f"cannot {step}: {reason}").encode())
    finally:
        os._exit(127)


def _resume_identity(uid: int, gid: int) -> None:
    """Map id 0 of the cluster's user namespace to the caller's own ids, in one more user namespace."""
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{gid} 0 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")


@contextmanager
def _signals_passed_on(pid: int) -> Iterator[None]:
    """While inside, signals meant for the command reach the program. Handlers are put back afterwards."""

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(pid, number)

    wanted: list[tuple[int, Callable[[int, FrameType | None], Any] | signal.Handlers]] = [
        *((number, forward) for number in _FORWARDED),
        *((number, signal.SIG_IGN) for number in _FROM_TERMINAL),
    ]
    before = [(number, signal.signal(number, handler)) for number, handler in wanted]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _wait(pid: int) -> int:
    """Return the exit code; stop with the program when the terminal stops it, and wake it when we are woken."""
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code
        os.kill(os.getpid(), signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
