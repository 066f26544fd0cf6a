"""What a test does to pods and nodes by hand. Two sides: the simulated world, and real pods on this machine."""

from collections.abc import Sequence
from typing import Protocol

from homeport.node.pod import ProbeKind
from homeport.testing.commands import Answer, ExecResult

__all__ = ["Hands", "Unsupported"]


class Unsupported(RuntimeError):
    """This cannot be done to such a cluster; the text says what can."""


class Hands(Protocol):
    """Every call is done when it returns. Raises Unsupported for what this kind of cluster cannot do."""

    def end_containers(self, namespace: str, pod: str, container: str, code: int | None, *, oom: bool) -> bool:
        """Let the containers of a pod (or one of them) end now; returns whether one was running.

        code  exit code; None: as a program that is killed has it
        """
        ...

    def set_probe(self, namespace: str, pod: str, kind: ProbeKind, *, fails: bool) -> None: ...

    def slow_start(self, namespace: str, pod: str, seconds: float) -> None: ...

    def print_lines(self, namespace: str, pod: str, lines: Sequence[str]) -> None: ...

    def use(self, namespace: str, pod: str, container: str, cpu: int, memory: int) -> None:
        """Let containers of a pod use so many thousandths of a processor and bytes of memory from now on."""
        ...

    def answer_command(self, namespace: str, pod: str, answer: Answer) -> None: ...

    def listen(self, namespace: str, pod: str, port: int, server: tuple[str, int]) -> None: ...

    def exec(self, namespace: str, pod: str, container: str, argv: Sequence[str], stdin: bytes) -> ExecResult:
        """Run a command in a running container. Raises ValueError when it does not run."""
        ...

    def logs(self, namespace: str, pod: str, container: str) -> str: ...

    def nodes(self) -> Sequence[str]:
        """Return the names of the nodes."""
        ...

    def lose_node(self, name: str) -> None: ...

    def kill_agent(self, name: str) -> None: ...

    def start_node(self, name: str) -> None: ...

    def cut_node(self, name: str) -> None: ...

    def join_node(self, name: str) -> None: ...
