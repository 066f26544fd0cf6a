"""Reading container logs in CRI format: tail, since, timestamps, limits, and following a file that grows.

`parse` and `Selection` are pure. Writers stamp each record: `<RFC3339Nano> <stdout|stderr> <F|P> <content>`; a
record marked P is a piece of a longer line. Source: `node` sections 13.1 and 13.2.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from homeport.clock import nano_time, parse_time
from homeport.node.growth import Growth

__all__ = ["LogOptions", "Record", "parse", "read_log", "tail_records"]

CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One line, or a piece of one when not `complete`. `stamp` is the text the writer gave it."""

    stamp: str
    stream: str
    complete: bool
    content: bytes


def parse(line: bytes) -> Record | None:
    """Return the record of one line of the file without its newline; None for what no writer of ours made."""
    parts = line.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    content = parts[3] if len(parts) == 4 else b""
    complete = not parts[2].startswith(b"P")
    return Record(parts[0].decode("latin-1"), parts[1].decode("latin-1"), complete, content)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a client asks for; `since` in epoch seconds, `stream` `All`, `Stdout` or `Stderr`."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: float | None = None
    limit_bytes: int | None = None
    stream: str = "All"


def tail_records(path: Path, lines: int) -> list[Record]:
    """Return the last `lines` lines of a log file as records; none when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(_tail_offset(file.fileno(), lines))
            return [record for line in file if (record := parse(line.rstrip(b"\n"))) is not None]
    except FileNotFoundError:
        return []


def _tail_offset(descriptor: int, lines: int) -> int:
    """Return where the last `lines` complete lines begin, reading backwards. Pieces of one line count once."""
    end = os.fstat(descriptor).st_size
    if lines <= 0:
        return end
    position, rest, seen = end, b"", 0
    while position > 0:
        size = min(CHUNK_BYTES, position)
        position -= size
        data = os.pread(descriptor, size, position) + rest
        pieces = data.split(b"\n")
        rest = pieces[0]
        offset = position + len(data)
        for piece in reversed(pieces[1:] if position > 0 else pieces):
            start = offset - len(piece)
            if piece and (record := parse(piece)) is not None and record.complete:
                seen += 1
                if seen > lines:
                    return min(end, offset + 1)
            offset = start - 1
    return 0


class _Selection:
    """Turns records into the bytes a client sees, until its limit is reached."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._stream = options.stream.lower()
        self._line_open = False

    @property
    def full(self) -> bool:
        return self._left == 0

    def render(self, record: Record) -> bytes:
        options = self._options
        if self._stream != "all" and record.stream != self._stream:
            return b""
        if options.since is not None and _seconds(record.stamp) < options.since:
            return b""
        out = record.content + b"\n" * record.complete
        if options.timestamps and not self._line_open:
            out = _nine_digits(record.stamp) + b" " + out
        self._line_open = not record.complete
        if self._left is not None:
            out = out[: self._left]
            self._left -= len(out)
        return out


def _seconds(stamp: str) -> float:
    """Return epoch seconds of a writer's stamp, whatever its number of digits."""
    head, dot, tail = stamp.partition(".")
    if not dot:
        return parse_time(stamp)
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return parse_time(f"{head}.{tail[:digits][:6]:0<6}{tail[digits:]}")


def _nine_digits(stamp: str) -> bytes:
    """Return the stamp with exactly nine digits after the second, as `kubectl logs --timestamps` shows it."""
    head, dot, tail = stamp.partition(".")
    if not dot:
        return nano_time(parse_time(stamp)).encode()
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:9]:0<9}{tail[digits:]}".encode()


async def read_log(path: Path, options: LogOptions, ended: asyncio.Event | None) -> AsyncGenerator[bytes, None]:
    """Yield the log's bytes; with `follow`, as they are written until the instance has `ended` and all is read.

    ended   None for an instance that ended long ago. A followed log goes on in the file that took its name.
    """
    selection = _Selection(options)
    with ExitStack() as stack:
        growth = stack.enter_context(Growth(path)) if options.follow and ended is not None else None
        file = stack.enter_context(path.open("rb"))
        if options.tail_lines is not None:
            file.seek(_tail_offset(file.fileno(), options.tail_lines))
        buffer = b""
        while not selection.full:
            over = ended is None or ended.is_set()
            data = file.read(CHUNK_BYTES)
            if data:
                out, buffer = _drain(buffer + data, selection)
                if out:
                    yield out
            elif _replaced(path, file):
                file = stack.enter_context(path.open("rb"))
                if growth is not None:
                    growth.follow(path)
            elif growth is None or ended is None or over:
                break
            else:
                await _grown_or_ended(growth, ended)


def _replaced(path: Path, file: BinaryIO) -> bool:
    """Whether another file has the log's name now: this one was rotated away, and is read to its end."""
    try:
        return os.stat(path).st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


async def _grown_or_ended(growth: Growth, ended: asyncio.Event) -> None:
    tasks = (asyncio.ensure_future(growth.wait()), asyncio.ensure_future(ended.wait()))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _drain(buffer: bytes, selection: _Selection) -> tuple[bytes, bytes]:
    """Render the complete lines of `buffer`; returns them and what is left."""
    *lines, rest = buffer.split(b"\n")
    return b"".join(_rendered(lines, selection)), rest


def _rendered(lines: list[bytes], selection: _Selection) -> Iterator[bytes]:
    for line in lines:
        if selection.full:
            return
        record = parse(line)
        if record is not None:
            yield selection.render(record)
