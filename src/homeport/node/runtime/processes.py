"""Processes that are no children of ours: signalled, found and waited for without mistaking one for another."""

import asyncio
import os
import signal
from contextlib import suppress

from homeport.node import syscalls
from homeport.node.runtime.state import Process

__all__ = ["gone", "send_signal", "with_same_mounts"]


def send_signal(process: Process, number: int) -> None:
    """Signal that very process: the pidfd is taken first, so a recycled pid is noticed. Absent is fine."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if syscalls.same_process(process.pid, process.start):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


async def gone(pid: int) -> None:
    """Wait for the end of a process that is being killed."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(pidfd, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def with_same_mounts(pid: int) -> list[int]:
    """Return the processes in the same mount namespace: a container's, when it shares its pid namespace."""
    try:
        wanted = os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return []
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.stat(f"/proc/{name}/ns/mnt").st_ino == wanted:
                found.append(int(name))
    return found
