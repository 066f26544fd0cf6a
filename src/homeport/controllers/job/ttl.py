"""Jobs that are over and have outlived `ttlSecondsAfterFinished`. Source: `workloads` 11."""

from contextlib import suppress
from typing import Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, parse_time
from homeport.errors import NotFound

__all__ = ["FinishedJobs", "expiry"]

JOBS: Final = find("Job", "batch")


def expiry(job: Object) -> float | None:
    """Return the epoch second a Job is to be deleted at; None when it is not over, or may stay."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None or "deletionTimestamp" in job["metadata"]:
        return None
    for condition in (job.get("status") or {}).get("conditions") or ():
        over = condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        if over and condition.get("lastTransitionTime"):
            return parse_time(condition["lastTransitionTime"]) + int(ttl)
    return None


class FinishedJobs:
    """Deletes finished Jobs when their time is over."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue("job-ttl")
        self._jobs = informers.informer(JOBS)
        self._jobs.on_change(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._jobs.synced.wait()
        await self._queue.process(self._sync, workers=1)

    def _changed(self, job: Object) -> None:
        if expiry(job) is not None:
            self._queue.add(key_of(job))

    async def _sync(self, key: Key) -> None:
        shown = self._jobs.get(*key)
        if shown is None or (when := expiry(shown)) is None:
            return
        if (left := when - self._clock.now()) > 0:
            self._queue.add_after(key, left)
            return
        with suppress(NotFound):
            job = await self._client.get(JOBS, *key)  # the cache may not know that it may stay now
            if (when := expiry(job)) is not None and when <= self._clock.now():
                await self._client.delete(JOBS, *key, uid=job["metadata"]["uid"], propagation="Foreground")
