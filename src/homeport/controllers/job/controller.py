"""The Job controller's shell: caches in, requests out. Source: `workloads` 11 and 19."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from homeport.api.owners import controller_of
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers import children
from homeport.controllers.decoded import Decoded
from homeport.controllers.job import tracking
from homeport.controllers.job.codec import (
    FINALIZER,
    decode_job,
    decode_pod,
    encode_status,
    is_tracked,
    managed_here,
    new_pod,
    untracked,
)
from homeport.controllers.job.model import Backoff, Condition, Job, NewPod, Plan, Pod, Status
from homeport.controllers.job.reconcile import reconcile
from homeport.controllers.pod_control import PODS, PodControl
from homeport.controllers.selection import selection_of
from homeport.controllers.waves import all_at_once, in_waves
from homeport.controllers.workload import FAILURES, Workload
from homeport.errors import NotFound

__all__ = ["JOBS", "JobController"]

JOBS: Final = find("Job", "batch")
BATCH_SECONDS: Final = 0.1
"""What pods tell within this time is seen in one pass."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tally:
    """How many pods there are while a pass goes on, and the failures it met."""

    active: int
    ready: int
    terminating: int
    failures: Sequence[Exception] = ()


class JobController:
    """Runs the pods of every Job to their end, and says how it went."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._workload = Workload(client, clock, informers, JOBS, "job-controller", updated=self._updated)
        self._orphans: WorkQueue[Key] = WorkQueue("job-orphans")
        self._pods = self._workload.children(PODS, wake=self._soon)
        self._workload.objects.add_handler(delete=self._release_pods)
        self._pods.add_handler(add=self._look_for_orphan, update=lambda _, pod: self._look_for_orphan(pod))
        self._control = PodControl(self._workload, self._pods)
        self._decoded = Decoded(self._pods, decode_pod)
        self._backoffs: dict[Key, Backoff] = {}
        self._stripped: dict[Key, set[str]] = {}  # uids that lost their finalizer; the cache may not show it yet

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._workload.run(self.sync))
            group.create_task(self._strip_orphans())

    async def _strip_orphans(self) -> None:
        await self._workload.synced()
        await self._orphans.process(self._sync_orphan, workers=1, retry_on=FAILURES)

    async def sync(self, key: Key) -> None:
        """Make one pass over one Job. Raises one of FAILURES when it is to be repeated."""
        obj = self._workload.objects.get(*key)
        if obj is None or not managed_here(obj):
            self._forget(key)
            return
        job = decode_job(obj)
        if job.status.finished:
            self._forget(key)
            return
        if self._workload.writes.behind(key):
            return  # too early: it is queued again when the caches have caught up
        pods = await self._claimed(key, obj)
        if pods is None:
            _log.error("Job %s/%s has a selector that cannot be read", *key)
            return
        now = self._clock.now()
        if not job.status.started and not job.suspended:
            job = replace(job, status=replace(job.status, started=rfc3339(now)))
        plan = reconcile(job, pods, self._backoffs.get(key, Backoff()), now)
        if plan.wake_after is not None:
            self._workload.queue.add_after(key, max(plan.wake_after, 0.0))
        tally = await self._carry_out(key, obj, plan)
        await self._report(key, obj, job, pods, plan, tally)
        if tally.failures:
            raise tally.failures[0]

    async def _claimed(self, key: Key, obj: Object) -> list[Pod] | None:
        """Return the pods of a Job, adopted ones included; None when its selector makes no sense."""
        selection = selection_of(obj)
        if selection is None:
            return None
        found = await self._workload.claim(key, obj, self._pods, selection.matches, finalizers=(FINALIZER,))
        shown = {pod["metadata"]["uid"] for pod in found if is_tracked(pod)}
        stripped = self._stripped.get(key, set()) & shown
        self._stripped[key] = stripped
        pods = (self._decoded.of(pod, 0) for pod in found)
        return [replace(pod, tracked=False) if pod.uid in stripped else pod for pod in pods]

    async def _carry_out(self, key: Key, obj: Object, plan: Plan) -> _Tally:
        """Create or delete; pods of a Job that ends keep their finalizer, others were one too many and do not count."""
        active = plan.view.active
        tally = _Tally(len(active), sum(pod.ready for pod in active), plan.view.terminating)
        if plan.delete:
            tally.failures = await self._delete(key, obj, plan.delete, tally, strip=plan.end is None)
        elif plan.create:
            tally.failures = await self._create(key, obj, plan.create, tally)
        return tally

    async def _create(self, key: Key, obj: Object, wanted: Sequence[NewPod], tally: _Tally) -> Sequence[Exception]:
        async def create(pod: NewPod) -> None:
            tally.active += await self._control.create(key, obj, new_pod(obj, pod))

        return await in_waves(wanted, create, FAILURES)

    async def _delete(
        self, key: Key, obj: Object, pods: Sequence[Pod], tally: _Tally, *, strip: bool
    ) -> Sequence[Exception]:
        async def delete(pod: Pod) -> None:
            if strip and pod.tracked:
                await self._strip(key, pod)
            await self._control.delete(key, obj, pod.name, pod.uid)
            tally.active, tally.terminating = tally.active - 1, tally.terminating + 1
            tally.ready -= pod.ready

        return await all_at_once(pods, delete, FAILURES)

    async def _report(self, key: Key, obj: Object, job: Job, pods: Sequence[Pod], plan: Plan, tally: _Tally) -> None:
        """Write down who ended, let them go, count them; then say that the Job is over, if it is."""
        stamp = rfc3339(self._clock.now())
        end = tracking.complete(job, plan, tally.active) if plan.end is None else plan.end
        if plan.end is not None and tally.failures:
            end = None  # pods are left that nobody told to go
        status = replace(
            job.status, active=tally.active, ready=tally.ready, terminating=tally.terminating, tracking=True
        )
        event = ""
        if plan.managed and end is None:
            status, event = tracking.with_suspension(status, job.suspended, stamp)
        gone = self._stripped.get(key, set())
        pods = [replace(pod, tracked=False) if pod.uid in gone else pod for pod in pods]
        noted = tracking.note(job, status, pods, plan, end, stamp)
        fresh = await self._write(key, obj, noted.status)
        if fresh is None:
            return
        if event:
            self._workload.events.normal(obj, event, f"Job {event.lower()}")
        self._backoffs[key] = plan.backoff
        failures = await all_at_once(noted.strip, lambda pod: self._strip(key, pod), FAILURES)
        kept = {pod.uid for pod in pods if pod.tracked} - self._stripped.get(key, set())
        status = tracking.counted(noted.status, kept)
        over = None if failures else tracking.finish(status, noted, stamp)
        written = await self._write(key, fresh, status if over is None else over)
        if over is not None and noted.end is not None and written is not None:
            self._tell_end(obj, job, over, noted.end)
        if failures:
            raise failures[0]

    def _tell_end(self, obj: Object, job: Job, status: Status, end: Condition) -> None:
        if end.kind == "Failed":
            self._workload.events.warning(obj, end.reason, end.message)
            return
        if job.completions is not None and status.succeeded > job.completions:
            text = "Too many succeeded pods running after completion count reached"
            self._workload.events.warning(obj, "TooManySucceededPods", text)
        self._workload.events.normal(obj, "Completed", "Job completed")

    async def _write(self, key: Key, obj: Object, status: Status) -> Object | None:
        """Write a status that differs from the object's; return the object as it is now, None when it is gone."""
        if status == decode_job(obj).status:
            return obj
        return await self._workload.write_status(key, obj, encode_status(status))

    async def _strip(self, key: Key, pod: Pod) -> None:
        """Take the finalizer from a pod; one that is gone needs none."""
        with suppress(NotFound):
            written = await self._client.patch(PODS, key[0], pod.name, untracked(), kind=PatchType.STRATEGIC)
            self._workload.writes.wrote(key, self._pods, written)
        self._stripped.setdefault(key, set()).add(pod.uid)

    def _forget(self, key: Key) -> None:
        self._workload.writes.forget(key)
        self._backoffs.pop(key, None)
        self._stripped.pop(key, None)

    def _soon(self, key: Key) -> None:
        """Look at a Job in a moment: pods that end together are counted together, before their Job is judged."""
        self._workload.queue.add_after(key, BATCH_SECONDS)

    def _updated(self, old: Object, job: Object) -> None:
        same = old["metadata"].get("generation") == job["metadata"].get("generation")
        (self._soon if same else self._workload.queue.add)(key_of(job))
        if managed_here(job) and decode_job(job).status.finished:
            self._release_pods(job)

    def _release_pods(self, job: Object) -> None:
        for pod in children.owned_by(self._pods, job["metadata"]["uid"]):
            self._look_for_orphan(pod)

    def _look_for_orphan(self, pod: Object) -> None:
        if is_tracked(pod) and self._is_orphan(pod):
            self._orphans.add(key_of(pod))

    def _is_orphan(self, pod: Object) -> bool:
        """Whether no Job that still runs will ever count the pod."""
        owner = controller_of(pod)
        if owner is None:
            return True
        if owner.kind != JOBS.kind or owner.group != JOBS.group:
            return False
        job = children.resolve(self._workload.objects, pod["metadata"]["namespace"], owner)
        return job is None or (managed_here(job) and decode_job(job).status.finished)

    async def _sync_orphan(self, key: Key) -> None:
        """Take the finalizer from a pod that nobody will count."""
        pod = self._pods.get(*key)
        if pod is None or not is_tracked(pod) or not self._is_orphan(pod):
            return
        with suppress(NotFound):
            await self._client.patch(PODS, *key, untracked(), kind=PatchType.STRATEGIC)
