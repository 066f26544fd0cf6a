"""The namespace keeper: one tiny process that outlives the engine and holds everything its pods stand on.

It unshares the cluster's namespaces (or joins those a sandbox still keeps open), then does two things for whoever
connects to `<data>/run/holder.sock`: it starts programs inside, and it reports and records how they end. As
sub-reaper it inherits every process that loses its parent, so an exit code survives an agent that was away.

Messages are JSON, one per SOCK_SEQPACKET record. A request `{"id", "op", …}` is answered `{"id", …}`, with `error` if
it failed:

    status                      → {pid, start, children: [{name, pid}]}
    launch  {Launch fields}     → {pid}; descriptors for `fds` travel as SCM_RIGHTS
    console {name}              → {} with the terminal's master side as SCM_RIGHTS
    hang_up {name}              → {}: let the program see the end of its standard input
    forget  {name}              → {}: close what is kept open for that name (FIFOs, terminal)
    stop    {}                  → {}: end; children are killed

and everyone hears `{"event": "exit", "name", "pid", "code", "signal", "time"}`.

Standard library only: started as `python -S -E -s -c …` it stays at a few MB.
"""

import argparse
import errno
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from homeport.clock import Clock, WallClock
from homeport.node import syscalls
from homeport.node.launching import KEPT_KINDS, Launch, LaunchFailed, spawn
from homeport.node.sealing import SealedPrograms
from homeport.node.unsharing import create_namespaces, join_namespaces
from homeport.unix_sockets import bound

__all__ = ["RECORD", "SOCKET", "Keeper", "main", "write_atomically"]

SOCKET: Final = "holder.sock"
RECORD: Final = "holder.json"
MAX_MESSAGE: Final = 200_000  # bytes; below the kernel's default socket buffer (212,992)
_REMEMBERED_ORPHANS: Final = 256


@dataclass(slots=True)
class Child:
    """A process started here, or detached by one started here, whose end somebody wants to know."""

    name: str
    pid: int
    exit: str = ""
    pid_file: str = ""
    reply_to: tuple["Peer", int] | None = None


@dataclass(slots=True)
class Kept:
    """What stays open for a name until `forget`: FIFOs that must not lose their content, a terminal."""

    fds: list[int] = field(default_factory=list)
    stdin: int | None = None
    console: int | None = None
    listener: socket.socket | None = None


