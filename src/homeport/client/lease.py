"""Leader election on a Lease: of all who run, one leads, and everybody agrees who.

`decide` is the rule book, over values; `LeaderElector` reads, writes and waits. Clocks of different machines are never
compared: a challenger waits until the record has not changed, as it observed itself, for a whole lease.

Source: client-go leaderelection; `workloads` 20.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.clock import Clock, micro_time
from homeport.errors import AlreadyExists, ApiError, Conflict, NotFound

__all__ = ["LeaderElector", "LeaseTimes", "Record", "decide"]

LEASES: Final = find("Lease", "coordination.k8s.io")
JITTER: Final = 1.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a lease holds, how long a leader keeps trying to renew it, and how often anybody tries; in seconds."""

    lease: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease > self.renew_deadline > self.retry * JITTER > 0:
            raise ValueError("lease must be longer than renew_deadline, and that longer than 1.2 times retry")


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease's spec, times as they are written."""

    holder: str
    duration: int
    acquired: str
    renewed: str
    transitions: int

    @classmethod
    def parse(cls, lease: Object) -> "Record":
        spec: Mapping[str, Any] = lease.get("spec") or {}
        return cls(
            spec.get("holderIdentity") or "",
            spec.get("leaseDurationSeconds") or 0,
            spec.get("acquireTime") or "",
            spec.get("renewTime") or "",
            spec.get("leaseTransitions") or 0,
        )

    def spec(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": self.duration,
            "acquireTime": self.acquired,
            "renewTime": self.renewed,
            "leaseTransitions": self.transitions,
        }


def decide(mine: str, seen: Record | None, unchanged_seconds: float, times: LeaseTimes, stamp: str) -> Record | None:
    """Return the record to write in order to lead, or None while somebody else does.

    seen  the record there now, None when there is no Lease; `unchanged_seconds` is how long it was observed to be so.
    """
    duration = round(times.lease)
    if seen is None:
        return Record(mine, duration, stamp, stamp, 0)
    if seen.holder == mine:
        return Record(mine, duration, seen.acquired, stamp, seen.transitions)
    if seen.holder and unchanged_seconds < (seen.duration or times.lease):
        return None
    return Record(mine, duration, stamp, stamp, seen.transitions + 1)


class LeaderElector:
    """Runs for leader of one Lease under one identity."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        namespace: str,
        name: str,
        identity: str,
        *,
        rng: random.Random,
        times: LeaseTimes | None = None,
        recorder: EventRecorder | None = None,
    ) -> None:
        self._client, self._clock, self._rng = client, clock, rng
        self._namespace, self._name, self._identity = namespace, name, identity
        self._times = times or LeaseTimes()
        self._recorder = recorder
        self._lease: Object | None = None
        self._record: Record | None = None
        self._observed_at = 0.0
        self.leading = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lead, run `lead` while having it, cancel it on losing it, and run again; ends by cancellation.

        Also returns when `lead` does. The lease is released on the way out.
        """
        while True:
            if not await self._attempt():
                await asyncio.sleep(self._times.retry * (1.0 + JITTER * self._rng.random()))
            elif await self._lead(lead):
                return

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """Return whether `lead` ended by itself; otherwise the lead was lost."""
        self.leading = True
        self._tell("became leader")
        work = asyncio.ensure_future(lead())
        renewal = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            finished = work.done()
            if finished:
                work.result()
            return finished
        finally:
            self.leading = False
            for task in (work, renewal):
                task.cancel()
            await asyncio.gather(work, renewal, return_exceptions=True)
            self._tell("stopped leading")
            await self._release()

    async def _renew(self) -> None:
        """Keep the lease; returns once it could not be renewed for the whole deadline, or is somebody else's."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while loop.time() - renewed < self._times.renew_deadline:
            await asyncio.sleep(self._times.retry)
            try:
                async with asyncio.timeout(max(0.0, renewed + self._times.renew_deadline - loop.time())):
                    kept = await self._attempt()
            except TimeoutError:
                return
            if kept:
                renewed = loop.time()
            elif self._record is not None and self._record.holder not in ("", self._identity):
                return

    async def _attempt(self) -> bool:
        """Try once to take or keep the lead; an unreachable server and a lost race are simply no success."""
        try:
            self._observe(await self._read())
            stamp = micro_time(self._clock.now())
            unchanged = asyncio.get_running_loop().time() - self._observed_at
            record = decide(self._identity, self._record, unchanged, self._times, stamp)
            if record is None:
                return False
            self._observe(await self._write(record))
        except (Conflict, AlreadyExists):
            return False
        except (ApiError, OSError) as error:
            _log.info("lease %s/%s: %s", self._namespace, self._name, error)
            return False
        return True

    async def _read(self) -> Object | None:
        try:
            return await self._client.get(LEASES, self._namespace, self._name)
        except NotFound:
            return None

    async def _write(self, record: Record) -> Object:
        if self._lease is None:
            return await self._client.create(
                LEASES,
                {
                    "apiVersion": LEASES.api_version,
                    "kind": LEASES.kind,
                    "metadata": {"name": self._name, "namespace": self._namespace},
                    "spec": record.spec(),
                },
            )
        spec = {**(self._lease.get("spec") or {}), **record.spec()}
        return await self._client.update(LEASES, {**self._lease, "spec": spec})

    def _observe(self, lease: Object | None) -> None:
        record = None if lease is None else Record.parse(lease)
        if record != self._record:
            self._record = record
            self._observed_at = asyncio.get_running_loop().time()
        self._lease = lease

    async def _release(self) -> None:
        """Leave the lease to whoever wants it, if it is still ours; a failure means that it runs out by itself."""
        try:
            async with asyncio.timeout(self._times.retry):
                while not await self._released():
                    pass  # a renewal that was cut off landed in between
        except (ApiError, OSError, TimeoutError) as error:
            _log.info("lease %s/%s not released: %s", self._namespace, self._name, error)

    async def _released(self) -> bool:
        self._observe(await self._read())
        record = self._record
        if record is None or record.holder != self._identity:
            return True
        stamp = micro_time(self._clock.now())
        try:
            self._observe(await self._write(Record("", 1, stamp, stamp, record.transitions)))
        except Conflict:
            return False
        return True

    def _tell(self, what: str) -> None:
        _log.info("%s %s of %s/%s", self._identity, what, self._namespace, self._name)
        if self._recorder is not None and self._lease is not None:
            self._recorder.normal(self._lease, "LeaderElection", f"{self._identity} {what}")
