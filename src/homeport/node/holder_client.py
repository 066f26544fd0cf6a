"""The engine's side of the namespace keeper: start one (or find the living one) and ask it to start programs."""

import asyncio
import getpass
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import homeport
from homeport.node.holder import MAX_MESSAGE, SOCKET
from homeport.node.launching import Launch, LaunchFailed
from homeport.node.namespaces import Holder, find_holder, wait_for_end
from homeport.unix_sockets import connected, short

__all__ = ["Ended", "HolderClient", "HolderGone", "ensure_holder", "subordinate_range"]

_BOOTSTRAP: Final = "import sys; sys.path.insert(0, sys.argv.pop(1)); from homeport.node.holder import main; main()"
_FLAGS: Final = ("-S", "-E", "-s", "-c", _BOOTSTRAP)


class HolderGone(Exception):
    """The keeper does not answer any more; what it started lives on. Start one again with `ensure_holder`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process the keeper had started is over; `code` is 128 + signal for death by signal."""

    name: str
    pid: int
    code: int
    signal: int
    time: float


async def ensure_holder(run: Path, log: Path, *, join: Sequence[int] = (), here: bool = False) -> Holder:
    """Return the living keeper of `run` (`<data>/run`), starting one when there is none. Raises OSError.

    join  pids of sandboxes that may still live from an earlier keeper: the first that answers gives back the old
          namespaces. With none, new namespaces are made.
    here  the caller is inside the namespaces already: the new keeper stays in them
    """
    holder = find_holder(run)
    if holder is not None and await asyncio.to_thread(_answers, run, holder):
        return holder
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if here:
        return await asyncio.to_thread(_start, run, log, ["--here"])
    trouble = ""
    for pid in join:
        try:
            return await asyncio.to_thread(_start, run, log, ["--join", str(pid)])
        except OSError as error:
            trouble = str(error)
    if trouble:
        raise OSError(f"the living sandboxes' namespaces cannot be joined: {trouble}")
    uids, gids = subordinate_range("/etc/subuid"), subordinate_range("/etc/subgid")
    ranges = ["--uids", uids, "--gids", gids] if uids and gids else []
    return await asyncio.to_thread(_start, run, log, ranges)


def _answers(run: Path, holder: Holder) -> bool:
    """Tell whether the keeper still listens; when it does not it is dying, and this waits for its end."""
    try:
        connected(run / SOCKET, socket.SOCK_SEQPACKET).close()
    except (ConnectionRefusedError, FileNotFoundError):
        wait_for_end(holder.pid)
        return False
    return True


def _start(run: Path, log: Path, options: Sequence[str]) -> Holder:
    source = Path(homeport.__file__).parent.parent
    reader, writer = os.pipe()
    try:
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [sys.executable, *_FLAGS, str(source), "--run", str(run.absolute()), "--ready", str(writer), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[writer],
                start_new_session=True,
                cwd="/",
            )
    finally:
        os.close(writer)
    with open(reader, encoding="utf-8") as ready:
        said = ready.readline()
    process.wait()  # it forks at once: the keeper is nobody's child
    answer = json.loads(said) if said else {"error": f"the namespace keeper did not start, see {log}"}
    if "error" in answer:
        raise OSError(answer["error"])
    return Holder.from_json(answer)


def subordinate_range(path: str) -> str:
    """Return our range in /etc/subuid or /etc/subgid as `FIRST:COUNT`; empty when there is none (subuid(5))."""
    names = {str(os.geteuid())}
    with suppress(KeyError, OSError):
        names.add(getpass.getuser())
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                name, _, rest = line.strip().partition(":")
                first, _, count = rest.partition(":")
                if name in names and first.isdigit() and count.isdigit():
                    return rest
    except OSError:
        return ""
    return ""


class HolderClient:
    """One connection to the keeper, on the running event loop.

    on_end   called for every `Ended`, in order
    on_gone  called once when the connection is lost
    """

    def __init__(self, on_end: Callable[[Ended], None], on_gone: Callable[[], None]) -> None:
        self._on_end, self._on_gone = on_end, on_gone
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._numbers = itertools.count(1)
        self._sending = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def connect(self, run: Path) -> None:
        """Connect to the keeper of `run`. Raises OSError when none listens."""
        with short(run / SOCKET) as name:
            self._socket.connect(name)
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Let go; the keeper and all it started stay."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        self._socket.close()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(HolderGone("the namespace keeper is gone"))

    async def launch(self, launch: Launch, fds: Sequence[int] = ()) -> int:
        """Start a program and return its pid; with `pid_file`, the pid of what it detached.

        Raises LaunchFailed, HolderGone.
        """
        answer, _ = await self._ask({"op": "launch", **launch.as_json()}, fds)
        return int(answer["pid"])

    async def status(self) -> Mapping[str, Any]:
        """Return the keeper's own account: pid, start, children."""
        return (await self._ask({"op": "status"}))[0]

    async def console(self, name: str) -> int | None:
        """Return a new descriptor of the terminal's master side; None when there is none."""
        try:
            _, fds = await self._ask({"op": "console", "name": name})
        except LaunchFailed:
            return None
        return fds[0] if fds else None

    async def hang_up(self, name: str) -> None:
        """Let the program see the end of its standard input, once every other writer has closed it too."""
        await self._ask({"op": "hang_up", "name": name})

    async def forget(self, name: str) -> None:
        """Let the keeper close what it holds open for `name`."""
        await self._ask({"op": "forget", "name": name})

    async def stop(self) -> None:
        """End the keeper and kill every process it is the parent of; its namespaces go with the last of them."""
        await self._ask({"op": "stop"})

    async def _ask(self, message: dict[str, Any], fds: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        if self._loop is None:
            raise HolderGone("the namespace keeper is gone")
        number = next(self._numbers)
        data = json.dumps({"id": number, **message}).encode()
        if len(data) > MAX_MESSAGE:
            raise LaunchFailed(f"request of {len(data)} bytes exceeds {MAX_MESSAGE}")
        future: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        self._waiting[number] = future
        try:
            await self._send(data, fds)
            answer, received = await future
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise LaunchFailed(answer["error"])
        return answer, received

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        async with self._sending:
            while True:
                try:
                    socket.send_fds(self._socket, [data], list(fds))
                    return
                except BlockingIOError:
                    await self._writable()
                except OSError as error:
                    raise HolderGone(str(error)) from error

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self._socket.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, MAX_MESSAGE + 1, 16)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self.close()
            self._on_gone()
            return
        for fd in fds:
            os.set_inheritable(fd, False)
        message = json.loads(data)
        if message.get("event") == "exit":
            self._on_end(Ended(*(message[name] for name in ("name", "pid", "code", "signal", "time"))))
            return
        future = self._waiting.get(message["id"])
        if future is None or future.done():
            for fd in fds:
                os.close(fd)
            return
        future.set_result((message, fds))
