"""Virtual time and real clients in one world: a virtual loop in a thread of its own.

Time stands still between the test's calls, while the loop goes on answering whoever asks. A call lets time jump from
timer to timer until it is done, and returns once everything that is due at that moment has happened. Before each jump,
clients that were just told something get a moment of real time (`patience`) to react: so a watching operator keeps up
with hours that pass at once. With a `speed`, time flows by itself.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from homeport.testing.loop import Ready, Select, VirtualLoop

__all__ = ["PATIENCE_SECONDS", "LoopThread", "Pace", "await_outcome", "call_started", "running_loop"]

PATIENCE_SECONDS: Final = 0.05
"""Real seconds a client outside has to react to what it was told before time goes on."""

HEARING_SECONDS: Final = 1.0
"""How often one who waits for another thread listens for signals that came just before it began to wait."""

T = TypeVar("T")


call_started: ContextVar[Callable[["asyncio.Task[Any]"], None] | None] = ContextVar("call_started", default=None)
"""Told the task of each call made in this context, on the loop's thread: whoever gives a call up cancels it."""


class Pace:
    """How time passes on a loop whenever nothing is ready; called on the loop's thread only.

    patience  real seconds clients outside have to react before time goes on
    speed     virtual seconds per real one by which time flows by itself; None: it stands unless a call lets it jump
    """

    def __init__(self, loop: VirtualLoop, patience: float = PATIENCE_SECONDS) -> None:
        self._loop, self.patience = loop, patience
        self.speed: float | None = None
        self._calls = self._blocking = 0
        self._holds = 0
        self._lock = threading.Lock()
        self._told = False
        self._done: list[Callable[[], None]] = []

    def told(self) -> None:
        """A client outside was told something it may want to react to."""
        self._told = True

    def hold(self) -> None:
        """Let time stand, whatever calls there are but those that block a loop, until as many `release`.

        Any thread may ask.
        """
        with self._lock:
            self._holds += 1

    def release(self) -> None:
        """End one `hold`; on the loop's thread."""
        with self._lock:
            self._holds -= 1

    def begin(self, *, blocks: bool) -> None:
        """A call lets time go on, until `end`. One that `blocks` a loop, and all who would release there, goes on."""
        self._calls += 1
        self._blocking += blocks

    def end(self, done: Callable[[], None], *, blocks: bool) -> None:
        """The call is over; `done` is called once nothing more is due now."""
        self._calls -= 1
        self._blocking -= blocks
        self._done.append(done)

    def __call__(self, timeout: float | None, select: Select) -> Ready:
        done, self._done = self._done, []
        for tell in done:
            tell()
        if self.speed is not None and not self._calls:
            return self._flow(self.speed, timeout, select)
        if not self._calls or (self._holds and not self._blocking) or timeout is None:
            return select(None)
        if self._told:
            self._told = False
            if ready := select(self.patience):
                self._told = True  # it reacts: what it does next may take as long again
                return ready
        self._loop.move(timeout)
        return []

    def _flow(self, speed: float, timeout: float | None, select: Select) -> Ready:
        began = time.monotonic()
        ready = select(None if timeout is None else timeout / speed)
        passed = (time.monotonic() - began) * speed
        self._loop.move(passed if timeout is None or (ready and passed < timeout) else timeout)
        return ready


class LoopThread:
    """Runs a virtual loop until `stop`. Everybody else talks to the loop through `call`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop, self.pace = loop, Pace(loop)
        loop.pace = self.pace
        self._failure: BaseException | None = None
        self._open: set[concurrent.futures.Future[Any]] = set()
        self._thread = threading.Thread(target=self._main, name="homeport", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        except BaseException as error:  # told to whoever calls now or later
            self._failure = error
            for outcome in tuple(self._open):
                if not outcome.done():
                    outcome.set_exception(error)

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is this one."""
        return threading.current_thread() is self._thread

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, time passing as far as it waits, and return its result.

        Interrupted, the coroutine is cancelled and seen out first.
        """
        told, blocks = call_started.get(), running_loop() is not None
        if self.is_here:
            coroutine.close()
            raise RuntimeError("this is called by the cluster's own loop, which cannot wait for itself")
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        running: list[asyncio.Task[T]] = []

        def begin() -> None:
            self.pace.begin(blocks=blocks)
            task = self._loop.create_task(coroutine)
            running.append(task)
            task.add_done_callback(lambda task: self.pace.end(lambda: _pass_on(task, outcome), blocks=blocks))
            if told is not None:
                told(task)

        self._open.add(outcome)
        try:
            if self._failure is not None:
                coroutine.close()
                raise self._failure
            self._loop.call_soon_threadsafe(begin)
            try:
                await_outcome(outcome)
            except BaseException:  # a signal's: Ctrl-C, or a test's time limit
                self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in running])
                await_outcome(outcome)
                raise
            return outcome.result()
        finally:
            self._open.discard(outcome)

    def post(self, action: Callable[[], object]) -> None:
        """Do something on the loop soon; nothing when it has come to its end."""
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(action)

    @contextmanager
    def flowing(self, speed: float) -> Iterator[None]:
        """Let time flow by itself within the block, `speed` virtual seconds in a real one."""
        if speed <= 0:
            raise ValueError(f"time cannot flow by {speed:g} seconds a second")
        before = self.pace.speed
        self.post(lambda: setattr(self.pace, "speed", speed))
        try:
            yield
        finally:
            self.post(lambda: setattr(self.pace, "speed", before))

    def stop(self) -> None:
        """End the thread; the loop is the caller's again, with time as it was before."""
        if self._failure is None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.pace = None


def await_outcome(outcome: "concurrent.futures.Future[Any]") -> None:
    """Return once it is there, in the thread of a caller. Signals are heard, KeyboardInterrupt is raised here.

    A signal that comes between Python's last look for one and the moment the thread sleeps does not wake it.
    """
    while not concurrent.futures.wait([outcome], HEARING_SECONDS).done:
        pass


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop this thread runs now; a thread that runs one cannot run another."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _pass_on(task: asyncio.Task[T], outcome: "concurrent.futures.Future[T]") -> None:
    if task.cancelled():
        outcome.set_exception(asyncio.CancelledError())
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())
