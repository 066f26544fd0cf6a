"""Threads that keep the network of their start."""

import asyncio
import os
from pathlib import Path

import pytest

from homeport.node import syscalls
from homeport.node.images.outside import OutsideThreads


def network() -> str:
    return os.readlink("/proc/thread-self/ns/net")


async def test_results_and_failures_come_back() -> None:
    with OutsideThreads(2) as threads:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(threads, sum, (1, 2)) == 3
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(threads, divmod, 1, 0)


@pytest.mark.real
def test_they_stay_when_the_main_thread_moves() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with OutsideThreads(1) as threads:
            before = network()
            syscalls.unshare(syscalls.CLONE_NEWNET)
            outside = threads.submit(network).result()
            os.write(writer, b"yes" if outside == before != network() else b"no")
        os._exit(0)
    os.close(writer)
    with open(reader) as said:
        assert said.read() == "yes"
    assert os.waitpid(pid, 0)[1] == 0
    assert Path(f"/proc/{pid}").exists() is False
