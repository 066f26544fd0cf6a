"""Runs coroutines on one virtual loop, one after the other, from code that is not async."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from homeport.testing.loop import VirtualLoop

__all__ = ["LoopRunner"]

T = TypeVar("T")


class LoopRunner:
    """Like `asyncio.Runner`: Ctrl-C cancels what runs, and is raised once that has been seen out.

    asyncio's own has the running task, and so its result, written out as text at each call: Python's `signal` module
    does so with every handler it hands back. That took longer than most calls do.
    """

    def __init__(self) -> None:
        self.loop = VirtualLoop(threads=False)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result. Raises what it raises, Deadlock."""
        task = self.loop.create_task(coroutine)
        with _interruptible(task):
            return self.loop.run_until_complete(task)

    def close(self) -> None:
        """End whatever is left on the loop, then the loop."""
        try:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


@contextlib.contextmanager
def _interruptible(task: asyncio.Task[Any]) -> Iterator[None]:
    """Let the first Ctrl-C within the block cancel the task; a second one is raised where it comes."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not on_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # it is somebody else's
        return
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        if interrupted or task.done():
            raise KeyboardInterrupt
        interrupted = True
        task.cancel()
        task.get_loop().call_soon_threadsafe(lambda: None)  # it may be waiting

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if interrupted and task.uncancel() == 0:
            raise KeyboardInterrupt from None
        raise
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
