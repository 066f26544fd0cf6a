"""A virtual loop in a thread of its own: time stands still, jumps during calls, or flows."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from homeport.testing.loop import VirtualLoop
from homeport.testing.pace import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    loop = VirtualLoop(threads=False)
    made = LoopThread(loop)
    yield made
    made.stop()
    loop.close()


async def now() -> float:
    return asyncio.get_running_loop().time()


async def _at(together: asyncio.Barrier) -> None:
    await together.wait()


async def after(seconds: float, seen: list[float]) -> None:
    await asyncio.sleep(seconds)
    seen.append(asyncio.get_running_loop().time())


def test_time_passes_in_calls_alone(thread: LoopThread) -> None:
    seen: list[float] = []

    async def start() -> "asyncio.Task[None]":
        return asyncio.create_task(after(5, seen))

    task = thread.call(start())
    assert thread.call(now()) == 0.0
    thread.call(asyncio.sleep(3600))
    assert seen == [5.0]
    assert thread.call(now()) == 3600.0
    assert task.done()


def test_a_call_returns_once_everything_due_has_happened(thread: LoopThread) -> None:
    seen: list[int] = []

    async def chain(left: int) -> None:
        seen.append(left)
        if left:
            asyncio.get_running_loop().call_soon(lambda: tasks.append(asyncio.create_task(chain(left - 1))))

    tasks: list[asyncio.Task[None]] = []
    for _ in range(50):
        seen.clear()
        thread.call(chain(20))
        assert seen[-1] == 0


def test_calls_share_one_time(thread: LoopThread) -> None:
    ended: list[float] = []

    def sleep(seconds: float) -> None:
        async def wait() -> None:
            await together.wait()
            await asyncio.sleep(seconds)
            ended.append(asyncio.get_running_loop().time())

        thread.call(wait())

    together = asyncio.Barrier(4)
    calls = [threading.Thread(target=sleep, args=(seconds,)) for seconds in (30.0, 10.0, 20.0)]
    for call in calls:
        call.start()

    thread.call(_at(together))
    for call in calls:
        call.join()
    assert ended == [10.0, 20.0, 30.0]


def test_time_flows_when_told(thread: LoopThread) -> None:
    seen: list[float] = []
    reached = threading.Event()

    async def start() -> "asyncio.Task[None]":
        task = asyncio.create_task(after(60, seen))
        task.add_done_callback(lambda _: reached.set())
        return task

    task = thread.call(start())
    with thread.flowing(speed=6000):
        assert reached.wait(30)
    stopped = thread.call(now())
    assert stopped >= 60.0
    assert thread.call(now()) == stopped
    assert seen == [pytest.approx(60.0, abs=5)]
    assert task.done()
    with pytest.raises(ValueError, match="cannot flow"), thread.flowing(0):
        pass


def test_whoever_was_told_something_may_react_before_time_goes_on(thread: LoopThread) -> None:
    thread.pace.patience = 30.0
    ours, theirs = socket.socketpair()
    heard: list[tuple[bytes, float]] = []

    async def serve() -> "asyncio.Task[None]":
        reader, writer = await asyncio.open_connection(sock=ours)

        async def talk() -> None:
            writer.write(b"news")
            thread.pace.told()
            heard.append((await reader.read(10), asyncio.get_running_loop().time()))
            thread.pace.patience = 0.0
            writer.close()

        return asyncio.create_task(talk())

    def react() -> None:
        assert theirs.recv(10) == b"news"
        time.sleep(0.05)
        theirs.sendall(b"reaction")

    reacting = threading.Thread(target=react)
    reacting.start()
    talking = thread.call(serve())
    thread.call(asyncio.sleep(3600))
    reacting.join()
    theirs.close()
    assert heard == [(b"reaction", 0.0)]
    assert talking.done()


def test_failures_are_the_callers(thread: LoopThread) -> None:
    async def fail() -> None:
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        thread.call(fail())

    async def nested() -> None:
        thread.call(now())

    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        thread.call(nested())


def test_an_interrupted_call_is_cancelled(thread: LoopThread) -> None:
    ended: list[str] = []

    async def endless() -> None:
        timer.start()
        try:
            while True:  # noqa: ASYNC110
                await asyncio.sleep(1)
        finally:
            ended.append("cancelled")

    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        thread.call(endless())
    assert ended == ["cancelled"]
    assert thread.call(asyncio.sleep(1, "well")) == "well"
