"""Small files written whole, with the mode they are to have whatever the umask says, and directories to hold them."""

import os

__all__ = ["make_directory", "write_file"]


def make_directory(base: str, *parts: str, mode: int = 0o777) -> str:
    """Make a directory that lies some steps below another one, with what is missing of the way; return its path.

    mode  of the directory itself, before the umask
    """
    path, last = base, len(parts) - 1
    for step, part in enumerate(parts):
        path = f"{path}/{part}"
        bits = mode if step == last else 0o777
        try:
            os.mkdir(path, bits)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        except FileNotFoundError:
            os.makedirs(base, exist_ok=True)
            os.mkdir(path, bits)
    return path


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
