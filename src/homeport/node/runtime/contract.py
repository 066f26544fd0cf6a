"""What the node agent asks of a container runtime: sandboxes, containers, exits. Two sides: OCI and simulated.

A *sandbox* is what the containers of one pod share (network, IPC and UTS namespaces) and what outlives each of them.
Ids are chosen by the agent, unique for ever, and made of `[a-z0-9-]`, so that an agent that was killed finds
again what it had started. Everything here survives the agent.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = [
    "Container",
    "ContainerSpec",
    "ExecSession",
    "ExecSpec",
    "Exit",
    "Image",
    "ImageError",
    "Images",
    "Limits",
    "Mount",
    "Runtime",
    "RuntimeFailure",
    "Sandbox",
    "SandboxSpec",
    "Security",
    "Usage",
]


class RuntimeFailure(Exception):
    """The runtime could not do it. `reason` is the word for the container status, such as `CreateContainerError`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message

    def __reduce__(self) -> tuple[type["RuntimeFailure"], tuple[str, str]]:
        return type(self), (self.reason, self.message)


class ImageError(Exception):
    """No usable image. `reason` is `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName` or `ImageInspectError`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return type(self), (self.reason, self.message)


@dataclass(frozen=True, slots=True)
class Image:
    """A usable image: `id` is the config digest (`sha256:…`), or a stable word for the host image.

    note  why this image stands in for the one asked for; empty when it is that one. Belongs in the `Pulled` event.
    """

    id: str
    reference: str
    digest: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    working_directory: str = ""
    stop_signal: str = ""
    size_bytes: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path (as the agent sees it) made visible inside; `kind` is `bind` or `tmpfs` (then `source` is empty)."""

    target: str
    source: str = ""
    kind: str = "bind"
    read_only: bool = False
    propagation: str = "rprivate"
    size_bytes: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Security:
    """The container's effective security settings (pod and container contexts already merged)."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    privileged: bool = False
    read_only_root: bool = False
    allow_privilege_escalation: bool = True
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: str = "RuntimeDefault"
    proc_mount: str = "Default"


@dataclass(frozen=True, slots=True)
class Limits:
    """Zero means no limit. `cpu_shares` and `cpu_quota_microseconds` are cgroup v1 terms (period 100,000)."""

    cpu_shares: int = 0
    cpu_quota_microseconds: int = 0
    memory_bytes: int = 0
    pids: int = 0
    oom_score_adjust: int = 0


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """`labels` (pod uid, namespace, name, attempt, …) come back from `sandboxes` after a restart of the agent."""

    id: str
    hostname: str
    labels: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    share_process_namespace: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """`pid` names the process that holds the namespaces, in the agent's pid namespace: `/proc/<pid>/ns/net`."""

    id: str
    pid: int
    labels: Mapping[str, str]
    created_at: float
    running: bool = True


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything needed to start one container once.

    argv      complete: entrypoint, command and args already combined and expanded
    log_path  the CRI log file this container's output goes to, one line per record (`node` §13.1)
    labels    come back from `containers` (container name, attempt, spec hash, …)
    """

    id: str
    sandbox_id: str
    image: Image
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    working_directory: str
    log_path: Path
    mounts: tuple[Mount, ...] = ()
    security: Security = Security()
    limits: Limits = Limits()
    tty: bool = False
    stdin: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended; not `known` when nobody could watch it (status `ContainerStatusUnknown`)."""

    container_id: str
    code: int
    finished_at: float
    signal: int = 0
    oom_killed: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True)
class Container:
    """A container the runtime knows: running while `exit` is None."""

    id: str
    sandbox_id: str
    pid: int
    labels: Mapping[str, str]
    started_at: float
    exit: Exit | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a running container has used of the processor since it started, in nanoseconds, and uses of memory now."""

    cpu_nanoseconds: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A command to run beside a container's main process, in its namespaces and with its environment."""

    argv: tuple[str, ...]
    tty: bool = False
    stdin: bool = False


class ExecSession(Protocol):
    """A running command with its streams. With a terminal, output comes on `read_stdout` alone."""

    async def write_stdin(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def read_stdout(self) -> bytes:
        """Return what is there, at least one byte; empty at the end."""
        ...

    async def read_stderr(self) -> bytes: ...
    async def resize(self, columns: int, rows: int) -> None: ...
    async def kill(self) -> None: ...
    async def wait(self) -> int:
        """Return the exit code; 128 + n for death by signal n."""
        ...


class Runtime(Protocol):
    """Containers as processes."""

    @property
    def name(self) -> str:
        """`crun`, `runc`, `simulated`."""
        ...

    @property
    def version(self) -> str: ...

    async def sandboxes(self, label: tuple[str, str] | None = None) -> Sequence[Sandbox]:
        """Every sandbox not yet removed, or those alone that have this label."""
        ...

    async def containers(self, label: tuple[str, str] | None = None) -> Sequence[Container]:
        """Every container not yet removed, ended ones with their exits; or those alone that have this label."""
        ...

    async def usage(self) -> Mapping[str, Usage]:
        """Return what each running container uses, by its id; those it cannot be told of are left out."""
        ...

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox: ...
    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill what is left in it, release its namespaces. Absent is fine."""
        ...

    async def start_container(self, spec: ContainerSpec) -> Container:
        """Create and start. Raises RuntimeFailure."""
        ...

    async def signal(self, container_id: str, number: int) -> None:
        """Send a signal to the main process; to every process of the container for SIGKILL. Absent is fine."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Forget an ended container and drop its writable layer. The log stays. Absent is fine."""
        ...

    def exits(self) -> AsyncIterator[Exit]:
        """Yield each end as it happens, from the call on; those before it are in `containers`."""
        ...

    def exec(self, container_id: str, spec: ExecSpec) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command inside; leaving the context kills what still runs. Raises RuntimeFailure."""
        ...

    def attach(self, container_id: str) -> AbstractAsyncContextManager[ExecSession]:
        """Join the main process's streams: output from now on, input if the container was started with `stdin`.

        Leaving the context detaches and disturbs nothing; `kill` does nothing; `wait` returns the container's
        exit code. Raises RuntimeFailure when it is not running.
        """
        ...

    async def close(self) -> None:
        """Let go without disturbing what runs."""
        ...


class Images(Protocol):
    """Where images come from: loaded archives, aliases, the host image, a registry."""

    async def find(self, reference: str) -> Image | None:
        """Return the image if it is here (loaded, aliased or the host's)."""
        ...

    async def pull(self, reference: str) -> Image:
        """Fetch it. Raises ImageError with upstream's wording."""
        ...

    async def list(self) -> Sequence[Image]: ...
