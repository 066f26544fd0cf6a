"""Running commands inside containers: the runtime's `exec` with pipes or a terminal."""

import asyncio
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from homeport.node.holder import bind_beneath
from homeport.node.runtime.contract import RuntimeFailure

__all__ = ["PipeSession", "TerminalSession", "resize_terminal", "wait_until_ready"]

_CHUNK: Final = 64 * 1024
_CONSOLE_TIMEOUT_SECONDS: Final = 10
_RUNTIME_FAILED: Final = 255
_NOT_STARTED: Final = 127
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def resize_terminal(fd: int, columns: int, rows: int) -> None:
    """Set a terminal's size; its foreground processes hear SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class _Session:
    """What both kinds share: the runtime's process, and the command's own pid to kill."""

    def __init__(self, process: asyncio.subprocess.Process, pid_file: Path) -> None:
        self._process, self._pid_file = process, pid_file
        self._pidfd: int | None = None
        with suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(process.pid)

    async def kill(self) -> None:
        """End the command and its process group, then the runtime that watches it."""
        if self._process.returncode is not None or self._pidfd is None:
            return
        with suppress(OSError, ValueError):
            os.killpg(int(self._pid_file.read_text(encoding="ascii")), signal.SIGKILL)
        with suppress(ProcessLookupError):  # not Process.kill: it may collect the status behind the loop's back
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def _finish(self) -> None:
        await self.kill()
        await self._process.wait()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def wait(self) -> int:
        """Return the exit code; a command the runtime could not start at all is 127, as a shell says it."""
        code = await self._process.wait()
        if code == _RUNTIME_FAILED and not self._pid_file.exists():
            return _NOT_STARTED
        return 128 - code if code < 0 else code


class PipeSession(_Session):
    """Three pipes."""

    @classmethod
    async def start(cls, command: Sequence[str], pid_file: Path, *, stdin: bool) -> "PipeSession":
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd="/",
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

    async def close(self) -> None:
        """Kill what still runs and let go."""
        await self._finish()
        await self.close_stdin()


class TerminalSession(_Session):
    """One pseudo-terminal; output comes on stdout alone."""

    def __init__(self, process: asyncio.subprocess.Process, pid_file: Path, master: int) -> None:
        super().__init__(process, pid_file)
        self._master = master

    @classmethod
    async def start(cls, command: Sequence[str], console: Path, pid_file: Path) -> "TerminalSession":
        """Start `command`, which delivers its terminal on the socket `console`. Raises RuntimeFailure."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
            bind_beneath(listener, console.parent, console.name)
            listener.listen(1)
            listener.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=_ENVIRONMENT,
                cwd="/",
            )
            master = await _receive_terminal(listener, process)
        os.set_blocking(master, False)
        return cls(process, pid_file, master)

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

    async def close(self) -> None:
        """Kill what still runs and hang up."""
        await self._finish()
        os.close(self._master)


async def _receive_terminal(listener: socket.socket, process: asyncio.subprocess.Process) -> int:
    """Return the terminal's master side, or raise RuntimeFailure with what the runtime said instead."""
    loop = asyncio.get_running_loop()
    accepting = asyncio.ensure_future(loop.sock_accept(listener))
    ending = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({accepting, ending}, timeout=_CONSOLE_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not accepting.done():
            assert process.stderr is not None
            said = (await process.stderr.read()).decode("utf-8", "replace").strip() if ending.done() else "no terminal"
            raise RuntimeFailure("ExecError", said)
        connection, _ = accepting.result()
        with connection:
            await wait_until_ready(connection.fileno(), write=False)
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            if not fds:
                raise RuntimeFailure("ExecError", "the runtime sent no terminal")
            os.set_inheritable(fds[0], False)
            return fds[0]
    finally:
        accepting.cancel()
        ending.cancel()


async def wait_until_ready(fd: int, *, write: bool) -> None:
    """Wait until a descriptor takes (or has) data."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    (loop.add_writer if write else loop.add_reader)(fd, ready.set)
    try:
        await ready.wait()
    finally:
        (loop.remove_writer if write else loop.remove_reader)(fd)
