"""Attaching to a container's main process: its output as it comes, and its input."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final

from homeport.node.runtime.logs import Pump
from homeport.node.runtime.streams import resize_terminal, wait_until_ready

__all__ = ["AttachedSession"]

MAX_WAITING_BYTES: Final = 4 << 20
"""Output kept for an attached client that does not read; past it the session ends, the container never waits."""


class AttachedSession:
    """Implements `contract.ExecSession` beside the log.

    stdin      a descriptor to write input to, ours to close; None when the container takes none
    terminal   whether that descriptor is a terminal's master side
    end_input  lets the container see the end of its input
    exit_code  waits for the container's end
    """

    def __init__(
        self,
        pump: Pump,
        stdin: int | None,
        *,
        terminal: bool,
        end_input: Callable[[], Awaitable[None]],
        exit_code: Callable[[], Awaitable[int]],
    ) -> None:
        self._pump, self._stdin, self._terminal = pump, stdin, terminal
        self._end_input, self._exit_code = end_input, exit_code
        self._queues: dict[str, asyncio.Queue[bytes]] = {"stdout": asyncio.Queue(), "stderr": asyncio.Queue()}
        self._waiting_bytes = 0
        if stdin is not None:
            os.set_blocking(stdin, False)
        if terminal:
            self._queues["stderr"].put_nowait(b"")
        pump.listeners.add(self._heard)

    def _heard(self, stream: str, data: bytes) -> None:
        self._waiting_bytes += len(data)
        if data and self._waiting_bytes > MAX_WAITING_BYTES:
            self._pump.listeners.discard(self._heard)
            for queue in self._queues.values():
                queue.put_nowait(b"")
            return
        self._queues[stream].put_nowait(data)

    async def write_stdin(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._stdin is not None:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await wait_until_ready(self._stdin, write=True)
            except OSError:
                return  # the container has closed its input

    async def close_stdin(self) -> None:
        if self._stdin is None:
            return
        if self._terminal:
            await self.write_stdin(b"\x04")
            return
        os.close(self._stdin)
        self._stdin = None
        await self._end_input()

    async def read_stdout(self) -> bytes:
        return await self._read("stdout")

    async def read_stderr(self) -> bytes:
        return await self._read("stderr")

    async def _read(self, stream: str) -> bytes:
        data = await self._queues[stream].get()
        self._waiting_bytes -= len(data)
        if not data:
            self._queues[stream].put_nowait(b"")  # the end stays the end
        return data

    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal and self._stdin is not None:
            resize_terminal(self._stdin, columns, rows)

    async def kill(self) -> None:
        """Attaching gives no right to end the container."""

    async def wait(self) -> int:
        return await self._exit_code()

    def detach(self) -> None:
        """Leave everything as it is."""
        self._pump.listeners.discard(self._heard)
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None
