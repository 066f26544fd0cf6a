"""Small files written whole, with the mode they are to have whatever the umask says."""

import os

__all__ = ["write_file"]


def write_file(path: str, content: bytes, mode: int) -> None:
    """Write a file, made or emptied first. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        os.fchmod(descriptor, mode)
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)
