"""The real side of `hands.Hands`: signals to processes, commands in containers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from homeport.api.exchange import Request
from homeport.api.resources import find
from homeport.client.remote_command import RemoteCommand
from homeport.errors import ApiError, error_from_status
from homeport.node.pod import ProbeKind
from homeport.testing.commands import Answer, ExecResult
from homeport.testing.hands import Unsupported

if TYPE_CHECKING:
    from homeport.testing.real import RealCluster

__all__ = ["RealHands"]

PODS: Final = find("Pod")
KILLED_CODE: Final = 128 + signal.SIGKILL


class RealHands:
    """Acts on the processes of an engine. Its node is this machine."""

    def __init__(self, cluster: "RealCluster") -> None:
        self._cluster = cluster

    def end_containers(self, namespace: str, pod: str, container: str, code: int | None, *, oom: bool) -> bool:
        if oom:
            raise Unsupported("real pods run out of memory by using it up; crash() kills a program")
        if code not in (None, KILLED_CODE):
            raise Unsupported(f"a real program is killed, and its exit code is {KILLED_CODE}, not {code}")
        found = [
            one.process
            for one in self._cluster.engine.containers(namespace, pod)
            if container in ("", one.labels.get("container")) and one.process is not None
        ]
        for process in found:
            try:
                os.kill(process.pid, signal.SIGKILL)
            except PermissionError as error:
                raise Unsupported(f"pod {pod} runs as another user, whose programs you may not kill") from error
        return bool(found)

    def set_probe(self, namespace: str, pod: str, kind: ProbeKind, *, fails: bool) -> None:
        _refuse("probes of real pods ask real programs; let the program answer otherwise")

    def slow_start(self, namespace: str, pod: str, seconds: float) -> None:
        _refuse("real programs start as fast as they do; let the program wait")

    def print_lines(self, namespace: str, pod: str, lines: Sequence[str]) -> None:
        _refuse("real programs print what they print")

    def use(self, namespace: str, pod: str, container: str, cpu: int, memory: int) -> None:
        _refuse("real pods use what their programs use; `use` needs a simulated cluster")

    def answer_command(self, namespace: str, pod: str, answer: Answer) -> None:
        _refuse("commands really run in real pods; nothing is scripted")

    def listen(self, namespace: str, pod: str, port: int, server: tuple[str, int]) -> None:
        _refuse("real programs listen by themselves")

    def exec(self, namespace: str, pod: str, container: str, argv: Sequence[str], stdin: bytes) -> ExecResult:
        query = [("command", word) for word in argv]
        query += [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
        remote = RemoteCommand(self._cluster.engine.api_socket, PODS.path(namespace, pod, "exec"), query)
        near = _Kept(stdin)
        try:
            code = self._cluster.run(remote.run(near, pass_stdin=True))
        except ApiError as error:
            raise ValueError(f"{argv[0]} cannot run in pod {pod}: {error.message}") from error
        return ExecResult(code, near.output.decode("utf-8", "replace"), near.errors.decode("utf-8", "replace"))

    def logs(self, namespace: str, pod: str, container: str) -> str:
        names = [container] if container else list(self._cluster.pods[f"{namespace}/{pod}"].images)

        async def read() -> str:
            parts = []
            for name in names:
                path = PODS.path(namespace, pod, "log")
                response = await self._cluster.transport.send(Request("GET", path, (("container", name),)))
                if response.status >= 400:
                    raise error_from_status(response.status, {"message": response.body.decode("utf-8", "replace")})
                parts.append(response.body.decode("utf-8", "replace"))
            return "".join(parts)

        return self._cluster.run(read())

    def nodes(self) -> Sequence[str]:
        return (self._cluster.node_name,)

    def lose_node(self, name: str) -> None:
        _refuse("a real node is this machine; kill_agent() ends its agent, cut() parts it from the API")

    def kill_agent(self, name: str) -> None:
        """Kill the node's process; the engine starts it anew by itself, within a second at first."""
        self._cluster.engine.kill("node")

    def start_node(self, name: str) -> None:
        """Return once the node's process runs and answers."""
        engine = self._cluster.engine
        engine.await_process("node", (engine.data / "run" / "node.sock").exists)

    def cut_node(self, name: str) -> None:
        """Stop the node's process (SIGSTOP): it hears and says nothing; pods go on running."""
        self._cluster.engine.signal("node", signal.SIGSTOP)

    def join_node(self, name: str) -> None:
        self._cluster.engine.signal("node", signal.SIGCONT)


def _refuse(text: str) -> NoReturn:
    raise Unsupported(text)


class _Kept:
    """The near end of a command (`remote_command.Streams`): gives input, keeps what comes."""

    def __init__(self, stdin: bytes) -> None:
        self._stdin = stdin
        self.output, self.errors = bytearray(), bytearray()

    def size(self) -> tuple[int, int] | None:
        return None

    def on_resize(self, changed: Callable[[], None]) -> None:
        """There is no terminal."""

    def write(self, data: bytes, *, error: bool = False) -> None:
        (self.errors if error else self.output).extend(data)

    async def read(self) -> AsyncIterator[bytes]:
        if self._stdin:
            yield self._stdin
        await asyncio.sleep(0)
