"""A person at a terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Mapping, Sequence

__all__ = ["Typist"]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Typist:
    """Runs a command on a terminal of its own, types, and reads what the screen was sent."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, columns: int = 80, rows: int = 24) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(command[0], list(command), {**env, "TERM": "xterm-256color"})
            finally:
                os._exit(127)
        self.sent = ""

    @property
    def text(self) -> str:
        """What was sent, without colours and movements of the cursor."""
        return _CONTROL.sub("", self.sent)

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def sees(self, text: str, seconds: float = 30) -> None:
        """Read until `text` is there; fail when it does not come."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not appear in {seconds} s: {self.text!r}"
            if not self._read(left):
                assert text in self.text, f"ended without {text!r}: {self.text!r}"

    def leaves(self, seconds: float = 30) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, f"still running after {seconds} s: {self.text!r}"
        _, status = os.waitpid(self.pid, 0)
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)

    def _read(self, seconds: float) -> bool:
        """Take in what comes within so many seconds; False when the other end is closed."""
        if not select.select([self.terminal], [], [], max(0, seconds))[0]:
            return True
        try:
            data = os.read(self.terminal, 65536)
        except OSError:  # EIO: nobody has the terminal any more
            return False
        self.sent += data.decode(errors="replace")
        return bool(data)
