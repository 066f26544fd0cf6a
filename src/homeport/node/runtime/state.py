"""What the runtime knows, read again after a restart: on disk what must outlive the processes it is about, and
everything else in memory that lives exactly as long as they do.

    <run>/records                  every sandbox and container: a journal, see `Records`
    <run>/exits/<id>               how a container ended, by the namespace keeper
    <run>/layers/<id>.upper .work  what a container changed: of any size
    <run>/live/                    a tmpfs in the cluster's mount namespace; gone when the last process in there is
        shm/<id>/                  a sandbox's shared memory
        containers/<id>/           a container's bundle: config.json, pid, log, stdin stdout stderr, rootfs/
        oci/                       the container runtime's own
        pods/<uid>/                what the node prepares for a pod (`node.settings`)

Where small files and directories come and go by the thousand, a disk would be most of the work. A process is named by
pid, start time and boot, so a record of an earlier boot never finds a stranger.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from homeport.node import syscalls
from homeport.node.holder import write_atomically
from homeport.node.journal import Journal
from homeport.node.runtime.contract import Exit

__all__ = [
    "UNKNOWN_CODE",
    "ContainerRecord",
    "Directories",
    "Process",
    "Records",
    "SandboxRecord",
    "living_containers",
    "living_sandboxes",
]

UNKNOWN_CODE: Final = 137  # what upstream reports for an end nobody saw
LIVE_OPTIONS: Final = "mode=700,size=25%"


@dataclass(frozen=True, slots=True)
class Process:
    """A process for ever: pid, start in clock ticks since boot, boot id."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int, boot: str) -> "Process":
        return cls(pid, syscalls.start_ticks(pid) or 0, boot)

    def alive(self, boot: str) -> bool:
        return self.boot == boot and syscalls.same_process(self.pid, self.start)


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    id: str
    hostname: str
    labels: Mapping[str, str]
    created_at: float
    share_pids: bool
    process: Process


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """`process` is None until the container has started."""

    id: str
    sandbox_id: str
    image_id: str
    log_path: str
    tty: bool
    stdin: bool
    labels: Mapping[str, str]
    started_at: float
    process: Process | None = None

    def started(self, process: Process, at: float) -> "ContainerRecord":
        return replace(self, process=process, started_at=at)


@dataclass(frozen=True, slots=True)
class Directories:
    """The layout below `<data>/run`."""

    run: Path
    exits: Path = field(init=False)
    layers: Path = field(init=False)
    live: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("exits", "layers", "live"):
            object.__setattr__(self, name, self.run / name)

    def make(self) -> None:
        """Make what is missing, `live` too: as memory, when nobody keeps it from before. Raises OSError.

        To be called in the cluster's mount namespace.
        """
        for path in (self.exits, self.layers, self.live):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.path.ismount(self.live):
            syscalls.mount("homeport", str(self.live), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, LIVE_OPTIONS)
        for name in ("shm", "containers"):
            (self.live / name).mkdir(mode=0o700, exist_ok=True)

    def shared_memory(self, sandbox_id: str) -> Path:
        return self.live / "shm" / _plain(sandbox_id)

    def bundle(self, container_id: str) -> Path:
        return self.live / "containers" / _plain(container_id)

    def layer(self, container_id: str) -> Path:
        """Return the common beginning of the names of a container's own layer; `rootfs` adds the endings."""
        return self.layers / _plain(container_id)

    def exit_file(self, container_id: str) -> Path:
        return self.exits / _plain(container_id)

    def container_ids(self) -> set[str]:
        """Return all containers any file is left of, as far as this mount namespace shows."""
        layers = (name.rpartition(".")[0] for name in _names(self.layers))
        return {*_names(self.exits), *layers, *_names(self.live / "containers")}

    def sandbox_ids(self) -> set[str]:
        """Return all sandboxes that have shared memory, as far as this mount namespace shows."""
        return set(_names(self.live / "shm"))

    def exit(self, container_id: str) -> Exit | None:
        """Return the recorded end, or None."""
        try:
            tree = json.loads(self.exit_file(container_id).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Exit(container_id, tree["code"], tree["time"], tree["signal"], known=tree.get("known", True))

    def save_unknown_exit(self, container_id: str, at: float) -> Exit:
        """Record an end nobody saw, so that it reads the same for ever."""
        end = {"code": UNKNOWN_CODE, "signal": 0, "time": at, "known": False}
        write_atomically(self.exit_file(container_id), json.dumps(end))
        return Exit(container_id, UNKNOWN_CODE, at, known=False)


def _names(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if not name.startswith(".")] if directory.is_dir() else []


class Records:
    """Sandboxes from their first process on, containers from before theirs, in `<run>/records`.

    The runtime alone writes; whoever stands outside the namespaces may read.
    """

    def __init__(self, run: Path) -> None:
        self._journal = Journal(run / "records")

    def save_sandbox(self, record: SandboxRecord) -> None:
        self._journal.put(f"sandbox/{record.id}", record)

    def save_container(self, record: ContainerRecord) -> None:
        self._journal.put(f"container/{record.id}", record)

    def forget_sandbox(self, sandbox_id: str) -> None:
        self._journal.drop(f"sandbox/{sandbox_id}")

    def forget_container(self, container_id: str) -> None:
        self._journal.drop(f"container/{container_id}")

    def sandboxes(self) -> Iterator[SandboxRecord]:
        for tree in self._trees("sandbox/"):
            yield SandboxRecord(**{**tree, "process": Process(**tree["process"])})

    def containers(self) -> Iterator[ContainerRecord]:
        for tree in self._trees("container/"):
            process = tree["process"]
            yield ContainerRecord(**{**tree, "process": Process(**process) if process else None})

    def _trees(self, kind: str) -> Iterator[dict[str, Any]]:
        return (self._journal.get(key) for key in self._journal if key.startswith(kind))


def _plain(identifier: str) -> str:
    if not identifier or not all(char.isascii() and (char.isalnum() or char in "-_.") for char in identifier):
        raise ValueError(f"{identifier!r} is not an id")
    if identifier.startswith("."):
        raise ValueError(f"{identifier!r} is not an id")
    return identifier


def living_sandboxes(run: Path) -> list[int]:
    """Return the pids of sandboxes that live, oldest first: where a new keeper finds the old namespaces again."""
    boot = syscalls.boot_id()
    living = [record for record in Records(run).sandboxes() if record.process.alive(boot)]
    return [record.process.pid for record in sorted(living, key=lambda record: record.created_at)]


def living_containers(run: Path) -> list[int]:
    """Return the pids of containers' main processes that live: no keeper need be their parent any more."""
    boot = syscalls.boot_id()
    processes = [record.process for record in Records(run).containers() if record.process]
    return [process.pid for process in processes if process.alive(boot)]
