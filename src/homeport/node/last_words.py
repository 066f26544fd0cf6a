"""Termination messages: what a container left in its file, or the end of its log. Source: `node` section 4.4."""

import os
import stat
from pathlib import Path
from typing import Final

from homeport.node.logs import tail_records

__all__ = ["read_last_words"]

FILE_BYTES: Final = 4096
LOG_LINES: Final = 80
LOG_BYTES: Final = 2048


def read_last_words(file: Path, log: Path, *, from_log: bool) -> str:
    """Return the message; `from_log` allows the log's end when the file is empty."""
    text = _file_end(file)
    if text or not from_log:
        return text
    data = b"".join(record.content + b"\n" * record.complete for record in tail_records(log, LOG_LINES))
    return data[-LOG_BYTES:].decode("utf-8", "replace")


def _file_end(path: Path) -> str:
    """Read the last bytes of a regular file: the container may have put anything else in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return ""
        return os.pread(descriptor, FILE_BYTES, max(0, found.st_size - FILE_BYTES)).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
