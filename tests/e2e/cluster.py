"""A real cluster under test: started by the command line, seen through kubectl, torn down whole."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OLD_KUBECTL = ROOT / ".venv" / "kubectl-old" / "usr" / "bin" / "kubectl"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class CommandFailed(AssertionError):
    """A command of a test ended with an unexpected code; shows all it said."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        super().__init__(f"{' '.join(map(str, done.args))} → {done.returncode}\n{done.stdout}\n{done.stderr}")


@dataclass
class Cluster:
    """One named cluster with its state below `state`."""

    name: str
    state: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    prefix: tuple[str, ...] = ()
    """Words before every command, to run it as somebody else."""

    @property
    def env(self) -> dict[str, str]:
        path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
        return {**os.environ, "PATH": path, "XDG_STATE_HOME": str(self.state), "ETCDCTL_API": "3", **self.environment}

    @property
    def data(self) -> Path:
        return self.state / "homeport" / self.name

    def run(
        self, command: Sequence[str], *, code: int | None = 0, timeout: float = 110, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command with this cluster's environment; `code` None accepts any exit code."""
        done = subprocess.run(
            [*self.prefix, *command],
            env=self.env,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            input=stdin,
        )
        if code is not None and done.returncode != code:
            raise CommandFailed(done)
        return done

    def homeport(self, *arguments: str, code: int | None = 0, timeout: float = 110, stdin: str | None = None) -> str:
        """Run a homeport command for this cluster; returns its standard output."""
        return self.run(self.command(*arguments), code=code, timeout=timeout, stdin=stdin).stdout

    def command(self, *arguments: str) -> list[str]:
        """Return the words that run a homeport command for this cluster."""
        verb = 2 if arguments[0] == "image" else 1
        return [self.python, "-m", "homeport", *arguments[:verb], "--name", self.name, *arguments[verb:]]

    def complaint(self, *arguments: str, code: int = 1, timeout: float = 110) -> str:
        """Run a homeport command that must fail; return what it says on standard error."""
        return self.run(self.command(*arguments), code=code, timeout=timeout).stderr

    def inside(self, *command: str, code: int | None = 0, timeout: float = 110) -> str:
        """Run a program of the host in the cluster's network."""
        return self.homeport("run", "--", *command, code=code, timeout=timeout)

    def kubectl(
        self,
        *arguments: str,
        code: int | None = 0,
        timeout: float = 110,
        stdin: str | None = None,
        program: str = "kubectl",
    ) -> str:
        config = f"--kubeconfig={self.data / 'kubeconfig'}"
        cache = f"--cache-dir={self.state / 'kubectl-cache'}"
        return self.run([program, config, cache, *arguments], code=code, timeout=timeout, stdin=stdin).stdout

    def status(self) -> dict[str, Any]:
        seen: dict[str, Any] = json.loads(self.homeport("status", "-o", "json"))
        return seen

    def objects(self, what: str, *options: str) -> list[dict[str, Any]]:
        tree = json.loads(self.homeport("get", what, "-o", "json", *options))
        items: list[dict[str, Any]] = tree.get("items", [tree])
        return items

    def pod(self, name: str, namespace: str = "default") -> dict[str, Any]:
        return self.objects(f"pod/{name}", "-n", namespace)[0]

    def resolve(self, name: str, kind: str = "A") -> set[str]:
        """Return the data of the cluster's DNS answer to an absolute name, as seen from the host."""
        seen = json.loads(self.homeport("dig", name, kind, "-o", "json", code=None))
        return {record["data"] for record in seen["answer"]}

    def wait(self, *arguments: str, timeout: float = 90) -> None:
        self.kubectl("wait", *arguments, f"--timeout={timeout:.0f}s", timeout=timeout + 10)

    def down(self, *options: str) -> None:
        self.homeport("down", *options)


def ready_statefulset(cluster: Cluster, name: str, replicas: int, timeout: float = 90) -> None:
    """Wait until a StatefulSet has exactly so many ready replicas of its newest revision."""
    cluster.kubectl("rollout", "status", f"statefulset/{name}", f"--timeout={timeout:.0f}s", timeout=timeout + 10)
    cluster.wait(f"statefulset/{name}", f"--for=jsonpath={{.status.readyReplicas}}={replicas}", timeout=timeout)


Make = Callable[[str], Cluster]
