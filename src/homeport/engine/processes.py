"""The engine's other processes: started, watched, started again when they die, ended together."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from homeport.engine.directory import DataDirectory, ProcessRecord
from homeport.node.namespaces import wait_for_end

__all__ = ["Supervisor", "end_process", "spawn"]

RESTART_FIRST_SECONDS: Final = 0.2
RESTART_LIMIT_SECONDS: Final = 10.0
STEADY_SECONDS: Final = 30.0
TERM_SECONDS: Final = 15.0

_log = logging.getLogger(__name__)


def spawn(directory: DataDirectory, name: str, module: str, arguments: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `python -m module` apart from us: own session, output to `logs/<name>.log`, outliving us."""
    with open(directory.logs / f"{name}.log", "ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, "--data", str(directory.path), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )


def end_process(
    record: ProcessRecord, seconds: float = TERM_SECONDS, farewell: signal.Signals = signal.SIGTERM
) -> None:
    """Ask a process to end, by the signal `farewell`, and make it. Blocks; for use in a thread."""
    for number, patience in ((farewell, seconds), (signal.SIGKILL, 5.0)):
        if not record.alive:
            return
        with suppress(ProcessLookupError):
            os.kill(record.pid, number)
        if wait_for_end(record.pid, patience):
            return


class Supervisor:
    """Keeps one process running for as long as `run` does; ends it on cancellation, by the signal `farewell`."""

    def __init__(
        self, directory: DataDirectory, name: str, module: str, *, farewell: signal.Signals = signal.SIGTERM
    ) -> None:
        self._directory, self._name, self._module, self._farewell = directory, name, module, farewell

    async def run(self) -> None:
        """Start the process, in place of one an earlier engine left, and again whenever it ends."""
        left = self._directory.process(self._name)
        if left is not None:
            await asyncio.to_thread(end_process, left)
        loop = asyncio.get_running_loop()
        pause = RESTART_FIRST_SECONDS
        while True:
            started = loop.time()
            process = spawn(self._directory, self._name, self._module)
            self._directory.record(self._name, process.pid)
            try:
                code = await _ended(process)
            except asyncio.CancelledError:
                process.send_signal(self._farewell)
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(asyncio.to_thread(_reap, process))
                self._directory.forget(self._name)
                raise
            if loop.time() - started > STEADY_SECONDS:
                pause = RESTART_FIRST_SECONDS
            _log.warning("%s ended with %s; starting it again in %.1f s", self._name, code, pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RESTART_LIMIT_SECONDS)


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(TERM_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _ended(process: subprocess.Popen[bytes]) -> int:
    """Return the exit code once there is one; the pidfd turns readable at that moment (pidfd_open(2))."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    pidfd = os.pidfd_open(process.pid)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    return process.wait()
