import asyncio
import socket
import threading
import time

import pytest

from homeport.testing import loop
from homeport.testing.loop import EPOCH, Deadlock, VirtualClock, run_virtual


@pytest.mark.virtual
async def test_hours_pass_at_once_and_the_clock_follows() -> None:
    clock = VirtualClock()
    started = time.monotonic()
    await asyncio.sleep(7200)
    assert asyncio.get_running_loop().time() == 7200.0
    assert clock.now() == EPOCH + 7200
    assert time.monotonic() - started < 5


@pytest.mark.virtual
async def test_timers_fire_in_order_at_their_own_times() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[str, float]] = []

    async def one(name: str, delay: float) -> None:
        await asyncio.sleep(delay)
        seen.append((name, loop.time()))

    await asyncio.gather(one("c", 0.3), one("a", 0.1), one("b", 0.2))
    assert seen == [("a", 0.1), ("b", 0.2), ("c", 0.3)]


def test_waiting_for_each_other_is_a_deadlock_that_names_the_task() -> None:
    async def stuck() -> None:
        asyncio.current_task().set_name("the-stuck-one")  # type: ignore[union-attr]
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="the-stuck-one"):
        run_virtual(stuck)


def test_trying_again_without_a_pause_is_a_livelock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MOST_TURNS", 1000)

    async def impatient() -> None:
        while True:  # noqa: ASYNC110 – that is what is wrong with it
            await asyncio.sleep(0)

    with pytest.raises(loop.Livelock, match=r"test_loop\.py"):
        loop.run_virtual(impatient)


def test_a_timeout_beats_the_deadlock() -> None:
    async def stuck() -> None:
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), 30)

    with pytest.raises(TimeoutError):
        run_virtual(stuck)


@pytest.mark.virtual
async def test_a_thread_in_flight_holds_the_clock() -> None:
    loop = asyncio.get_running_loop()
    go = threading.Event()
    timer = loop.create_task(asyncio.sleep(60))
    threading.Timer(0.02, go.set).start()
    await asyncio.to_thread(go.wait)
    assert loop.time() == 0.0
    await timer
    assert loop.time() == 60.0


@pytest.mark.virtual
async def test_real_descriptors_are_waited_for() -> None:
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=left)
    threading.Timer(0.02, lambda: right.sendall(b"x")).start()
    assert await reader.readexactly(1) == b"x"
    writer.close()
    right.close()
