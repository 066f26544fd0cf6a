"""The CronJob controller's shell: caches in, requests out. Source: `workloads` 12 and 19."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Final

from homeport.api.cron import BadSchedule, Schedule, parse_schedule, zone_named
from homeport.api.owners import controller_uid
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.clock import Clock
from homeport.controllers import children
from homeport.controllers.cronjob.codec import decode_child, decode_cron_job, encode_status, new_job, reference
from homeport.controllers.cronjob.model import Child, CronJob, Reference
from homeport.controllers.cronjob.reconcile import decide, job_name, next_look, outdated, review
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.workload import FAILURES, Workload
from homeport.errors import AlreadyExists, NotFound

__all__ = ["CronJobController"]

CRON_JOBS: Final = find("CronJob", "batch")
JOBS: Final = find("Job", "batch")


class CronJobController:
    """Starts a Job at every time of a schedule, and tidies up after those that are over."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._workload = Workload(client, clock, informers, CRON_JOBS, "cronjob-controller", updated=self._updated)
        self._events = self._workload.events
        self._jobs = self._workload.children(JOBS, wake=True)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        await self._workload.run(self.sync)

    def _updated(self, old: Object, new: Object) -> None:
        """Look at once, but for another schedule: that counts from its next time on, not for one it would have had."""
        before, after = decode_cron_job(old), decode_cron_job(new)
        if (before.schedule, before.zone) == (after.schedule, after.zone):
            self._workload.queue.add(key_of(new))
            return
        try:
            schedule, zone = parse_schedule(after.schedule), _zone(after)
        except BadSchedule:
            text = f"unparseable schedule for cronjob: {after.schedule}"
            self._events.warning(new, "UnParseableCronJobSchedule", text)
            return
        wait = next_look(after, schedule, zone, self._clock.now())
        if wait is not None:
            self._workload.queue.add_after(key_of(new), wait)

    async def sync(self, key: Key) -> None:
        """Make one pass over one CronJob. Raises one of FAILURES when it is to be repeated."""
        obj = self._workload.current(key)
        if obj is None:
            return
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
        if cron.deleting:
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
            self._workload.queue.add_after(key, decision.wake_after)
        return cron

    def _timing(self, obj: Object, cron: CronJob) -> tuple[Schedule, tzinfo | None] | None:
        """Return the schedule and its zone; None when nothing is due until the spec changes."""
        try:
            zone = _zone(cron)
        except BadSchedule as error:
            self._events.warning(obj, "UnknownTimeZone", f'invalid timeZone: "{cron.zone}": {error}')
            return None
        if cron.suspended:
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
            self._workload.writes.wrote(key, self._jobs, job)
            self._events.normal(obj, "SuccessfulCreate", f"Created job {name}")
        return replace(cron, active=(*cron.active, reference(job)), last_scheduled=when)

    async def _delete(self, key: Key, obj: Object, name: str, uid: str) -> None:
        await self._workload.delete(
            key, obj, self._jobs, name, uid, done="Deleted job", failed="Deleted job", propagation="Background"
        )

    async def _write(self, key: Key, obj: Object, before: CronJob, cron: CronJob) -> None:
        if cron != before:
            await self._workload.write_status(key, obj, encode_status(cron))

    def _tell(self, obj: Object, event: tuple[str, str, str]) -> None:
        kind, reason, message = event
        (self._events.warning if kind == "Warning" else self._events.normal)(obj, reason, message)


def _zone(cron: CronJob) -> tzinfo | None:
    """Return the zone a schedule is meant in; None is the machine's own. Raises BadSchedule."""
    return None if cron.zone is None else zone_named(cron.zone)
