"""The calls of a cluster for tests that are `async`: the same names and arguments, awaited.

    await homeport.aio.apply("statefulset.yaml")
    await homeport.aio.wait("sts/db", ready=3)

The test's own loop, whichever it is, goes on meanwhile; the cluster's has a thread of its own. Calls that are awaited
together run together, in one virtual time. A call that is cancelled ends.
"""

import asyncio
import contextvars
import importlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from homeport.testing.cluster import SimulatedCluster
from homeport.testing.pace import LoopThread, call_started

if TYPE_CHECKING:
    from homeport.testing.facade import Cluster

__all__ = ["AsyncCluster"]

BEGIN_SECONDS: Final = 1.0
"""Real seconds time waits for a call to begin: one that is busy with something else, such as kubectl, need not."""

P = ParamSpec("P")
T = TypeVar("T")


class _Call:
    """A call that may be given up: its task on the cluster's loop is cancelled, now or as soon as it starts.

    Virtual time stands until the call has begun, and the test's loop has gone round twice: whatever is awaited together
    begins at one moment, before time goes on for any of it. Everything happens on the cluster's thread, but `around`.
    """

    def __init__(self, thread: LoopThread | None) -> None:
        self._thread = thread
        self._running: list[asyncio.Task[Any]] = []
        self._given_up = self._begun = self._around = False
        if thread is not None:
            thread.pace.hold()

    def started(self, task: "asyncio.Task[Any]") -> None:
        """One of the tasks that make up the call has begun."""
        self._running.append(task)
        if self._given_up:
            task.cancel()
        self.begun()

    def begun(self) -> None:
        """The call has begun, or is over."""
        before, self._begun = self._holds, True
        self._release(before)

    def around(self) -> None:
        """The test's loop has gone round."""
        if self._thread is not None:
            self._thread.post(self._went_around)

    def _went_around(self) -> None:
        before, self._around = self._holds, True
        self._release(before)

    @property
    def _holds(self) -> bool:
        return not (self._begun and self._around)

    def _release(self, before: bool) -> None:
        if before and not self._holds and self._thread is not None:
            self._thread.pace.release()

    def give_up(self) -> None:
        """Cancel what runs."""
        self._given_up = True
        for task in self._running:
            task.get_loop().call_soon_threadsafe(task.cancel)


class AsyncCluster:
    """Awaitable calls on a cluster, for asyncio and trio."""

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self.advance = self._lifted(cluster.advance)
        self.settle = self._lifted(cluster.settle)
        self.wait = self._lifted(cluster.wait)
        self.apply = self._lifted(cluster.apply)
        self.find = self._lifted(cluster.find)
        self.get = self._lifted(cluster.get)
        self.list = self._lifted(cluster.list)
        self.patch = self._lifted(cluster.patch)
        self.scale = self._lifted(cluster.scale)
        self.delete = self._lifted(cluster.delete)
        self.resolve = self._lifted(cluster.resolve)
        self.endpoints = self._lifted(cluster.endpoints)
        self.events = self._lifted(cluster.events)
        self.logs = self._lifted(cluster.logs)
        self.exec = self._lifted(cluster.exec)
        self.kubectl = self._lifted(cluster.kubectl)
        self.restart_controllers = self._lifted(cluster.restart_controllers)
        if isinstance(cluster, SimulatedCluster):
            self.snapshot = self._lifted(cluster.snapshot)
            self.restore = self._lifted(cluster.restore)
            self.fork = self._lifted(cluster.fork)

    async def do(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make any other call: `await homeport.aio.do(homeport.pods["db-0"].crash)`."""
        return await self._lifted(action)(*args, **kwargs)

    def _lifted(self, method: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        async def lifted(*args: P.args, **kwargs: P.kwargs) -> T:
            thread = self._cluster.apart() if isinstance(self._cluster, SimulatedCluster) else None
            return await _in_a_thread(thread, lambda: method(*args, **kwargs))

        return lifted


async def _in_a_thread(thread: LoopThread | None, action: Callable[[], T]) -> T:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        trio: Any = importlib.import_module("trio")
        done: T = await trio.to_thread.run_sync(action)
        return done
    call = _Call(thread)
    loop.call_soon(loop.call_soon, call.around)
    context = contextvars.copy_context()
    context.run(call_started.set, call.started)
    working = _working(loop, lambda: context.run(action))
    if thread is not None:
        late = loop.call_later(BEGIN_SECONDS, thread.post, call.begun)
        working.add_done_callback(lambda _: late.cancel())
        working.add_done_callback(lambda _: thread.post(call.begun))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        call.give_up()
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # it ends because it was given up
        raise


def _working(loop: asyncio.AbstractEventLoop, action: Callable[[], T]) -> "asyncio.Future[T]":
    """Start a thread of its own for a call: calls wait for each other, so none may queue for a place in a pool."""
    future: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        try:
            result = action()
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(future.cancel)
        except BaseException as error:
            loop.call_soon_threadsafe(_fail, future, error)
        else:
            loop.call_soon_threadsafe(_succeed, future, result)

    threading.Thread(target=work, name="homeport-call").start()
    return future


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _succeed(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)
