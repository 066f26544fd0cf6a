"""Running commands inside containers: the runtime's `exec` with pipes or a terminal."""

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["PipeSession", "TerminalSession", "resize_terminal", "wait_until_ready"]

_CHUNK: Final = 64 * 1024
_RUNTIME_FAILED: Final = 255
_NOT_STARTED: Final = 127
_START_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.002
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def resize_terminal(fd: int, columns: int, rows: int) -> None:
    """Set a terminal's size; its foreground processes hear SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class PipeSession:
    """Three pipes to the runtime's `exec`, which waits for the command and passes its exit code on."""

    def __init__(self, process: asyncio.subprocess.Process, pid_file: Path) -> None:
        self._process, self._pid_file = process, pid_file
        self._pidfd: int | None = None
        with suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(process.pid)

    @classmethod
    async def start(
        cls, command: Sequence[str], passed: Sequence[int], pid_file: Path, *, stdin: bool
    ) -> "PipeSession":
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd="/",
            pass_fds=passed,
        )
        return cls(process, pid_file)

    async def write_stdin(self, data: bytes) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._process.stdin.write(data)
                await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def read_stdout(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.read(_CHUNK)

    async def read_stderr(self) -> bytes:
        assert self._process.stderr is not None
        return await self._process.stderr.read(_CHUNK)

    async def resize(self, columns: int, rows: int) -> None:
        """Without a terminal there is nothing to resize."""

    async def kill(self) -> None:
        """End the command and its process group, then the runtime that watches it."""
        if self._process.returncode is not None or self._pidfd is None:
            return
        command = await self._command()
        if command is not None:
            with suppress(OSError):
                os.kill(command, signal.SIGKILL)  # itself first: it may not lead a group yet
            with suppress(OSError):
                os.killpg(command, signal.SIGKILL)
        with suppress(ProcessLookupError):  # not Process.kill: it may collect the status behind the loop's back
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def _command(self) -> int | None:
        """Return the command's pid once the runtime has written it; None when it ends first, or takes too long.

        A runtime that is killed halfway would leave a command behind that nobody knows, and that holds the pipes open.
        """
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while self._process.returncode is None and asyncio.get_running_loop().time() < deadline:
            with suppress(OSError, ValueError):
                return int(self._pid_file.read_text(encoding="ascii"))
            await asyncio.sleep(_LOOK_SECONDS)  # it gives no other sign
        return None

    async def wait(self) -> int:
        """Return the exit code; a command the runtime could not start at all is 127, as a shell says it."""
        code = await self._process.wait()
        if code == _RUNTIME_FAILED and not self._pid_file.exists():
            return _NOT_STARTED
        return 128 - code if code < 0 else code

    async def close(self) -> None:
        """Kill what still runs and let go."""
        await self.kill()
        await self._process.wait()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        await self.close_stdin()


class TerminalSession:
    """One pseudo-terminal of a command the runtime has detached; output comes on stdout alone.

    master  the terminal's master side, ours to close
    pid     the command, leader of its session
    ended   its exit code, from the namespace keeper
    """

    def __init__(self, master: int, pid: int, ended: asyncio.Future[int]) -> None:
        self._master, self._pid, self._ended = master, pid, ended
        os.set_blocking(master, False)

    async def write_stdin(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._master, view) :]
            except BlockingIOError:
                await wait_until_ready(self._master, write=True)
            except OSError:
                return  # the command has closed its terminal

    async def close_stdin(self) -> None:
        """On a terminal the end of input is a character (EOT)."""
        await self.write_stdin(b"\x04")

    async def read_stdout(self) -> bytes:
        while True:
            try:
                return os.read(self._master, _CHUNK)
            except BlockingIOError:
                await wait_until_ready(self._master, write=False)
            except OSError:
                return b""  # EIO: nobody has the terminal open any more

    async def read_stderr(self) -> bytes:
        return b""

    async def resize(self, columns: int, rows: int) -> None:
        resize_terminal(self._master, columns, rows)

    async def kill(self) -> None:
        """End the command and its process group."""
        if not self._ended.done():
            with suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Kill what still runs and hang up."""
        await self.kill()
        os.close(self._master)
        await self._ended


async def wait_until_ready(fd: int, *, write: bool) -> None:
    """Wait until a descriptor takes (or has) data."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    (loop.add_writer if write else loop.add_reader)(fd, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if write else loop.remove_reader)(fd)
