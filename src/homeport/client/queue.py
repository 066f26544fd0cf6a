"""The work queue of a controller: which objects to look at, each by one worker at a time.

Rules (`workloads` 19; client-go's workqueue):
- a key that waits is not added twice;
- a key that is being worked on is remembered and comes up once more when that work is done;
- failures are retried after 5 ms, 10 ms, 20 ms … up to 1,000 s, and all retries of a queue share 10 per second after
  a burst of 100;
- of several delayed adds the earliest counts.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from homeport.errors import ApiError

__all__ = ["QueueClosed", "WorkQueue"]

K = TypeVar("K", bound=Hashable)

RETRY_FIRST_SECONDS: Final = 0.005
RETRY_LIMIT_SECONDS: Final = 1000.0
RETRY_RATE: Final = 10.0
RETRY_BURST: Final = 100.0
REST_LIMIT_SECONDS: Final = 0.05

_log = logging.getLogger(__name__)


class QueueClosed(Exception):
    """The queue was closed and is empty: the worker ends."""


class WorkQueue(Generic[K]):
    """Keys waiting for a worker. Time is the running loop's.

        async for key in queue:      # done(key) is called when the body ends
            try:
                await sync(key)
            except ApiError as error:
                queue.retry(key, error)
            else:
                queue.forget(key)

    `process` is that loop, with several workers.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()  # wants work: waits in `_ready`, or will when its present work is done
        self._processing: set[K] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._bucket = _TokenBucket(RETRY_RATE, RETRY_BURST)
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being worked on; delayed keys do not count."""
        return not self._ready and not self._processing

    def add(self, key: K) -> None:
        """Ask for a look at `key` as soon as a worker is free."""
        if self._closed or key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, delay_seconds: float) -> None:
        """Ask for a look at `key` in a while; an earlier wish stands."""
        if self._closed:
            return
        if delay_seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + delay_seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= deadline:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(deadline, self._due, key)

    def retry(self, key: K, error: BaseException | None = None) -> None:
        """Ask again after a failure, later each time, until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        backoff = min(RETRY_FIRST_SECONDS * 2.0 ** min(failures, 60), RETRY_LIMIT_SECONDS)
        delay = max(backoff, self._bucket.reserve(asyncio.get_running_loop().time()))
        if error is not None:
            _log.info("%s: %s failed, again in %.3g s: %s", self.name or "queue", key, delay, error)
        self.add_after(key, delay)

    def failures(self, key: K) -> int:
        """How often `key` was retried since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key succeeded, or is not worth another try: its next failure counts as the first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Return the next key; it belongs to the caller until `done`. Raises QueueClosed."""
        await self._something()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    async def _something(self) -> None:
        """Return once a key is ready. Raises QueueClosed."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif self._ready:
                    self._wake_one()  # it was woken and cannot act: pass it on
                raise

    def done(self, key: K) -> None:
        """The caller finished with `key`; if it was added meanwhile, it waits again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake_one()

    def done_after(self, key: K, seconds: float) -> None:
        """The caller finished with `key`, which comes up again no sooner than in `seconds`."""
        if seconds <= 0 or self._closed:
            self.done(key)
        else:
            asyncio.get_running_loop().call_later(seconds, self.done, key)

    def __aiter__(self) -> AsyncIterator[K]:
        return _Worker(self)

    async def process(
        self,
        sync: Callable[[K], Awaitable[None]],
        *,
        workers: int = 1,
        retry_on: tuple[type[Exception], ...] = (ApiError, OSError),
        rest: float = 0.0,
        rest_limit_seconds: float = REST_LIMIT_SECONDS,
    ) -> None:
        """Run `sync` for every key until closed or cancelled; `retry_on` is retried, anything else is a bug and raised.

        An ApiError or an unreachable server (OSError) is what retries are for.

        rest  a key is left alone for so many times as long as the look at it took, but no longer than the limit: what
              changes meanwhile is seen together, so a key that is costly and busy takes a bounded part of the time
        """
        loop = asyncio.get_running_loop()
        begun = 0

        def begin() -> None:
            nonlocal begun
            group.create_task(worker(), name=f"{self.name or 'queue'}-{begun}")
            begun += 1

        async def worker() -> None:
            task = asyncio.current_task()
            assert task is not None
            looks = _Worker(self)
            async for key in looks:
                if begun < workers and not self._waiters and not self._closed:
                    begin()  # nobody would be free for the next key: most queues never need more than two
                began = loop.time()
                try:
                    await sync(key)
                except retry_on as error:
                    if task.cancelling():  # a failure while cleaning up must not hide that the worker is to end
                        raise asyncio.CancelledError from error
                    self.retry(key, error)
                else:
                    self.forget(key)
                    looks.finish(min(rest_limit_seconds, rest * (loop.time() - began)))

        with contextlib.suppress(QueueClosed):
            await self._something()  # many a queue never has a key: it needs no worker
            async with asyncio.TaskGroup() as group:
                begin()

    def close(self) -> None:
        """Refuse new keys, forget delayed ones; workers end once the rest is handed out."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        while self._waiters:
            self._wake_one()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class _Worker(Generic[K]):
    """One worker's view: asking for the next key ends the work on the last one."""

    def __init__(self, queue: WorkQueue[K]) -> None:
        self._queue = queue
        self._current: list[K] = []

    def __aiter__(self) -> AsyncIterator[K]:
        return self

    def finish(self, rest_seconds: float) -> None:
        """End the work on the present key, which is left alone for a while."""
        self._queue.done_after(self._current.pop(), rest_seconds)

    async def __anext__(self) -> K:
        while self._current:
            self._queue.done(self._current.pop())
        try:
            key = await self._queue.get()
        except QueueClosed:
            raise StopAsyncIteration from None
        self._current.append(key)
        return key


class _TokenBucket:
    """`reserve` takes a token, on credit if need be, and returns the seconds until it is there."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        self._last: float | None = None

    def reserve(self, now: float) -> float:
        if self._last is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._rate)
