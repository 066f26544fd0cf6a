"""Containers by an OCI runtime: `contract.Runtime` over crun or runc and the namespace keeper.

This runs in the node process, inside the keeper's namespaces. It may die at any instant: containers are the keeper's
children, their output waits in FIFOs the keeper holds open, and what is known is on disk (`state`). `open` picks all of
it up again.
"""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from homeport.clock import Clock
from homeport.node import syscalls
from homeport.node.holder_client import Ended, HolderClient, HolderGone, ensure_holder
from homeport.node.images.store import ImageStore
from homeport.node.launching import Launch, LaunchFailed
from homeport.node.namespaces import find_holder, wait_for_end
from homeport.node.runtime.attaching import AttachedSession
from homeport.node.runtime.cgroups import find_cgroups, record_cgroups
from homeport.node.runtime.contract import (
    Container,
    ContainerSpec,
    ExecSession,
    ExecSpec,
    Exit,
    RuntimeFailure,
    Sandbox,
    SandboxSpec,
    Usage,
)
from homeport.node.runtime.detect import TOOLS, choose_tool
from homeport.node.runtime.launcher import ENVIRONMENT, Launcher, container_name, last_message
from homeport.node.runtime.logs import LogFile, Pump
from homeport.node.runtime.processes import gone, send_signal, with_same_mounts
from homeport.node.runtime.rootfs import RootFilesystems
from homeport.node.runtime.state import UNKNOWN_CODE, ContainerRecord, Directories, Process, Records, SandboxRecord
from homeport.node.runtime.streams import PipeSession, TerminalSession
from homeport.node.runtime.usage import usage_of
from homeport.node.runtime.users import IdMap
from homeport.node.sealing import SealedPrograms
from homeport.node.unsharing import in_user_namespace

__all__ = ["OciRuntime"]

T = TypeVar("T")

DYING_SECONDS = 2.0
SHARED_MEMORY_OPTIONS = "mode=1777,size=64m"


