"""Time that moves only when everybody waits: an event loop for tests and simulations.

The loop's clock stands still while anything can run and jumps to the next timer when nothing can. Hours pass in
milliseconds, and a program in which all wait for each other fails with `Deadlock` instead of hanging; one that tries
again for ever without a pause, with `Livelock`.

Work handed to threads is real: while an executor call is in flight the clock stands, and its end is waited for. The
same holds, up to `IO_GRACE_SECONDS` of real time, for descriptors of others (sockets, pipes) when no timer is left.

A loop that serves others besides may be given a pace: it says how time passes while nothing is ready (`pace.Pace`).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, Final, TypeAlias, TypeVar, TypeVarTuple

from homeport.garbage import collect_rarely

__all__ = [
    "EPOCH",
    "IO_GRACE_SECONDS",
    "Deadlock",
    "Livelock",
    "Ready",
    "Select",
    "VirtualClock",
    "VirtualLoop",
    "run",
    "run_virtual",
]

EPOCH: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z, where virtual clocks start unless told otherwise."""

IO_GRACE_SECONDS: Final = 5.0
"""Real seconds a foreign descriptor may stay silent, with no timer left, before that counts as a deadlock."""

MOST_TURNS: Final = 1_000_000
"""Turns of the loop in which something always ran and no virtual time passed: beyond, it never will."""

TURNS_A_POLL: Final = 64
"""Turns between two looks at the system while the loop has nothing outside to wait for."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Ready: TypeAlias = list[tuple[selectors.SelectorKey, int]]
Select: TypeAlias = Callable[[float | None], Ready]
"""Waits up to so many real seconds (None: for ever) and returns the descriptors that are ready."""


class Deadlock(RuntimeError):
    """Every task waits, and no timer, thread or descriptor is left to wake one. Names the tasks and their places."""


class Livelock(RuntimeError):
    """The loop ran on and on and no time passed: somebody tries again without a pause. Names the tasks."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose `time()` starts at 0 and jumps to the next timer once nothing is ready.

    threads  False does what is meant for threads at once and in order, so that a seeded history repeats itself exactly
    """

    def __init__(self, *, threads: bool = True) -> None:
        self._threads = threads
        self._virtual_now = 0.0
        self._in_flight = 0
        self._own_descriptors: int | None = None
        self.pace: Callable[[float | None, Select], Ready] | None = None
        """Called in place of a jump when nothing is ready, with the seconds to the next timer (None: there is none)."""
        super().__init__(_JumpingSelector(self._idle, self._restless, self._is_alone))
        self._own_descriptors = len(self._jumping.get_map())
        self._end_wish = collect_rarely()

    def time(self) -> float:
        return self._virtual_now

    def close(self) -> None:
        self._end_wish()
        super().close()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        if not self._threads:
            return self._done(func, *args)
        future = super().run_in_executor(executor, func, *args)
        self._in_flight += 1
        future.add_done_callback(self._landed)
        return future

    def _done(self, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Return the outcome of a call made here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        self._in_flight += 1  # it joins the threads from a thread of its own
        try:
            await super().shutdown_default_executor(*args, **kwargs)
        finally:
            self._in_flight -= 1

    def _landed(self, _: "asyncio.Future[Any]") -> None:
        self._in_flight -= 1

    @property
    def _jumping(self) -> "_JumpingSelector":
        selector = self._selector  # type: ignore[attr-defined]
        assert isinstance(selector, _JumpingSelector)
        return selector

    def move(self, seconds: float) -> None:
        """Let so much virtual time have passed."""
        self._virtual_now = round(self._virtual_now + seconds, 9)

    def _is_alone(self) -> bool:
        """Whether nothing outside could have happened: there is no socket, and no thread at work."""
        return not self._in_flight and len(self._jumping.get_map()) == self._own_descriptors

    def _restless(self) -> None:
        raise Livelock(f"no time passed in {MOST_TURNS:,} turns:\n{_places(asyncio.all_tasks(self))}")

    def _idle(self, timeout: float | None, select: Select) -> Ready:
        """Nothing is ready: wait for what is real, or move the clock to the next timer."""
        if self._in_flight:
            return select(None)
        if self.pace is not None:
            return self.pace(timeout, select)
        if timeout is not None:
            self.move(timeout)
            return []
        if self._own_descriptors is not None and len(self._jumping.get_map()) > self._own_descriptors:
            ready = select(IO_GRACE_SECONDS)
            if not ready:
                raise Deadlock(f"descriptors stayed silent for {IO_GRACE_SECONDS:g} s and no timer is left")
            return ready
        raise Deadlock(f"every task waits and no timer is left:\n{_places(asyncio.all_tasks(self))}")


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that asks what to do before it would block, and says when it never would."""

    def __init__(
        self, idle: Callable[[float | None, Select], Ready], restless: Callable[[], None], alone: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._ask, self._restless, self._alone = idle, restless, alone
        self._turns = self._asked = 0

    def select(self, timeout: float | None = None) -> Ready:
        self._asked += 1
        needless = self._asked % TURNS_A_POLL and self._alone()  # the system would only say what is known: nothing
        ready: Ready = [] if needless else super().select(0)
        if not ready and timeout is not None and timeout <= 0:
            self._turns += 1
            if self._turns >= MOST_TURNS:
                self._turns = 0  # whoever is cancelled now needs some turns more
                self._restless()
            return ready
        self._turns = 0
        return ready or self._ask(timeout, super().select)


def _places(tasks: set[asyncio.Task[Any]]) -> str:
    lines = []
    for task in sorted(tasks, key=lambda task: task.get_name()):
        frames = task.get_stack(limit=1)
        place = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "not started"
        lines.append(f"  {task.get_name()} at {place}")
    return "\n".join(lines)


class VirtualClock:
    """Wall time that follows the running loop: `epoch` seconds at loop time 0."""

    def __init__(self, epoch: float = EPOCH) -> None:
        self.epoch = epoch

    def now(self) -> float:
        return self.epoch + asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh ordinary loop."""
    return asyncio.run(main)


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` to its end on a fresh virtual loop. Raises Deadlock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
