"""Container output → CRI log files, one framed line per record (node 13.1 and 17.3).

`<RFC 3339 time, nine digits> <stdout|stderr> <F|P> <content>`: a container cannot forge a stream or a time, since every
newline it writes begins a new frame. A line longer than 16 KiB is cut: its pieces say P, the last one F.
"""

import asyncio
import errno
import gzip
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from homeport.clock import Clock, nano_time

__all__ = ["MAX_LINE_BYTES", "LogFile", "Pump", "open_log"]

MAX_LINE_BYTES: Final = 16 * 1024
MAX_FILE_BYTES: Final = 10 * 1024 * 1024
MAX_FILES: Final = 5
_CHUNK: Final = 64 * 1024


def open_log(path: Path) -> int:
    """Open a log to append to it, made when it is not there. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return os.open(path, flags, 0o640)


class LogFile:
    """Writes one container's log, split into lines per stream, and rotates it. There is no file before there is output.

    Rotation renames to `<name>.<YYYYMMDD-HHMMSS>`; all but the newest rotated file are compressed.

    later  runs a job that may take a while, such as packing ten megabytes, when it suits
    """

    def __init__(self, path: Path, clock: Clock, later: Callable[[Callable[[], None]], None]) -> None:
        self.path, self._clock, self._later = path, clock, later
        self._pending: dict[str, bytes] = {}
        self._fd, self._size = -1, 0

    def _open(self) -> None:
        self._fd = open_log(self.path)
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Append output of one stream; what follows the last newline waits for its own."""
        stamp = nano_time(self._clock.now()).encode()
        head = b"%s %s " % (stamp, stream.encode())
        *lines, rest = (self._pending.get(stream, b"") + data).split(b"\n")
        out: list[bytes] = []
        for line in lines:
            while len(line) > MAX_LINE_BYTES:
                out.append(b"%sP %s\n" % (head, line[:MAX_LINE_BYTES]))
                line = line[MAX_LINE_BYTES:]
            out.append(b"%sF %s\n" % (head, line))
        while len(rest) > MAX_LINE_BYTES:
            out.append(b"%sP %s\n" % (head, rest[:MAX_LINE_BYTES]))
            rest = rest[MAX_LINE_BYTES:]
        self._pending[stream] = rest
        self._append(b"".join(out))

    def close(self) -> None:
        """Write what never got its newline, and close."""
        stamp = nano_time(self._clock.now()).encode()
        rest = [b"%s %s F %s\n" % (stamp, stream.encode(), data) for stream, data in self._pending.items() if data]
        self._pending.clear()
        self._append(b"".join(rest))
        if self._fd >= 0:
            os.close(self._fd)

    def _append(self, data: bytes) -> None:
        if not data:
            return
        if self._fd < 0:
            self._open()
        if self._size and self._size + len(data) > MAX_FILE_BYTES:
            self._rotate()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._size += len(data)

    def _rotate(self) -> None:
        os.close(self._fd)
        stamp = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
        target = self.path.with_name(f"{self.path.name}.{stamp}")
        if not target.exists():  # two rotations within a second go to one file's successor, never over a file
            self.path.rename(target)
        self._open()
        rotated = sorted(path for path in self.path.parent.glob(f"{self.path.name}.*") if path.suffix != ".tmp")
        for old in rotated[: -(MAX_FILES - 1)]:
            old.unlink()
        for old in rotated[-(MAX_FILES - 1) : -1]:
            if old.suffix != ".gz":
                self._later(partial(_compress, old))


def _compress(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with suppress(FileNotFoundError):  # removed with its pod, or by the next rotation
        with open(path, "rb") as plain, gzip.open(temporary, "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed)
        temporary.rename(path.with_name(f"{path.name}.gz"))
        path.unlink()


class Pump:
    """Moves what a container writes from its FIFOs (or terminal) to its log, on the event loop.

    listeners  called with (stream, bytes) beside the log, whoever is attached; no bytes: the end
    """

    def __init__(self, log: LogFile, sources: dict[int, str]) -> None:
        self.log = log
        self.listeners: set[Callable[[str, bytes], None]] = set()
        self._sources = sources
        self._loop = asyncio.get_running_loop()
        for fd in sources:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._readable, fd)

    def _readable(self, fd: int) -> bool:
        """Move one chunk; False when there is nothing (more)."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the terminal's last user has left
                raise
            data = b""
        if not data:
            self._loop.remove_reader(fd)
            return False
        stream = self._sources[fd]
        self.log.write(stream, data)
        for listener in tuple(self.listeners):
            listener(stream, data)
        return True

    def finish(self) -> None:
        """Move all that is left, then close log and sources: the container has ended."""
        for fd in self._sources:
            while self._readable(fd):
                pass
        self.close()

    def close(self) -> None:
        """Stop where we are; what comes waits in the FIFOs for whoever opens them next."""
        for fd in self._sources:
            self._loop.remove_reader(fd)
            with suppress(OSError):
                os.close(fd)
        for listener in tuple(self.listeners):
            for stream in set(self._sources.values()):
                listener(stream, b"")
        self._sources = {}
        self.log.close()

    def terminal(self) -> int:
        """Return another descriptor of the terminal, for whoever attaches. Raises OSError."""
        [master] = self._sources
        return os.dup(master)
