"""This process's own standard streams, for a remote command: raw when the other end has a terminal."""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable
from typing import Any

__all__ = ["Terminal"]


class Terminal:
    """Streams of the person at this end. Restores the terminal when left."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw and sys.stdin.isatty()
        self._before: list[Any] | None = None

    def __enter__(self) -> "Terminal":
        if self._raw:
            self._before = termios.tcgetattr(sys.stdin)
            tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed ahead stays
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def size(self) -> tuple[int, int] | None:
        """Return (columns, rows); None without a terminal."""
        try:
            size = os.get_terminal_size(sys.stdin.fileno())
        except OSError:
            return None
        return size.columns, size.lines

    def on_resize(self, changed: Callable[[], None]) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, changed)

    def write(self, data: bytes, *, error: bool = False) -> None:
        stream = sys.stderr.buffer if error else sys.stdout.buffer
        stream.write(data)
        stream.flush()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what is typed or piped in, until its end."""
        descriptor = sys.stdin.fileno()
        while True:
            await _readable(descriptor)
            data = os.read(descriptor, 65536)
            if not data:
                return
            yield data


async def _readable(descriptor: int) -> None:
    """Wait until there is something to read, without a thread that would outlive the wish for it."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a regular file: never makes anybody wait (epoll_ctl(2))
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
