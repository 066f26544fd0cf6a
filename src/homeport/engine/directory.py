"""A cluster's data directory: what lies where, which version wrote it, and who may use it now.

Layout (mode 0700): `engine.json` settings and version; `state.db`; `pki/`; `images/`; `volumes/`; `pods/`;
`checkpoints`; `logs/`; `kubeconfig`; `run/` sockets and process records, of no value once nothing runs.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from homeport.engine.settings import ClusterSettings
from homeport.node import syscalls

__all__ = ["DataDirectory", "DirectoryError", "ProcessRecord", "write_atomically"]

FORMAT: Final = 1
"""Raised with every change older versions cannot read."""


class DirectoryError(Exception):
    """The directory cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A process that can be recognised later: pids come again, pids with the same start time do not."""

    name: str
    pid: int
    start: int
    details: dict[str, Any]

    @property
    def alive(self) -> bool:
        return syscalls.same_process(self.pid, self.start)


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file whole: readers see the old text or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


class DataDirectory:
    """One cluster's directory, at a path that need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def state(self) -> Path:
        return self.path / "state.db"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def api_socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def node_socket(self) -> Path:
        return self.run / "node.sock"

    @property
    def proxy_socket(self) -> Path:
        """Where the load balancer answers this machine's processes (homeport.proxy.inquiries)."""
        return self.run / "proxy.sock"

    @property
    def listener_socket(self) -> Path:
        """Where the node hands listeners of the cluster's network to the control process."""
        return self.run / "listener.sock"

    @property
    def exists(self) -> bool:
        return (self.path / "engine.json").exists()

    def create(self) -> None:
        """Make what is missing. Raises DirectoryError."""
        try:
            for part in (
                self.path,
                self.run,
                self.logs,
                self.pki,
                *(self.path / n for n in ("images", "volumes", "pods")),
            ):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(self.path, 0o700)
        except OSError as error:
            raise DirectoryError(
                f"data directory {self.path}: {error.strerror}; free it, or set XDG_STATE_HOME to another place"
            ) from error

    def load(self) -> ClusterSettings | None:
        """Return the settings kept here, None in a new directory. Raises DirectoryError, SettingsError."""
        path = self.path / "engine.json"
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise DirectoryError(f"{path}: cannot be read ({error}); restore it, or remove it to start over") from error
        if tree.get("format", 0) > FORMAT:
            raise DirectoryError(
                f"{self.path} was written by homeport {tree.get('version', '?')}, which is newer than this one;"
                " upgrade homeport, or choose another cluster with --name"
            )
        return ClusterSettings.from_json(tree["settings"])

    def save(self, settings: ClusterSettings, version: str) -> None:
        """Keep the settings for the next start."""
        tree = {"format": FORMAT, "version": version, "settings": settings.as_json()}
        write_atomically(self.path / "engine.json", json.dumps(tree, indent=2) + "\n")

    def lock(self) -> None:
        """Take the directory for this process until it ends. Raises DirectoryError when another engine has it."""
        descriptor = os.open(self.run / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DirectoryError(
                f"another engine runs on {self.path}; stop it with `homeport down`, or use another --name"
            ) from None
        self._lock = descriptor

    @contextmanager
    def change(self) -> Iterator[int]:
        """Wait until nobody else starts or stops the engine here, and keep them waiting meanwhile.

        Gives the descriptor that holds the lock: a process that inherits it keeps the others waiting until it closes
        it or ends, even when we end first.
        """
        descriptor = os.open(self.run / "change.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def record(self, name: str, pid: int, **details: Any) -> None:
        """Note that process `pid` plays the part `name`."""
        tree = {"name": name, "pid": pid, "start": syscalls.start_ticks(pid), "details": details}
        write_atomically(self.run / f"{name}.process", json.dumps(tree) + "\n")

    def forget(self, name: str) -> None:
        with suppress(FileNotFoundError):
            (self.run / f"{name}.process").unlink()

    def dns_endpoint(self) -> dict[str, Any] | None:
        """Return {host, port} of the DNS server's listener on the host, None while it does not run."""
        if self.process("dns") is None:
            return None
        try:
            endpoint: dict[str, Any] = json.loads((self.run / "dns.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return endpoint

    def exposed(self) -> list[dict[str, Any]]:
        """Return what is reachable on the host's loopback address, as {namespace, service, port, local, error}."""
        if self.process("expose") is None:
            return []
        try:
            rows: list[dict[str, Any]] = json.loads((self.run / "expose.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return rows

    def process(self, name: str) -> ProcessRecord | None:
        """Return the living process that plays a part, None when there is none."""
        try:
            tree = json.loads((self.run / f"{name}.process").read_text(encoding="utf-8"))
            record = ProcessRecord(tree["name"], tree["pid"], tree["start"], tree["details"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            return None
        return record if record.alive else None
