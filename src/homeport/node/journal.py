"""Small records by key in one file that is only appended to: to keep one costs a write, not a file.

A line is a JSON array of key and value; the last line of a key counts, and no value means there is none. A line its
writer died over is not one. Who writes is alone; anybody may read meanwhile. Nothing is forced to the disk: a power cut
takes what the last seconds knew, and the processes that was about have gone with it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from homeport.node.files import write_file

__all__ = ["Journal"]

SLACK_BYTES: Final = 256 * 1024
"""How much of the file may be out of date, beyond as much again as is not, before it is written anew."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, Any]).decode


class Journal:
    """The records of the file `path`, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._lines: dict[str, bytes] = {}
        self._live = 0
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            text = b""
        for line in text.split(b"\n"):
            try:
                key, value = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            self._note(key, b"" if value is None else line)
        self._size = len(text)
        self._torn = bool(text) and not text.endswith(b"\n")

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lines))

    def get(self, key: str) -> Any:
        """Return the value last put, as JSON has it; None when there is none."""
        line = self._lines.get(key)
        return None if line is None else _decode(line)[1]

    def put(self, key: str, value: Any) -> None:
        """Keep a value JSON can express and that is not null, in the place of the one before. Raises OSError."""
        line = _encode((key, value))
        if self._lines.get(key) != line:
            self._note(key, line)
            self._append(line)

    def drop(self, key: str) -> None:
        """Forget a key. Absent is fine. Raises OSError."""
        if key in self._lines:
            self._note(key, b"")
            self._append(_encode((key, None)))

    def _note(self, key: str, line: bytes) -> None:
        """Take a line as the last of its key; an empty one removes it."""
        self._live += len(line) - len(self._lines.get(key, b""))
        if line:
            self._lines[key] = line
        else:
            self._lines.pop(key, None)

    def _append(self, line: bytes) -> None:
        if self._size > SLACK_BYTES + 2 * self._live:
            self._write_anew()
            return
        left = memoryview(b"\n" * self._torn + line + b"\n")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        self._torn = False
        self._size += len(line) + 1

    def _write_anew(self) -> None:
        text = b"".join(line + b"\n" for line in self._lines.values())
        draft = f"{self._path}.new"
        write_file(draft, text, 0o600)
        os.replace(draft, self._path)
        self._size, self._torn = len(text), False
