"""Ending one container: hook, signal, grace, kill. Source: `node` section 4.3.

The deadline may be moved forward while it runs: a second, shorter deletion takes effect at once.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from homeport.node.runtime.contract import Runtime

__all__ = ["Deadline", "stop_container", "stop_signal"]

RUNTIME_FLOOR_SECONDS: Final = 2.0


def stop_signal(name: str) -> int:
    """Return the number behind an image's StopSignal (`SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`); TERM for nonsense."""
    text = name.upper().strip()
    if text.isdigit():
        return int(text)
    text = text if text.startswith("SIG") else f"SIG{text}"
    base, _, offset = text.partition("+")
    found = getattr(signal, base, None)
    if not isinstance(found, signal.Signals):
        return int(signal.SIGTERM)
    return int(found) + (int(offset) if offset.isdigit() else 0)


class Deadline:
    """When grace ends, in loop time; it may only come nearer."""

    def __init__(self, grace: float) -> None:
        self._at = asyncio.get_running_loop().time() + grace
        self._moved = asyncio.Event()

    @property
    def left(self) -> float:
        return max(0.0, self._at - asyncio.get_running_loop().time())

    def shorten(self, grace: float) -> None:
        """Let no more than `grace` seconds pass from now on."""
        at = asyncio.get_running_loop().time() + grace
        if at < self._at:
            self._at = at
            self._moved.set()

    async def wait(self, event: asyncio.Event, floor: float = 0.0) -> bool:
        """Wait for `event` until the deadline, at least `floor` seconds; returns whether it came."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + floor
        came = asyncio.ensure_future(event.wait())
        try:
            while not came.done():
                self._moved.clear()
                left = max(self._at, earliest) - loop.time()
                if left <= 0:
                    break
                moved = asyncio.ensure_future(self._moved.wait())
                try:
                    await asyncio.wait((came, moved), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    moved.cancel()
            return came.done()
        finally:
            came.cancel()


async def stop_container(
    runtime: Runtime,
    container_id: str,
    number: int,
    deadline: Deadline,
    ended: asyncio.Event,
    pre_stop: Callable[[], Awaitable[None]] | None,
    turn: Callable[[], Awaitable[object]] | None = None,
) -> None:
    """Return once the container has ended.

    number    the signal that asks it to
    pre_stop  run first, within the grace; a container whose grace is zero gets none
    turn      returns when it may be told: predecessors in the stop order are gone, no new connection is led to it; not
              waited for beyond the grace
    """
    if pre_stop is not None and deadline.left > 0:
        await _within(deadline, ended, pre_stop)
    if turn is not None:
        await _within(deadline, ended, turn)
    if ended.is_set():
        return
    await runtime.signal(container_id, number)
    if await deadline.wait(ended, RUNTIME_FLOOR_SECONDS):
        return
    await runtime.signal(container_id, signal.SIGKILL)
    await ended.wait()


async def _within(deadline: Deadline, ended: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
    """Await `work`, but no longer than the grace or the container's life."""
    done = asyncio.Event()

    async def run() -> None:
        await work()
        done.set()

    async def until_ended() -> None:
        await ended.wait()
        done.set()

    tasks = (asyncio.ensure_future(run()), asyncio.ensure_future(until_ended()))
    try:
        await deadline.wait(done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if tasks[0].done() and not tasks[0].cancelled():
        tasks[0].result()
