"""An ordinary event loop in a thread of its own, for calls from code that has none."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from homeport.testing.pace import await_outcome, call_started

__all__ = ["RealLoop"]

T = TypeVar("T")


class RealLoop:
    """Runs until `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="homeport-real", daemon=True)
        self._thread.start()

    def now(self) -> float:
        """Return the loop's seconds."""
        return self._loop.time()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result; interrupted, it is cancelled."""
        told = call_started.get()

        async def run() -> T:
            task = asyncio.current_task()
            if told is not None and task is not None:
                told(task)
            return await coroutine

        outcome = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            await_outcome(outcome)
        except BaseException:  # a signal's: Ctrl-C, or a test's time limit
            outcome.cancel()
            raise
        try:
            return outcome.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError from None

    def post(self, action: Callable[[], object]) -> None:
        """Do something on the loop soon."""
        self._loop.call_soon_threadsafe(action)

    def stop(self) -> None:
        """End the thread and the loop."""
        self.post(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
