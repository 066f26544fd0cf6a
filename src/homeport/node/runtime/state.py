"""What the runtime knows, read again after a restart: a file on disk for what must outlive the processes it is about,
and everything else in memory that lives exactly as long as they do.

    <run>/sandboxes/<id>.json      a sandbox, from its first process on
    <run>/containers/<id>.json     a container, once it has begun
    <run>/containers/<id>.exit     how it ended, by the namespace keeper
    <run>/layers/<id>.upper .work  what the container changed: of any size, so on disk
    <run>/live/                    a tmpfs in the cluster's mount namespace; gone when the last process in there is
        shm/<id>/                  a sandbox's shared memory
        containers/<id>/           a container's bundle: config.json, pid, log, stdin stdout stderr, rootfs/; and
                                   container.json, what is known of it before it has begun
        oci/                       the container runtime's own
        pods/<uid>/                what the node prepares for a pod (`node.settings`)

Where small files and directories come and go by the thousand, a disk would be most of the work; the few that are on
it lie flat.
A process is named by pid, start time and boot, so a record of an earlier boot never finds a stranger.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from homeport.node import syscalls
from homeport.node.files import write_file
from homeport.node.holder import write_atomically
from homeport.node.runtime.contract import Exit

__all__ = [
    "UNKNOWN_CODE",
    "ContainerRecord",
    "Directories",
    "Process",
    "SandboxRecord",
    "living_containers",
    "living_sandboxes",
]

UNKNOWN_CODE: Final = 137  # what upstream reports for an end nobody saw
ENDINGS: Final = (".json", ".exit", ".upper", ".work")
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
    sandboxes: Path = field(init=False)
    containers: Path = field(init=False)
    layers: Path = field(init=False)
    live: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("sandboxes", "containers", "layers", "live"):
            object.__setattr__(self, name, self.run / name)

    def make(self) -> None:
        """Make what is missing, `live` too: as memory, when nobody keeps it from before. Raises OSError.

        To be called in the cluster's mount namespace.
        """
        for path in (self.sandboxes, self.containers, self.layers, self.live):
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
        return self.containers / f"{_plain(container_id)}.exit"

    def save_sandbox(self, record: SandboxRecord) -> None:
        _write(self.sandboxes / f"{_plain(record.id)}.json", record)

    def save_container(self, record: ContainerRecord) -> None:
        """Keep a record: one of a container that has not begun only as long as there is memory it may begin in."""
        begun = record.process is not None
        _write(self._container_file(record.id) if begun else self.bundle(record.id) / "container.json", record)

    def _container_file(self, container_id: str) -> Path:
        return self.containers / f"{_plain(container_id)}.json"

    def forget_sandbox(self, sandbox_id: str) -> None:
        (self.sandboxes / f"{_plain(sandbox_id)}.json").unlink(missing_ok=True)

    def forget_container(self, container_id: str) -> None:
        for path in (self._container_file(container_id), self.exit_file(container_id)):
            path.unlink(missing_ok=True)

    def sandbox_records(self) -> Iterator[SandboxRecord]:
        for tree in _documents(self.sandboxes):
            yield SandboxRecord(**{**tree, "process": Process(**tree["process"])})

    def container_records(self) -> Iterator[ContainerRecord]:
        """Yield those of containers that have begun."""
        for tree in _documents(self.containers):
            yield ContainerRecord(**{**tree, "process": Process(**tree["process"])})

    def prepared_records(self) -> Iterator[ContainerRecord]:
        """Yield what was written down of containers before they began, whether or not they have."""
        for bundle in (self.live / "containers").iterdir():
            with suppress(FileNotFoundError, ValueError):
                yield ContainerRecord(**json.loads((bundle / "container.json").read_text(encoding="utf-8")))

    def container_ids(self) -> set[str]:
        """Return all containers anything is left of, as far as this mount namespace shows."""
        return _stems(self.containers, self.layers, self.live / "containers")

    def sandbox_ids(self) -> set[str]:
        """Return all sandboxes anything is left of, as far as this mount namespace shows."""
        return _stems(self.sandboxes, self.live / "shm")

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


def _write(path: Path, record: SandboxRecord | ContainerRecord) -> None:
    """Write a record in one go: nobody reads it while it is written but who finds its writer dead."""
    write_file(os.fspath(path), json.dumps(asdict(record)).encode(), 0o600)


def _stems(*directories: Path) -> set[str]:
    names = (Path(name) for directory in directories if directory.is_dir() for name in os.listdir(directory))
    return {name.stem if name.suffix in ENDINGS else name.name for name in names if not name.name.startswith(".")}


def _documents(parent: Path) -> Iterator[dict[str, Any]]:
    for name in sorted(name for name in os.listdir(parent) if name.endswith(".json")):
        with suppress(FileNotFoundError, ValueError):  # it went meanwhile; its maker died before it counted
            yield json.loads((parent / name).read_text(encoding="utf-8"))


def _plain(identifier: str) -> str:
    if not identifier or not all(char.isascii() and (char.isalnum() or char in "-_.") for char in identifier):
        raise ValueError(f"{identifier!r} is not an id")
    if identifier.startswith("."):
        raise ValueError(f"{identifier!r} is not an id")
    return identifier


def living_sandboxes(run: Path) -> list[int]:
    """Return the pids of sandboxes that live, oldest first: where a new keeper finds the old namespaces again."""
    directories, boot = Directories(run), syscalls.boot_id()
    if not directories.sandboxes.is_dir():
        return []
    living = [record for record in directories.sandbox_records() if record.process.alive(boot)]
    return [record.process.pid for record in sorted(living, key=lambda record: record.created_at)]


def living_containers(run: Path) -> list[int]:
    """Return the pids of containers' main processes that live: no keeper need be their parent any more."""
    directories, boot = Directories(run), syscalls.boot_id()
    if not directories.containers.is_dir():
        return []
    processes = [record.process for record in directories.container_records() if record.process]
    return [process.pid for process in processes if process.alive(boot)]
