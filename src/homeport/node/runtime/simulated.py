"""Containers that are only timers: a small working runtime and image store for tests and simulated worlds.

Behaviour is a function of the container's spec (`Script`), so whole clusters of crashing, slow or stubborn programs
run in virtual time. It keeps the promises of `runtime.contract`: what it holds survives any number of agents.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from homeport.clock import Clock, nano_time
from homeport.node.runtime.contract import (
    Container,
    ContainerSpec,
    ExecSession,
    ExecSpec,
    Exit,
    Image,
    ImageError,
    RuntimeFailure,
    Sandbox,
    SandboxSpec,
    Usage,
)

__all__ = [
    "ExecHandler",
    "Load",
    "SavedRuntime",
    "Script",
    "SimulatedExec",
    "SimulatedImages",
    "SimulatedRuntime",
    "by_container",
]


@dataclass(frozen=True, slots=True)
class Script:
    """What a simulated program does; times in seconds.

    runs_for     how long until it ends by itself with `code`; None: until stopped
    starts_in    how long the runtime takes to start it, besides its own time
    stop_after   from SIGTERM to its end with `stop_code`; None ignores the signal
    output       lines it prints when it starts
    cpu          thousandths of a processor it keeps busy
    memory       bytes it holds
    fails        raised instead of starting
    """

    runs_for: float | None = None
    code: int = 0
    stop_after: float | None = 0.0
    stop_code: int = 0
    output: tuple[str, ...] = ()
    fails: RuntimeFailure | None = None
    oom_killed: bool = False
    starts_in: float = 0.0
    cpu: int = 0
    memory: int = 0


class SimulatedExec:
    """Both ends of a command's streams: the contract's for the agent, `stdin` and `print…` for the handler."""

    def __init__(self) -> None:
        self.stdin: asyncio.Queue[bytes] = asyncio.Queue()
        self.sizes: list[tuple[int, int]] = []
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._err: asyncio.Queue[bytes] = asyncio.Queue()
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def print(self, data: bytes) -> None:
        self._out.put_nowait(data)

    def print_error(self, data: bytes) -> None:
        self._err.put_nowait(data)

    def end(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)
            self._out.put_nowait(b"")
            self._err.put_nowait(b"")

    async def write_stdin(self, data: bytes) -> None:
        self.stdin.put_nowait(data)

    async def close_stdin(self) -> None:
        self.stdin.put_nowait(b"")

    async def read_stdout(self) -> bytes:
        return await _read(self._out)

    async def read_stderr(self) -> bytes:
        return await _read(self._err)

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def kill(self) -> None:
        self.end(128 + signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)


async def _read(queue: asyncio.Queue[bytes]) -> bytes:
    data = await queue.get()
    if not data:
        queue.put_nowait(b"")  # the end stays the end
    return data


ExecHandler: TypeAlias = Callable[[ContainerSpec, ExecSpec, SimulatedExec], Awaitable[int]]


async def succeed(container: ContainerSpec, spec: ExecSpec, streams: SimulatedExec) -> int:
    """The default command: says nothing, succeeds."""
    return 0


@dataclass(frozen=True, slots=True)
class Load:
    """What a container uses from `since` (epoch seconds) on, and the processor time it had used before."""

    cpu: int
    memory: int
    since: float
    before: int = 0

    def used(self, now: float) -> int:
        """Return processor time in nanoseconds."""
        return self.before + round(max(0.0, now - self.since) * self.cpu * 1_000_000)


@dataclass(frozen=True, slots=True)
class SavedContainer:
    """A container at one moment; `ends` holds how many seconds later it ends, and with which code."""

    spec: ContainerSpec
    container: Container
    script: Script
    ends: tuple[tuple[float, int], ...]
    load: Load


@dataclass(frozen=True, slots=True)
class SavedRuntime:
    """All a runtime holds at one moment, to be continued by another one."""

    sandboxes: tuple[Sandbox, ...]
    containers: tuple[SavedContainer, ...]
    next_pid: int


class _Live:
    """A container with its timers, each with the code it ends with."""

    def __init__(self, spec: ContainerSpec, container: Container, script: Script) -> None:
        self.spec, self.container, self.script = spec, container, script
        self.load = Load(script.cpu, script.memory, container.started_at)
        self.timers: list[tuple[asyncio.TimerHandle, int]] = []
        self.sessions: dict[SimulatedExec, None] = {}

    def save(self, now: float) -> SavedContainer:
        ends = tuple((timer.when() - now, code) for timer, code in self.timers if not timer.cancelled())
        return SavedContainer(self.spec, self.container, self.script, ends, self.load)


class SimulatedRuntime:
    """The simulated side of `contract.Runtime`. `script` and `handler` may be replaced at any time."""

    name = "simulated"
    version = "1"

    def __init__(
        self,
        clock: Clock,
        script: Callable[[ContainerSpec], Script] = lambda spec: Script(),
        handler: ExecHandler = succeed,
        start_seconds: float = 0.0,
        first_pid: int = 1000,
    ) -> None:
        self.clock, self.script, self.handler = clock, script, handler
        self.start_seconds = start_seconds
        self._sandboxes: dict[str, Sandbox] = {}
        self._live: dict[str, _Live] = {}
        self._subscribers: dict[asyncio.Queue[Exit], None] = {}  # in order: a history repeats itself
        self._next_pid = first_pid

    def specs(self) -> Sequence[ContainerSpec]:
        """Return the spec of every container not removed, oldest first."""
        return [live.spec for live in self._live.values()]

    def sandbox_of(self, pid: int) -> Sandbox | None:
        """Return the running sandbox a process holds."""
        return next((one for one in self._sandboxes.values() if one.pid == pid and one.running), None)

    def is_running(self, container_id: str) -> bool:
        """Whether a container has been started and has not ended."""
        live = self._live.get(container_id)
        return live is not None and live.container.exit is None

    async def sandboxes(self, label: tuple[str, str] | None = None) -> Sequence[Sandbox]:
        return [one for one in self._sandboxes.values() if label is None or label in one.labels.items()]

    async def containers(self, label: tuple[str, str] | None = None) -> Sequence[Container]:
        known = (live.container for live in self._live.values())
        return [one for one in known if label is None or label in one.labels.items()]

    async def usage(self) -> Mapping[str, Usage]:
        now = self.clock.now()
        running = (live for live in self._live.values() if live.container.exit is None)
        return {live.spec.id: Usage(live.load.used(now), live.load.memory) for live in running}

    def total(self) -> Usage:
        """Return what all containers together have used and use, those that have ended included."""
        now = self.clock.now()
        used = sum(live.load.used(now) for live in self._live.values())
        return Usage(used, sum(live.load.memory for live in self._live.values() if live.container.exit is None))

    def set_load(self, container_id: str, cpu: int, memory: int) -> None:
        """Let a container use so many thousandths of a processor and bytes of memory from now on."""
        live, now = self._live[container_id], self.clock.now()
        live.load = Load(cpu, memory, now, live.load.used(now))

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        self._next_pid += 1
        sandbox = Sandbox(spec.id, self._next_pid, spec.labels, self.clock.now())
        self._sandboxes[spec.id] = sandbox
        return sandbox

    async def remove_sandbox(self, sandbox_id: str) -> None:
        for live in list(self._live.values()):
            if live.spec.sandbox_id == sandbox_id:
                self._end(live, 128 + signal.SIGKILL, signal.SIGKILL)
        self._sandboxes.pop(sandbox_id, None)

    def lose_sandbox(self, sandbox_id: str) -> None:
        """Let the process that holds the sandbox die, as a crash would, and all in it with it."""
        for live in list(self._live.values()):
            if live.spec.sandbox_id == sandbox_id:
                self._end(live, 128 + signal.SIGKILL, signal.SIGKILL)
        self._sandboxes[sandbox_id] = replace(self._sandboxes[sandbox_id], running=False)

    async def start_container(self, spec: ContainerSpec) -> Container:
        sandbox = self._sandboxes.get(spec.sandbox_id)
        if sandbox is None or not sandbox.running:
            raise RuntimeFailure("CreateContainerError", f"sandbox {spec.sandbox_id} is not running")
        script = self.script(spec)
        await asyncio.sleep(self.start_seconds + script.starts_in)
        if script.fails is not None:
            raise script.fails
        self._next_pid += 1
        container = Container(spec.id, spec.sandbox_id, self._next_pid, spec.labels, self.clock.now())
        live = self._live[spec.id] = _Live(spec, container, script)
        _print(spec.log_path, script.output, self.clock.now())
        if script.runs_for is not None:
            self._schedule(live, script.runs_for, script.code)
        return container

    async def signal(self, container_id: str, number: int) -> None:
        live = self._live.get(container_id)
        if live is None or live.container.exit is not None:
            return
        if number == signal.SIGKILL:
            self._end(live, 128 + signal.SIGKILL, signal.SIGKILL)
        elif live.script.stop_after is not None:
            self._schedule(live, live.script.stop_after, live.script.stop_code)

    def _schedule(self, live: _Live, seconds: float, code: int) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, lambda: self._end(live, code, 0))
        live.timers.append((timer, code))

    def save(self) -> SavedRuntime:
        """Return everything held now, as values."""
        now = asyncio.get_running_loop().time()
        containers = tuple(live.save(now) for live in self._live.values())
        return SavedRuntime(tuple(self._sandboxes.values()), containers, self._next_pid)

    def resume(self, saved: SavedRuntime) -> None:
        """Continue where another runtime was saved; this one has held nothing yet."""
        self._sandboxes = {sandbox.id: sandbox for sandbox in saved.sandboxes}
        self._next_pid = saved.next_pid
        for one in saved.containers:
            live = self._live[one.spec.id] = _Live(one.spec, one.container, one.script)
            live.load = one.load
            for seconds, code in one.ends if one.container.exit is None else ():
                self._schedule(live, seconds, code)

    def lose(self, container_id: str) -> None:
        """Let a container vanish without a word, as if the runtime's records were lost."""
        live = self._live.pop(container_id)
        for timer, _ in live.timers:
            timer.cancel()

    def kill(self, container_id: str, code: int = 1, *, out_of_memory: bool = False) -> None:
        """Let a container end by itself now, or by the hand of the kernel when its memory is used up."""
        self._end(self._live[container_id], code, 0, out_of_memory)

    def _end(self, live: _Live, code: int, number: int, out_of_memory: bool = False) -> None:
        if live.container.exit is not None:
            return
        for timer, _ in live.timers:
            timer.cancel()
        for session in live.sessions:
            session.end(128 + signal.SIGKILL)
        exit = Exit(live.spec.id, code, self.clock.now(), number, out_of_memory or live.script.oom_killed)
        live.container = replace(live.container, exit=exit)
        for queue in self._subscribers:
            queue.put_nowait(exit)

    async def remove_container(self, container_id: str) -> None:
        live = self._live.get(container_id)
        if live is not None and live.container.exit is not None:
            del self._live[container_id]

    def exits(self) -> AsyncIterator[Exit]:
        queue: asyncio.Queue[Exit] = asyncio.Queue()
        self._subscribers[queue] = None
        return self._drain(queue)

    async def _drain(self, queue: asyncio.Queue[Exit]) -> AsyncIterator[Exit]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._subscribers.pop(queue, None)

    @asynccontextmanager
    async def exec(self, container_id: str, spec: ExecSpec) -> AsyncIterator[ExecSession]:
        live = self._running(container_id)
        async with self._session(live, lambda streams: self.handler(live.spec, spec, streams)) as session:
            yield session

    @asynccontextmanager
    async def attach(self, container_id: str) -> AsyncIterator[ExecSession]:
        live = self._running(container_id)

        async def echo(streams: SimulatedExec) -> int:
            while data := await streams.stdin.get():
                streams.print(data)
            return 0

        async with self._session(live, echo) as session:
            yield session

    def _running(self, container_id: str) -> _Live:
        live = self._live.get(container_id)
        if live is None or live.container.exit is not None:
            raise RuntimeFailure("NotFound", f"container {container_id} is not running")
        return live

    @asynccontextmanager
    async def _session(
        self, live: _Live, program: Callable[[SimulatedExec], Awaitable[int]]
    ) -> AsyncIterator[SimulatedExec]:
        streams = SimulatedExec()
        live.sessions[streams] = None

        async def main() -> None:
            streams.end(await program(streams))

        task = asyncio.create_task(main())
        try:
            yield streams
        finally:
            live.sessions.pop(streams, None)
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Nothing to let go of."""


def _print(path: Path, lines: Sequence[str], now: float) -> None:
    if not lines:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(f"{nano_time(now)} stdout F {line}\n" for line in lines)


class SimulatedImages:
    """Every image exists unless `failing` names it; `present` holds what needs no pull."""

    def __init__(self, pull_seconds: float = 0.0) -> None:
        self.pull_seconds = pull_seconds
        self.failing: dict[str, ImageError] = {}
        self.images: dict[str, Image] = {}
        self.present: set[str] = set()
        self.pulls: list[str] = []

    def _image(self, reference: str) -> Image:
        known = self.images.get(reference)
        return known or Image(id="sha256:" + "0" * 64, reference=reference, entrypoint=("/entrypoint",))

    async def find(self, reference: str) -> Image | None:
        return self._image(reference) if reference in self.present else None

    async def pull(self, reference: str) -> Image:
        self.pulls.append(reference)
        await asyncio.sleep(self.pull_seconds)
        if (error := self.failing.get(reference)) is not None:
            raise error
        self.present.add(reference)
        return self._image(reference)

    async def list(self) -> Sequence[Image]:
        return [self._image(reference) for reference in sorted(self.present)]


def by_container(scripts: Mapping[str, Script]) -> Callable[[ContainerSpec], Script]:
    """Return a script chooser by the container's name, with the default for all others."""
    return lambda spec: scripts.get(spec.labels.get("container", ""), Script())
