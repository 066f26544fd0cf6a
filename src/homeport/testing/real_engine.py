"""A Homeport engine for tests: started by its command line in a temporary directory, gone afterwards."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from homeport.node.runtime.state import ContainerRecord, Records
from homeport.node.syscalls import boot_id

__all__ = ["EngineFailed", "RealEngine"]

_NAME: Final = "test"
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_STOP_SECONDS: Final = 120.0
_RESTART_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.02


class EngineFailed(RuntimeError):
    """A command of the engine failed; shows what it said."""


class RealEngine:
    """One engine on a new directory. `options` are further words of `homeport up`, such as `--image app=…`."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = tuple(options)
        self._state = Path(tempfile.mkdtemp(prefix="homeport-real-"))
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "homeport.testing.guardian", str(self._state), _NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        path = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"
        return {**os.environ, "PATH": path, "XDG_STATE_HOME": str(self._state)}

    @property
    def data(self) -> Path:
        return self._state / "homeport" / _NAME

    @property
    def api_socket(self) -> Path:
        return self.data / "run" / "api.sock"

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kubeconfig"

    def up(self) -> None:
        """Start the engine, or start it again; its node serves. Raises EngineFailed."""
        self._homeport("up", *self._options)

    def status(self) -> dict[str, Any]:
        """Return what `homeport status` says."""
        seen: dict[str, Any] = json.loads(self._homeport("status", "-o", "json"))
        return seen

    def dns(self) -> tuple[str, int] | None:
        """Return where the cluster's DNS is asked from the host; None while it does not serve."""
        try:
            endpoint = json.loads((self.data / "run" / "dns.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return endpoint["host"], endpoint["port"]

    def _homeport(self, verb: str, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "homeport", verb, "--name", _NAME, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineFailed(f"homeport {verb} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def process(self, name: str) -> int | None:
        """Return the pid of a living process of the engine: `control`, `node`, `dns`."""
        try:
            tree = json.loads((self.data / "run" / f"{name}.process").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        pid = int(tree["pid"])
        return pid if _alive(pid) else None

    def kill(self, name: str) -> None:
        """End a process of the engine as a crash would, and return once it is gone."""
        pid = self._living(name)
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], _RESTART_SECONDS)[0]:
                raise EngineFailed(f"process {name} ({pid}) does not end")
        finally:
            os.close(descriptor)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process of the engine."""
        os.kill(self._living(name), number)

    def _living(self, name: str) -> int:
        pid = self.process(name)
        if pid is None:
            raise EngineFailed(f"process {name} does not run")
        return pid

    def await_process(self, name: str, holds: Callable[[], bool]) -> None:
        """Return once a process runs and something holds. Raises EngineFailed after half a minute."""
        deadline = time.monotonic() + _RESTART_SECONDS
        while self.process(name) is None or not holds():
            if time.monotonic() > deadline:
                raise EngineFailed(f"process {name} does not come back; see {self.data / 'logs' / name}.log")
            time.sleep(_LOOK_SECONDS)  # it is another process's to start, and nothing tells

    def containers(self, namespace: str, pod: str) -> list[ContainerRecord]:
        """Return the containers of a pod whose processes live."""
        boot = boot_id()
        return [
            record
            for record in Records(self.data / "run").containers()
            if (record.labels.get("pod-namespace"), record.labels.get("pod-name")) == (namespace, pod)
            and record.process is not None
            and record.process.alive(boot)
        ]

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the engine's own logs."""
        parts = []
        for log in sorted((self.data / "logs").glob("*.log")):
            text = log.read_text("utf-8", "replace").splitlines()[-lines:]
            parts += [f"--- {log.name}", *text] if text else []
        return "\n".join(parts)

    def close(self) -> None:
        """Take everything away. Raises EngineFailed when something stays."""
        _, said = self._guardian.communicate(timeout=_STOP_SECONDS)  # its input ends, so it begins
        if self._guardian.returncode:
            raise EngineFailed(f"the cluster in {self._state} was not taken down: {said.decode('utf-8', 'replace')}")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")
