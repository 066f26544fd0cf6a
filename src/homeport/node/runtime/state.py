"""What the runtime knows, on disk: one directory per sandbox and per container, read again after a restart.

    <run>/sandboxes/<id>/sandbox.json, shm/
    <run>/containers/<id>/container.json, config.json, pid, exit, log, stdin stdout stderr, rootfs/ upper/ work/

A record is written before the process it is about can matter, `exit` by the namespace keeper when it ends. A process is
named by pid, start time and boot, so a record of an earlier boot never finds a stranger.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from homeport.node import syscalls
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "sandboxes", self.run / "sandboxes")
        object.__setattr__(self, "containers", self.run / "containers")

    def make(self) -> None:
        for path in (self.sandboxes, self.containers):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def sandbox(self, sandbox_id: str) -> Path:
        return self.sandboxes / _plain(sandbox_id)

    def container(self, container_id: str) -> Path:
        return self.containers / _plain(container_id)

    def save_sandbox(self, record: SandboxRecord) -> None:
        write_atomically(self.sandbox(record.id) / "sandbox.json", json.dumps(asdict(record)))

    def save_container(self, record: ContainerRecord) -> None:
        write_atomically(self.container(record.id) / "container.json", json.dumps(asdict(record)))

    def sandbox_records(self) -> Iterator[SandboxRecord]:
        for tree in _documents(self.sandboxes, "sandbox.json"):
            yield SandboxRecord(**{**tree, "process": Process(**tree["process"])})

    def container_records(self) -> Iterator[ContainerRecord]:
        for tree in _documents(self.containers, "container.json"):
            process = tree["process"]
            yield ContainerRecord(**{**tree, "process": Process(**process) if process else None})

    def exit(self, container_id: str) -> Exit | None:
        """Return the recorded end, or None."""
        try:
            tree = json.loads((self.container(container_id) / "exit").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return Exit(container_id, tree["code"], tree["time"], tree["signal"], known=tree.get("known", True))

    def save_unknown_exit(self, container_id: str, at: float) -> Exit:
        """Record an end nobody saw, so that it reads the same for ever."""
        end = {"code": UNKNOWN_CODE, "signal": 0, "time": at, "known": False}
        write_atomically(self.container(container_id) / "exit", json.dumps(end))
        return Exit(container_id, UNKNOWN_CODE, at, known=False)


def _documents(parent: Path, name: str) -> Iterator[dict[str, Any]]:
    for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
        try:
            yield json.loads(Path(entry.path, name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # its maker died before it counted


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