class Peer:
    """One connected client. A peer that does not read is dropped: everything it misses is on disk or in `status`."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> bool:
        """Send one record; False when the peer is gone or does not keep up."""
        data = json.dumps(message).encode()
        try:
            if fds:
                socket.send_fds(self.connection, [data], list(fds))
            else:
                self.connection.send(data)
        except OSError:
            return False
        return True


class Keeper:
    """The event loop: one poll over the socket, its peers, consoles and SIGCHLD."""

    def __init__(self, run: Path, clock: Clock) -> None:
        self.run_directory = run
        self.clock = clock
        self.children: dict[int, Child] = {}
        self.kept: dict[str, Kept] = {}
        self.orphans: dict[int, tuple[int, float]] = {}
        self.peers: dict[int, Peer] = {}
        self.consoles: dict[int, str] = {}
        self.stopping = False
        self.namespaces = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in KEPT_KINDS]
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.sealed = SealedPrograms()
        self.poll = select.poll()

    def listen(self) -> socket.socket:
        """Return the socket clients connect to."""
        listener = bound(self.run_directory / SOCKET, socket.SOCK_SEQPACKET)
        listener.listen(16)
        listener.setblocking(False)
        return listener

    def serve(self, listener: socket.socket) -> None:
        """Work until told to stop."""
        wake, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for fd in (listener.fileno(), wake):
            self.poll.register(fd, select.POLLIN)
        self.reap()
        while not self.stopping:
            for fd, _ in self.poll.poll():
                if fd == wake:
                    os.read(wake, 4096)
                    self.reap()
                elif fd == listener.fileno():
                    self.accept(listener)
                elif fd in self.consoles:
                    self.receive_console(fd)
                elif fd in self.peers:
                    self.receive(fd)
        self.end()

    def accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED):
                return
            raise
        connection.setblocking(False)
        self.peers[connection.fileno()] = Peer(connection)
        self.poll.register(connection.fileno(), select.POLLIN)

    def drop(self, fd: int) -> None:
        peer = self.peers.pop(fd, None)
        if peer is not None:
            self.poll.unregister(fd)
            peer.connection.close()

    def receive(self, fd: int) -> None:
        peer = self.peers[fd]
        try:
            data, fds, flags, _ = socket.recv_fds(peer.connection, MAX_MESSAGE + 1, 16)
        except BlockingIOError:
            return
        except OSError:
            data, fds, flags = b"", [], 0
        try:
            if not data or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                self.drop(fd)
                return
            request = json.loads(data)
            answer, attached = self.answer(peer, request, fds)
            if answer is not None and not peer.send({"id": request["id"], **answer}, attached):
                self.drop(fd)
        finally:
            for descriptor in fds:
                os.close(descriptor)

    def answer(
        self, peer: Peer, request: Mapping[str, Any], fds: Sequence[int]
    ) -> tuple[dict[str, Any] | None, Sequence[int]]:
        """Return the reply and the descriptors that go with it; None when it comes later."""
        match request.get("op"):
            case "status":
                return self.status(), ()
            case "launch":
                try:
                    child = self.launch(Launch.from_json(request), fds)
                except (LaunchFailed, OSError) as error:
                    return {"error": str(error)}, ()
                if child.pid_file:
                    child.reply_to = (peer, request["id"])
                    return None, ()
                return {"pid": child.pid}, ()
            case "console":
                kept = self.kept.get(request["name"])
                if kept is None or kept.console is None:
                    return {"error": "no terminal"}, ()
                return {}, (kept.console,)
            case "hang_up":
                self.hang_up(request["name"])
                return {}, ()
            case "forget":
                self.forget(request["name"])
                return {}, ()
            case "stop":
                self.stopping = True
                return {}, ()
            case other:
                return {"error": f"unknown operation {other!r}"}, ()

    def status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "start": syscalls.start_ticks(os.getpid()),
            "children": [{"name": child.name, "pid": child.pid} for child in self.children.values()],
        }

    def launch(self, launch: Launch, fds: Sequence[int]) -> Child:
        """Start a program and remember it. Raises LaunchFailed or OSError."""
        kept = Kept()
        stdio: list[int] = []
        log = -1
        try:
            if launch.log:
                log = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            for number, path in enumerate((*launch.stdio, None, None, None)[:3]):
                if path is None:
                    stdio.append(log if log >= 0 and number else self.null)
                elif number == 0:
                    kept.fds.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY))
                    os.set_blocking(kept.fds[-1], True)
                    kept.stdin = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
                    stdio.append(kept.fds[-1])
                else:
                    kept.fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
                    stdio.append(kept.fds[-1])
            if launch.console:
                self.expect_console(launch, kept)
            program = self.sealed.find(launch.argv[0]) if launch.sealed else None
            pid = spawn(launch, stdio, fds, self.namespaces, program)
        except BaseException:
            self.close_kept(kept)
            raise
        finally:
            if log >= 0:
                os.close(log)
        if kept.fds or kept.listener:
            self.forget(launch.name)
            self.kept[launch.name] = kept
        child = Child(launch.name, pid, launch.exit, launch.pid_file)
        self.children[pid] = child
        return child

    def expect_console(self, launch: Launch, kept: Kept) -> None:
        listener = kept.listener = bound(Path(launch.console))
        listener.listen(1)
        self.consoles[listener.fileno()] = launch.name
        self.poll.register(listener.fileno(), select.POLLIN)

    def receive_console(self, fd: int) -> None:
        kept = self.kept.get(self.consoles[fd])
        if kept is None or kept.listener is None:
            return
        connection, _ = kept.listener.accept()
        with connection:
            connection.settimeout(1)  # the runtime sends at once; it must not hold up everybody else
            try:
                _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            except OSError:
                fds = []
        if fds:
            os.set_inheritable(fds[0], False)
            kept.console = fds[0]
        self.close_listener(kept)

    def close_listener(self, kept: Kept) -> None:
        if kept.listener is not None:
            self.consoles.pop(kept.listener.fileno(), None)
            self.poll.unregister(kept.listener.fileno())
            kept.listener.close()
            kept.listener = None

    def close_kept(self, kept: Kept) -> None:
        for fd in kept.fds:
            os.close(fd)
        for end in (kept.stdin, kept.console):
            if end is not None:
                os.close(end)
        self.close_listener(kept)

    def hang_up(self, name: str) -> None:
        kept = self.kept.get(name)
        if kept is not None and kept.stdin is not None:
            os.close(kept.stdin)
            kept.stdin = None

    def forget(self, name: str) -> None:
        kept = self.kept.pop(name, None)
        if kept is not None:
            self.close_kept(kept)

    def reap(self) -> None:
        """Collect every process that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended(pid, status, self.clock.now())

    def ended(self, pid: int, status: int, now: float) -> None:
        child = self.children.pop(pid, None)
        if child is None:  # inherited; it may turn out to be what a runtime has just detached
            self.orphans[pid] = (status, now)
            if len(self.orphans) > _REMEMBERED_ORPHANS:
                del self.orphans[next(iter(self.orphans))]
        elif child.pid_file:
            self.detached(child, status)
        else:
            self.record(child, status, now)

    def detached(self, launcher: Child, status: int) -> None:
        """A runtime has returned: register the process it left behind, and answer whoever asked for it."""
        code = os.waitstatus_to_exitcode(status)
        answer: dict[str, Any] = {"error": f"exit status {code}"}
        if code == 0:
            try:
                pid = int(Path(launcher.pid_file).read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                answer = {"error": f"no pid: {error}"}
            else:
                answer = {"pid": pid}
                self.children[pid] = Child(launcher.name, pid, launcher.exit)
        if "error" in answer:
            self.forget(launcher.name)
        if launcher.reply_to is not None:
            peer, request_id = launcher.reply_to
            peer.send({"id": request_id, **answer})
        early = self.orphans.pop(answer["pid"], None) if "pid" in answer else None
        if early is not None:
            self.ended(answer["pid"], *early)

    def record(self, child: Child, status: int, now: float) -> None:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        end = {"name": child.name, "pid": child.pid, "code": code, "signal": number, "time": now}
        if child.exit:
            try:
                write_atomically(Path(child.exit), json.dumps(end))
            except OSError as error:  # the directory may be gone: nobody wants to know any more
                print(f"exit of {child.name} not recorded: {error}", file=sys.stderr, flush=True)
        for fd, peer in list(self.peers.items()):
            if not peer.send({"event": "exit", **end}):
                self.drop(fd)

    def end(self) -> None:
        """Kill what was started here, and what a runtime killed half-way leaves behind, until nothing is left."""
        while True:
            for pid in {*self.children, *own_children()}:
                os.kill(pid, signal.SIGKILL)
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            self.ended(pid, status, self.clock.now())
            self.reap()
        for name in (SOCKET, RECORD):
            (self.run_directory / name).unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def own_children() -> list[int]:
    """Return our children, inherited ones with them; none where the kernel does not list them (proc(5), `children`)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def raise_file_limit() -> None:
    """Take all the descriptors we may have: FIFOs of many containers stay open, and containers inherit the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(argv: Sequence[str] | None = None) -> None:
    """Become the keeper: `--run DIR --ready FD [--join PID | --here] [--uids FIRST:COUNT --gids FIRST:COUNT]`.

    One JSON line on descriptor `ready` says how it went: `{"pid", "start"}` or `{"error"}`.
    """
    parser = argparse.ArgumentParser(prog="homeport-holder")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--ready", type=int, required=True)
    parser.add_argument("--join", type=int)
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--uids", default="")
    parser.add_argument("--gids", default="")
    options = parser.parse_args(argv)
    if os.fork():
        os._exit(0)  # nobody's child: it outlives whoever started it
    with open(options.ready, "w", encoding="utf-8") as ready:
        try:
            if options.join:
                join_namespaces(options.join)
            elif not options.here:
                create_namespaces(options.uids, options.gids)
            syscalls.become_subreaper()
            raise_file_limit()
            keeper = Keeper(options.run, WallClock())
            listener = keeper.listen()
            record = {"pid": os.getpid(), "start": syscalls.start_ticks(os.getpid()), "boot": syscalls.boot_id()}
            write_atomically(options.run / RECORD, json.dumps(record))
        except OSError as error:
            ready.write(json.dumps({"error": str(error)}) + "\n")
            raise SystemExit(1) from error  # the starter reads the line, not the status
        ready.write(json.dumps(record) + "\n")
    keeper.serve(listener)
