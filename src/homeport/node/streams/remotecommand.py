"""A command's streams and a client's channels tied together: exec and attach. Source: `api-machinery` 17.4 to 17.9.

`Channels` hides which protocol the client speaks. Everything printed is delivered before the status, which is the
last thing the client hears.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from homeport.node.runtime.contract import ExecSession

__all__ = ["SUCCESS", "Channels", "Wanted", "exit_status", "failure_status", "parse_sizes", "serve_session"]

SUCCESS: Final[Mapping[str, Any]] = {"metadata": {}, "status": "Success"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams the client asked for."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Channels(Protocol):
    """The client's side. Writing to a client that is gone raises ConnectionError."""

    async def stdin(self) -> bytes:
        """Return the next input; empty at its end, which a client that left also is."""
        ...

    def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """Yield (columns, rows) as the terminal changes."""
        ...

    async def stdout(self, data: bytes) -> None: ...
    async def stderr(self, data: bytes) -> None: ...
    async def finish(self, status: Mapping[str, Any]) -> None:
        """Send the status and close."""
        ...

    async def gone(self) -> None:
        """Return when the client has left."""
        ...


def exit_status(code: int) -> Mapping[str, Any]:
    """Return the Status for a command that ended with `code`; clients take their own exit code from it."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure_status(message: str) -> Mapping[str, Any]:
    """Return the Status for a command that could not be run."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: error executing command in container: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": f"error executing command in container: {message}"}]},
        "code": 500,
    }


def parse_sizes(buffer: str) -> tuple[list[tuple[int, int]], str]:
    """Read concatenated `{"Width":…,"Height":…}` objects; returns them and the unfinished rest."""
    sizes: list[tuple[int, int]] = []
    decoder = json.JSONDecoder()
    while text := buffer.lstrip():
        try:
            tree, end = decoder.raw_decode(text)
        except ValueError:
            return sizes, text
        buffer = text[end:]
        if isinstance(tree, dict):
            sizes.append((int(tree.get("Width") or 0), int(tree.get("Height") or 0)))
    return sizes, ""


async def serve_session(session: ExecSession, wanted: Wanted, channels: Channels) -> None:
    """Carry a command's streams until it ends or the client leaves."""
    work = asyncio.create_task(_carry(session, wanted, channels))
    left = asyncio.create_task(channels.gone())
    try:
        await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            with contextlib.suppress(ConnectionError):
                work.result()
    finally:
        for task in (work, left):
            task.cancel()
        await asyncio.wait((work, left))


async def _carry(session: ExecSession, wanted: Wanted, channels: Channels) -> None:
    inputs = [asyncio.create_task(_sizes(session, channels))] if wanted.tty else []
    if wanted.stdin:
        inputs.append(asyncio.create_task(_stdin(session, channels)))
    try:
        outputs = [asyncio.create_task(_copy(session.read_stdout, channels.stdout if wanted.stdout else None))]
        if not wanted.tty:
            outputs.append(asyncio.create_task(_copy(session.read_stderr, channels.stderr if wanted.stderr else None)))
        try:
            for output in outputs:
                await output
            code = await session.wait()
        finally:
            for output in outputs:
                output.cancel()
        await channels.finish(exit_status(code))
    finally:
        for task in inputs:
            task.cancel()


async def _copy(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]] | None) -> None:
    while data := await read():
        if write is not None:
            await write(data)


async def _stdin(session: ExecSession, channels: Channels) -> None:
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        while data := await channels.stdin():
            await session.write_stdin(data)
        await session.close_stdin()


async def _sizes(session: ExecSession, channels: Channels) -> None:
    async for columns, rows in channels.sizes():
        await session.resize(columns, rows)
