"""The CronJob controller's shell: caches in, requests out. Source: `workloads` 12 and 19."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Final

from homeport.api.cron import BadSchedule, Schedule, parse_schedule, zone_named
from homeport.api.owners import controller_of, controller_uid
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers import children
from homeport.controllers.cronjob.codec import decode_child, decode_cron_job, encode_status, new_job, reference
from homeport.controllers.cronjob.model import Child, CronJob, Reference
from homeport.controllers.cronjob.reconcile import decide, job_name, outdated, review
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.own_writes import OwnWrites
from homeport.errors import AlreadyExists, ApiError, NotFound

__all__ = ["CronJobController"]

CRON_JOBS: Final = find("CronJob", "batch")
JOBS: Final = find("Job", "batch")
WORKERS: Final = 5
FAILURES: Final = (ApiError, OSError)


class CronJobController:
    """Starts a Job at every time of a schedule, and tidies up after those that are over."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue("cronjob")
        self._events = EventRecorder(client, clock, "cronjob-controller")
        self._crons = informers.informer(CRON_JOBS)
        self._jobs = informers.informer(JOBS)
        children.index_by_owner(self._jobs)
        self._crons.on_change(lambda obj: self._queue.add(key_of(obj)))
        self._jobs.on_change(self._job_changed)
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        for cache in (self._crons, self._jobs):
            self._writes.watch(cache)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        for cache in (self._crons, self._jobs):
            await cache.synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run(), name="cronjob-events")
            group.create_task(self._queue.process(self.sync, workers=WORKERS, retry_on=FAILURES))

    async def sync(self, key: Key) -> None:
        """Make one pass over one CronJob. Raises one of FAILURES when it is to be repeated."""
        obj = self._crons.get(*key)
        if obj is None:
            self._writes.forget(key)
            return
        if self._writes.behind(key):
            return  # too early: it is queued again when the caches have caught up
        before = decode_cron_job(obj)
        jobs = [decode_child(job) for job in children.owned_by(self._jobs, before.uid)]
        gone = outdated(before, jobs)
        for job in gone:
            await self._delete(key, obj, job.name, job.uid)
        cron = await self._reviewed(obj, before, jobs, {job.uid for job in gone})
        try:
            cron = await self._start_due(key, obj, cron)
        except FAILURES:
            await self._write(key, obj, before, cron)
            raise
        await self._write(key, obj, before, cron)

    async def _reviewed(self, obj: Object, cron: CronJob, jobs: Sequence[Child], gone: Iterable[str]) -> CronJob:
        """Bring the list of active Jobs and the last success up to date.

        gone  uids of Jobs deleted in this pass: the next one finds them missing
        """
        seen = review(replace(cron, active=tuple(each for each in cron.active if each.uid not in gone)), jobs)
        for event in seen.events:
            self._tell(obj, event)
        lost = [each for each in seen.missing if await self._is_missing(cron, each)]
        for each in lost:
            self._events.normal(obj, "MissingJob", f"Active job went missing: {each.name}")
        kept = [each for each in cron.active if each.uid in gone]
        active = (*kept, *(each for each in seen.active if each not in lost))
        return replace(cron, active=active, last_success=seen.last_success)

    async def _is_missing(self, cron: CronJob, wanted: Reference) -> bool:
        """Ask the server about a Job the cache does not know: the cache may be late."""
        try:
            await self._client.get(JOBS, cron.namespace, wanted.name)
        except NotFound:
            return True
        return False

    async def _start_due(self, key: Key, obj: Object, cron: CronJob) -> CronJob:
        """Start the Job that is due, if one is; return the CronJob as it is then."""
        if cron.deleting or cron.suspended:
            return cron
        timing = self._timing(obj, cron)
        if timing is None:
            return cron
        schedule, zone = timing
        decision = decide(cron, schedule, zone, self._clock.now())
        for event in decision.events:
            self._tell(obj, event)
        if decision.start is not None:
            cron = await self._start(key, obj, cron, decision.start, zone)
        if decision.wake_after is not None:
            self._queue.add_after(key, max(decision.wake_after, 0.0))
        return cron

    def _timing(self, obj: Object, cron: CronJob) -> tuple[Schedule, tzinfo | None] | None:
        """Return the schedule and its zone; None when they make no sense, which only a new spec can change."""
        zone: tzinfo | None = None
        try:
            zone = None if cron.zone is None else zone_named(cron.zone)
        except BadSchedule as error:
            self._events.warning(obj, "UnknownTimeZone", f'invalid timeZone: "{cron.zone}": {error}')
            return None
        try:
            return parse_schedule(cron.schedule), zone
        except BadSchedule as error:
            text = f'unparseable schedule: "{cron.schedule}" : {error}'
            self._events.warning(obj, "UnparseableSchedule", text)
            return None

    async def _start(self, key: Key, obj: Object, cron: CronJob, when: float, zone: tzinfo | None) -> CronJob:
        if cron.policy == "Replace":
            for each in cron.active:
                await self._delete(key, obj, each.name, each.uid)
            cron = replace(cron, active=())
        name = job_name(cron, when)
        try:
            job = await self._client.create(JOBS, new_job(obj, name, when, zone))
        except AlreadyExists:
            job = await self._client.get(JOBS, cron.namespace, name)
            if controller_uid(job) != cron.uid:
                return cron  # somebody else's; its time is taken all the same
        except FAILURES as error:
            if not namespace_is_terminating(error):
                self._events.warning(obj, "FailedCreate", f"Error creating job: {error}")
            raise
        else:
            self._writes.wrote(key, self._jobs, job)
            self._events.normal(obj, "SuccessfulCreate", f"Created job {name}")
        return replace(cron, active=(*cron.active, reference(job)), last_scheduled=when)

    async def _delete(self, key: Key, obj: Object, name: str, uid: str) -> None:
        shown = self._jobs.get(key[0], name)
        try:
            await self._client.delete(JOBS, key[0], name, uid=uid, propagation="Background")
        except NotFound:
            return
        except FAILURES as error:
            self._events.warning(obj, "FailedDelete", f"Deleted job: {error}")
            raise
        if shown is not None:
            self._writes.deleted(key, self._jobs, shown)
        self._events.normal(obj, "SuccessfulDelete", f"Deleted job {name}")

    async def _write(self, key: Key, obj: Object, before: CronJob, cron: CronJob) -> None:
        if cron == before:
            return
        try:
            written = await self._client.update(CRON_JOBS, {**obj, "status": encode_status(cron)}, subresource="status")
        except NotFound:
            return
        self._writes.wrote(key, self._crons, written)

    def _tell(self, obj: Object, event: tuple[str, str, str]) -> None:
        kind, reason, message = event
        (self._events.warning if kind == "Warning" else self._events.normal)(obj, reason, message)

    def _job_changed(self, job: Object) -> None:
        owner = children.resolve(self._crons, job["metadata"]["namespace"], controller_of(job))
        if owner is not None:
            self._queue.add(key_of(owner))
