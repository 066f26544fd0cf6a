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
            tty.setraw(sys.stdin)
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
        loop = asyncio.get_running_loop()
        while data := await loop.run_in_executor(None, os.read, sys.stdin.fileno(), 65536):
            yield data
