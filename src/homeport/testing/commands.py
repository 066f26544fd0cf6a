"""Commands in simulated containers: what a test said they answer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.simulated import SimulatedExec, SimulatedRuntime

__all__ = ["Answer", "ExecResult", "Said", "chosen", "converse", "perform", "text_bytes"]

Said: TypeAlias = str | bytes | Callable[[Sequence[str], bytes], str | bytes]
"""What a command prints: always the same, or what a function of its words and its standard input returns."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended: its exit code, and what it wrote to its standard output and error."""

    code: int
    output: str
    errors: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What commands that begin with `words` print and end with, in a container or (empty) any."""

    words: tuple[str, ...]
    output: Said
    code: int = 0
    errors: str = ""
    container: str = ""


def chosen(answers: Sequence[Answer], container: str, argv: Sequence[str]) -> Answer | None:
    """Return the answer that names most of a command's words; of equals the one given last."""
    fitting = [
        one
        for one in answers
        if one.container in ("", container) and one.words == tuple(argv[: len(one.words)]) and one.words
    ]
    return max(reversed(fitting), key=lambda one: len(one.words), default=None)


async def perform(answer: Answer, spec: ExecSpec, streams: SimulatedExec) -> int:
    """Play a command on its streams; returns its exit code."""
    said = answer.output
    if callable(said):
        given = b""
        while spec.stdin and (piece := await streams.stdin.get()):
            given += piece
        said = said(spec.argv, given)
    if said:
        streams.print(text_bytes(said))
    if answer.errors:
        streams.print_error(answer.errors.encode())
    return answer.code


async def converse(runtime: SimulatedRuntime, container: ContainerSpec, spec: ExecSpec, stdin: bytes) -> ExecResult:
    """Run a command to its end, as a client would. Raises RuntimeFailure when the container does not run."""
    async with runtime.exec(container.id, spec) as session:
        if spec.stdin:
            if stdin:
                await session.write_stdin(stdin)
            await session.close_stdin()
        output, errors = await _all(session.read_stdout), await _all(session.read_stderr)
        return ExecResult(await session.wait(), output, errors)


async def _all(read: Callable[[], Awaitable[bytes]]) -> str:
    found = b""
    while piece := await read():
        found += piece
    return found.decode("utf-8", "replace")


def text_bytes(said: str | bytes) -> bytes:
    """Return text as it is printed."""
    return said.encode() if isinstance(said, str) else said
