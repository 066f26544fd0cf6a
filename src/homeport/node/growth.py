"""Hearing of a file's growth: inotify(7), so that followed logs arrive as they are written."""

import asyncio
import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Final

__all__ = ["Growth"]

_IN_MODIFY: Final = 0x2
_IN_MOVE_SELF: Final = 0x800
_IN_CLOSE_WRITE: Final = 0x8
_IN_CREATE: Final = 0x100
_EVENT_BYTES: Final = 64 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class Growth:
    """A context in which `wait` returns once the file, or its folder, changed after the last call. Raises OSError.

    The folder is watched too: a rotated log continues in a new file of the same name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = asyncio.Event()
        self._descriptor = -1

    def __enter__(self) -> "Growth":
        descriptor: int = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._descriptor = descriptor
        try:
            self._watch(self._path, _IN_MODIFY | _IN_MOVE_SELF | _IN_CLOSE_WRITE)
            self._watch(self._path.parent, _IN_CREATE)
        except OSError:
            os.close(descriptor)
            raise
        asyncio.get_running_loop().add_reader(descriptor, self._readable)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _watch(self, path: Path, events: int) -> None:
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(path), events) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))

    def _readable(self) -> None:
        os.read(self._descriptor, _EVENT_BYTES)
        self._changed.set()

    def follow(self, path: Path) -> None:
        """Watch a file that took the place of the first."""
        self._watch(path, _IN_MODIFY | _IN_MOVE_SELF | _IN_CLOSE_WRITE)

    async def wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()