class OciRuntime:
    """Implements `contract.Runtime`; made by `open`."""

    def __init__(self, directories: Directories, launcher: Launcher, clock: Clock, holder_log: Path) -> None:
        self._directories, self._launcher, self._clock, self._holder_log = directories, launcher, clock, holder_log
        self._records = Records(directories.run)
        self._boot = syscalls.boot_id()
        self._sandboxes: dict[str, SandboxRecord] = {}
        self._containers: dict[str, ContainerRecord] = {}
        self._pumps: dict[str, Pump] = {}
        self._exits: dict[str, Exit] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._watched: dict[int, int] = {}
        self._commands: dict[str, asyncio.Future[int]] = {}
        self._listeners: set[asyncio.Queue[Exit]] = set()
        self._numbers = itertools.count()
        self._holder_lost = asyncio.Event()
        self._replaced = asyncio.Event()
        self._holder = self._new_client()
        self._keeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, data: Path, clock: Clock, *, cluster: str, hidden: Sequence[Path] = (), tools: Sequence[str] = TOOLS
    ) -> "OciRuntime":
        """Take over what runs, from inside the keeper's namespaces. Raises RuntimeFailure, OSError.

        data    the cluster's data directory; `run/` and `images/` beneath it are used
        cluster names this engine's part of the cgroup hierarchies
        hidden  host paths no container may see; the data directory itself always is
        tools   runtimes to try, best first
        """
        run = data / "run"
        directories = Directories(run)
        directories.make()
        rootless = in_user_namespace()
        shared = run / f"host-{syscalls.boot_id()}"
        roots = RootFilesystems(ImageStore(data / "images").layer_directories, shared, rootless=rootless)
        tool = await choose_tool(run, roots, tools)
        group = f"homeport-{cluster}"
        cgroups = find_cgroups(group, from_top=tool.wants_cgroup)
        record_cgroups(cgroups, run)
        launcher = Launcher(
            tool=tool,
            roots=roots,
            cgroups=cgroups,
            cgroup=group,
            ids=IdMap.of_this_process(),
            places=directories,
            rootless=rootless,
            profiles=data / "seccomp",
            programs=SealedPrograms(),
            hidden=tuple(dict.fromkeys(str(path.resolve()) for path in (data, *hidden))),
        )
        runtime = cls(directories, launcher, clock, data / "logs" / "holder.log")
        await runtime._adopt()
        return runtime

    @property
    def name(self) -> str:
        return self._launcher.tool.name

    @property
    def version(self) -> str:
        return self._launcher.tool.version

    @property
    def limits_enforced(self) -> bool:
        """Whether this machine lets us limit memory and processor time."""
        return bool(self._launcher.cgroups.hierarchies)

    async def sandboxes(self, label: tuple[str, str] | None = None) -> Sequence[Sandbox]:
        records = self._sandboxes.values()
        return [self._sandbox(record) for record in records if label is None or label in record.labels.items()]

    async def containers(self, label: tuple[str, str] | None = None) -> Sequence[Container]:
        records = self._containers.values()
        return [self._container(record) for record in records if label is None or label in record.labels.items()]

    async def usage(self) -> Mapping[str, Usage]:
        running = {
            record.id: record.process.pid
            for record in self._containers.values()
            if record.process is not None and record.id not in self._exits
        }
        return await asyncio.to_thread(usage_of, running, self._launcher.cgroups)

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        return await _whole(self._create_sandbox(spec))

    async def _create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        known = self._sandboxes.get(spec.id)
        if known is not None:
            return self._sandbox(known)
        memory = self._directories.shared_memory(spec.id)
        memory.mkdir(mode=0o700, exist_ok=True)
        if not os.path.ismount(memory):
            flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
            syscalls.mount("shm", str(memory), "tmpfs", flags, SHARED_MEMORY_OPTIONS)
        unshare = ["ipc"] if spec.host_network else ["net", "ipc", "uts"]
        if spec.share_process_namespace:
            unshare.append("pid")
        launch = Launch(
            name=f"sandbox/{spec.id}",
            argv=["sleep", "infinity"],
            env=ENVIRONMENT,
            unshare=unshare,
            hostname=spec.hostname,
            sysctls=spec.sysctls,
            keep=True,
        )
        try:
            pid = await self._holder.launch(launch)
        except (LaunchFailed, HolderGone) as error:
            self._drop_sandbox(spec.id)
            raise RuntimeFailure("CreatePodSandboxError", str(error)) from error
        record = SandboxRecord(
            spec.id,
            spec.hostname,
            dict(spec.labels),
            self._clock.now(),
            spec.share_process_namespace,
            Process.of(pid, self._boot),
        )
        self._records.save_sandbox(record)
        self._sandboxes[spec.id] = record
        return self._sandbox(record)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        for record in [record for record in self._containers.values() if record.sandbox_id == sandbox_id]:
            await self.remove_container(record.id)
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is not None and sandbox.process.alive(self._boot):
            os.kill(sandbox.process.pid, signal.SIGKILL)
            await gone(sandbox.process.pid)
        self._drop_sandbox(sandbox_id)
        self._sandboxes.pop(sandbox_id, None)

    async def start_container(self, spec: ContainerSpec) -> Container:
        return await _whole(self._start_container(spec))

    async def _start_container(self, spec: ContainerSpec) -> Container:
        known = self._containers.get(spec.id)
        if known is not None:
            return self._container(known)
        sandbox = self._sandboxes.get(spec.sandbox_id)
        if sandbox is None or not sandbox.process.alive(self._boot):
            raise RuntimeFailure("CreateContainerError", f"sandbox {spec.sandbox_id} is not running")
        bundle = self._directories.bundle(spec.id)
        bundle.mkdir(mode=0o700)
        record = ContainerRecord(
            id=spec.id,
            sandbox_id=spec.sandbox_id,
            image_id=spec.image.id,
            log_path=str(spec.log_path),
            tty=spec.tty,
            stdin=spec.stdin,
            labels=dict(spec.labels),
            started_at=self._clock.now(),
        )
        try:
            self._records.save_container(record)
            await asyncio.to_thread(self._launcher.prepare, spec, sandbox)
            if not spec.tty:
                self._pumps[spec.id] = self._pump(record, self._fifos(bundle))
            self._ended[spec.id] = asyncio.Event()
            pid = await self._launcher.start(spec, self._holder)
        except (RuntimeFailure, HolderGone, OSError) as error:
            await self._discard(spec.id)
            if isinstance(error, HolderGone | OSError):
                raise RuntimeFailure("CreateContainerError", str(error)) from error
            raise
        record = record.started(Process.of(pid, self._boot), self._clock.now())
        self._records.save_container(record)
        if spec.tty:
            await self._pump_terminal(record)
        self._containers[spec.id] = record
        if self._directories.exit(spec.id) is not None:
            self._end(spec.id)  # over before we had noted that it began
        return self._container(record)

    async def signal(self, container_id: str, number: int) -> None:
        record = self._containers.get(container_id)
        if record is None or record.process is None or container_id in self._exits:
            return
        sandbox = self._sandboxes.get(record.sandbox_id)
        if number == signal.SIGKILL and sandbox is not None and sandbox.share_pids:
            for pid in with_same_mounts(record.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        send_signal(record.process, number)

    async def remove_container(self, container_id: str) -> None:
        record = self._containers.get(container_id)
        if record is not None and container_id not in self._exits:
            await self.signal(container_id, signal.SIGKILL)
            await self._ended[container_id].wait()
        await self._discard(container_id)
        self._containers.pop(container_id, None)
        self._exits.pop(container_id, None)

    def exits(self) -> AsyncIterator[Exit]:
        queue: asyncio.Queue[Exit] = asyncio.Queue()
        self._listeners.add(queue)

        async def follow() -> AsyncIterator[Exit]:
            try:
                while True:
                    yield await queue.get()
            finally:
                self._listeners.discard(queue)

        return follow()

    @asynccontextmanager
    async def exec(self, container_id: str, spec: ExecSpec) -> AsyncIterator[ExecSession]:
        record = self._containers.get(container_id)
        if record is None or container_id in self._exits:
            raise RuntimeFailure("ExecError", f'container not found ("{container_id}")')
        directory = self._directories.bundle(container_id)
        stem = directory / f"exec-{os.getpid()}-{next(self._numbers)}"
        stem.with_suffix(".json").write_text(json.dumps(_exec_process(directory, spec)), encoding="utf-8")
        try:
            if spec.tty:
                session: PipeSession | TerminalSession = await _whole(self._exec_terminal(container_id, stem))
            else:
                words = ["--process", f"{stem}.json", "--pid-file", f"{stem}.pid", container_id]
                command, passed = self._launcher.exec_command(container_id, *words)
                session = await PipeSession.start(command, passed, stem.with_suffix(".pid"), stdin=spec.stdin)
            try:
                yield session
            finally:
                await session.close()
        finally:
            for suffix in (".json", ".pid", ".sock", ".log"):
                stem.with_suffix(suffix).unlink(missing_ok=True)

    async def _exec_terminal(self, container_id: str, stem: Path) -> TerminalSession:
        name = f"exec/{stem.name}/{container_id}"
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._commands[name] = ended
        try:
            pid = await self._holder.launch(self._launcher.exec_terminal(name, container_id, stem))
            master = await self._holder.console(name)
            await self._holder.forget(name)
        except (LaunchFailed, HolderGone) as error:
            del self._commands[name]
            raise RuntimeFailure("ExecError", last_message(stem.with_suffix(".log")) or str(error)) from error
        if master is None:
            raise RuntimeFailure("ExecError", "the runtime sent no terminal")
        return TerminalSession(master, pid, ended)

    @asynccontextmanager
    async def attach(self, container_id: str) -> AsyncIterator[ExecSession]:
        record, pump = self._containers.get(container_id), self._pumps.get(container_id)
        if record is None or pump is None or container_id in self._exits:
            raise RuntimeFailure("AttachError", f'container not found ("{container_id}")')
        ended = self._ended[container_id]

        async def exit_code() -> int:
            await ended.wait()
            return self._exits[container_id].code

        async def end_input() -> None:
            with suppress(HolderGone):
                await self._holder.hang_up(container_name(container_id))

        stdin = None
        if record.tty:
            stdin = pump.terminal()
        elif record.stdin:
            path = self._directories.bundle(container_id) / "stdin"
            stdin = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        session = AttachedSession(pump, stdin, terminal=record.tty, end_input=end_input, exit_code=exit_code)
        try:
            yield session
        finally:
            session.detach()

    async def holder_replaced(self) -> None:
        """Wait until the namespace keeper has been replaced after its next death."""
        await self._replaced.wait()
        self._replaced.clear()

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        loop = asyncio.get_running_loop()
        for pidfd in self._watched.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._watched.clear()
        for pump in self._pumps.values():
            pump.close()
        self._pumps.clear()
        self._launcher.programs.close()
        self._holder.close()

    async def _adopt(self) -> None:
        """Read what is written down, follow what lives, finish what ended meanwhile, drop what never began."""
        places = self._directories
        self._holder.connect(places.run)
        self._keeping = asyncio.create_task(self._keep_holder())
        children = {child["name"]: int(child["pid"]) for child in (await self._holder.status())["children"]}
        self._sandboxes.update((record.id, record) for record in self._records.sandboxes())
        never_began = set()
        for known in self._records.containers():
            record = self._recover(known, children) if known.process is None else known
            if record is None:
                never_began.add(known.id)
                continue
            self._ended[record.id] = asyncio.Event()
            await self._follow(record, children)
        for orphan in (never_began | places.container_ids()) - set(self._containers):
            await self._discard(orphan)
        for orphan in places.sandbox_ids() - set(self._sandboxes):
            self._drop_sandbox(orphan)
        for name, pid in children.items():
            kind, _, identifier = name.partition("/")
            if kind == "sandbox" and identifier not in self._sandboxes:
                os.kill(pid, signal.SIGKILL)  # the last agent died before it had written it down

    def _recover(self, record: ContainerRecord, children: Mapping[str, int]) -> ContainerRecord | None:
        """A start the last agent did not see the end of: it happened if the keeper has the process, or its exit."""
        if container_name(record.id) not in children and self._directories.exit(record.id) is None:
            return None
        pid = children.get(container_name(record.id), 0)
        record = record.started(Process.of(pid, self._boot), record.started_at)
        self._records.save_container(record)
        return record

    async def _follow(self, record: ContainerRecord, children: Collection[str]) -> None:
        assert record.process is not None
        bundle = self._directories.bundle(record.id)
        if record.tty:
            await self._pump_terminal(record)
        elif (bundle / "stdout").exists():
            self._pumps[record.id] = self._pump(record, self._fifos(bundle))
        self._containers[record.id] = record  # from here on its end is heard of; one before this is on disk
        if self._directories.exit(record.id) is not None:
            self._end(record.id)
        elif container_name(record.id) not in children:
            self._watch(record)

    def _watch(self, record: ContainerRecord) -> None:
        """Follow a process that is no child of the present keeper: its end is seen, its code is not."""
        assert record.process is not None
        try:
            pidfd = os.pidfd_open(record.process.pid)
        except ProcessLookupError:
            self._end_unseen(record.id)
            return
        if not record.process.alive(self._boot):
            os.close(pidfd)
            self._end_unseen(record.id)
            return
        self._watched[record.process.pid] = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._watched_ended, record.id, record.process.pid)

    def _watched_ended(self, container_id: str, pid: int) -> None:
        pidfd = self._watched.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self._end_unseen(container_id)

    def _end_unseen(self, container_id: str) -> None:
        if self._directories.exit(container_id) is None:
            self._directories.save_unknown_exit(container_id, self._clock.now())
        self._end(container_id)

    def _new_client(self) -> HolderClient:
        return HolderClient(self._holder_reports, self._holder_lost.set)

    def _holder_reports(self, ended: Ended) -> None:
        command = self._commands.pop(ended.name, None)
        if command is not None:
            command.set_result(ended.code)
        kind, _, container_id = ended.name.partition("/")
        if kind == "container" and container_id in self._containers:
            self._end(container_id)

    async def _keep_holder(self) -> None:
        """Start another keeper in these same namespaces when the present one dies."""
        while True:
            await self._holder_lost.wait()
            self._holder_lost.clear()
            dying = find_holder(self._directories.run)
            if dying is not None:  # its last socket may still accept
                await asyncio.to_thread(wait_for_end, dying.pid, DYING_SECONDS)
            await ensure_holder(self._directories.run, self._holder_log, here=True)
            self._holder = self._new_client()
            self._holder.connect(self._directories.run)
            for record in self._containers.values():
                if record.id not in self._exits:
                    self._watch(record)
            for command in self._commands.values():
                command.set_result(UNKNOWN_CODE)
            self._commands.clear()
            self._replaced.set()

    def _end(self, container_id: str) -> None:
        """The main process is gone: finish the log first, then tell."""
        if container_id in self._exits:
            return
        pump = self._pumps.pop(container_id, None)
        if pump is not None:
            pump.finish()
        end = self._directories.exit(container_id)
        assert end is not None
        if end.signal == signal.SIGKILL and self._launcher.cgroups.oom_kills(container_id):
            end = Exit(end.container_id, end.code, end.finished_at, end.signal, oom_killed=True)
        self._exits[container_id] = end
        self._ended[container_id].set()
        for queue in self._listeners:
            queue.put_nowait(end)

    def _pump(self, record: ContainerRecord, sources: dict[int, str]) -> Pump:
        return Pump(LogFile(Path(record.log_path), self._clock, self._pack), sources)

    def _pack(self, job: Callable[[], None]) -> None:
        asyncio.get_running_loop().run_in_executor(None, job)

    def _fifos(self, bundle: Path) -> dict[int, str]:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        return {os.open(bundle / name, flags): name for name in ("stdout", "stderr")}

    async def _pump_terminal(self, record: ContainerRecord) -> None:
        master = await self._holder.console(container_name(record.id))
        if master is not None:
            self._pumps[record.id] = self._pump(record, {master: "stdout"})

    async def _discard(self, container_id: str) -> None:
        pump = self._pumps.pop(container_id, None)
        if pump is not None:
            pump.finish()
        self._ended.pop(container_id, None)
        with suppress(HolderGone, LaunchFailed):
            await self._holder.forget(container_name(container_id))
        await asyncio.to_thread(self._launcher.discard, container_id)
        self._records.forget_container(container_id)

    def _drop_sandbox(self, sandbox_id: str) -> None:
        memory = self._directories.shared_memory(sandbox_id)
        if os.path.ismount(memory):
            syscalls.umount(str(memory))
        if memory.exists():
            memory.rmdir()
        self._records.forget_sandbox(sandbox_id)

    def _sandbox(self, record: SandboxRecord) -> Sandbox:
        alive = record.process.alive(self._boot)
        return Sandbox(record.id, record.process.pid, record.labels, record.created_at, running=alive)

    def _container(self, record: ContainerRecord) -> Container:
        pid = record.process.pid if record.process else 0
        exit_seen = self._exits.get(record.id)
        return Container(record.id, record.sandbox_id, pid, record.labels, record.started_at, exit_seen)


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Await something that must not stop half-way: when cancelled, see it through first."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at: nobody is left to tell
        raise


def _exec_process(directory: Path, spec: ExecSpec) -> dict[str, Any]:
    """Return the container's own `process` with other arguments: same user, capabilities, environment, directory."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    process: dict[str, Any] = {**config["process"], "args": list(spec.argv), "terminal": spec.tty}
    if spec.tty and not any(pair.startswith("TERM=") for pair in process["env"]):
        process["env"] = [*process["env"], "TERM=xterm"]
    process.pop("oomScoreAdj", None)
    return process
