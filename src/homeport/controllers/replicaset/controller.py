"""The ReplicaSet controller's shell, for its elder kind as well: caches in, requests out.

Source: `workloads` 8 and 19.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from homeport.api.owners import controller_of
from homeport.api.resources import Resource, find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers import children
from homeport.controllers.decoded import Decoded
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.own_writes import OwnWrites
from homeport.controllers.replicaset.codec import decode_pod, decode_set, new_pod
from homeport.controllers.replicaset.model import Pod, ReplicaSet
from homeport.controllers.replicaset.reconcile import reconcile
from homeport.controllers.replicaset.status import encode, report
from homeport.controllers.selection import selection_of
from homeport.controllers.wakes import wake_owners
from homeport.controllers.waves import in_waves
from homeport.errors import ApiError, NotFound

__all__ = ["REPLICATION_CONTROLLERS", "REPLICA_SETS", "ReplicaSetController"]

REPLICA_SETS: Final = find("ReplicaSet", "apps")
REPLICATION_CONTROLLERS: Final = find("ReplicationController")
PODS: Final = find("Pod")
WORKERS: Final = 5
FAILURES: Final = (ApiError, OSError)
COMPONENTS: Final = {REPLICA_SETS: "replicaset-controller", REPLICATION_CONTROLLERS: "replication-controller"}

_log = logging.getLogger(__name__)


class ReplicaSetController:
    """Keeps as many pods of every ReplicaSet as it asks for.

    kind  REPLICA_SETS, or REPLICATION_CONTROLLERS, which differ in little but their name
    """

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory, kind: Resource = REPLICA_SETS) -> None:
        self._client, self._clock, self._kind = client, clock, kind
        self._queue: WorkQueue[Key] = WorkQueue(kind.singular)
        self._events = EventRecorder(client, clock, COMPONENTS[kind])
        self._sets = informers.informer(kind)
        self._pods = informers.informer(PODS)
        for cache in (self._sets, self._pods):
            children.index_by_owner(cache)
        self._sets.on_change(lambda obj: self._queue.add(key_of(obj)))
        wake_owners(self._pods, self._sets, self._queue.add)
        self._decoded = Decoded(self._pods, decode_pod)
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        for cache in (self._sets, self._pods):
            self._writes.watch(cache)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        await self._sets.synced.wait()
        await self._pods.synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run(), name=f"{self._kind.singular}-events")
            group.create_task(self._queue.process(self.sync, workers=WORKERS, retry_on=FAILURES))

    async def sync(self, key: Key) -> None:
        """Make one pass over one ReplicaSet. Raises one of FAILURES when it is to be repeated."""
        obj = self._sets.get(*key)
        if obj is None:
            self._writes.forget(key)
            return  # gone; what it owned is the garbage collector's
        if self._writes.behind(key):
            return  # too early: it is queued again when the caches have caught up
        selection = selection_of(obj)
        if selection is None:
            _log.error("%s %s/%s has a selector that cannot be read", self._kind.kind, *key)
            return
        desired = decode_set(obj)
        claimed = await children.claim_children(
            self._client,
            self._kind,
            obj,
            PODS,
            children.candidates(self._pods, obj),
            selection.matches,
            lambda written: self._writes.wrote(key, self._pods, written),
        )
        pods = [self._decoded.of(pod, desired.min_ready_seconds) for pod in claimed]
        now = self._clock.now()
        plan = reconcile(desired, pods, self._related(obj), now)
        failed: Sequence[Exception] = ()
        reason = ""
        if plan.create:
            reason, failed = "FailedCreate", await self._create(key, obj, plan.create)
        elif plan.delete:
            reason, failed = "FailedDelete", await self._delete(key, obj, plan.delete)
        await self._write_status(key, obj, desired, pods, (reason, str(failed[0])) if failed else None, now)
        self._wake_when_available(key, pods, now)
        if failed:
            raise failed[0]

    async def _create(self, key: Key, obj: Object, number: int) -> Sequence[Exception]:
        async def create(body: dict[str, Any]) -> None:
            try:
                written = await self._client.create(PODS, body)
            except FAILURES as error:
                if namespace_is_terminating(error):
                    return  # whatever is created there would go at once
                self._events.warning(obj, "FailedCreate", f"Error creating: {error}")
                raise
            self._writes.wrote(key, self._pods, written)
            self._events.normal(obj, "SuccessfulCreate", f"Created pod: {written['metadata']['name']}")

        return await in_waves([new_pod(obj)] * number, create, FAILURES)

    async def _delete(self, key: Key, obj: Object, pods: Iterable[Pod]) -> Sequence[Exception]:
        async def delete(pod: Pod) -> None:
            shown = self._pods.get(key[0], pod.name)
            try:
                await self._client.delete(PODS, key[0], pod.name, uid=pod.uid)
            except NotFound:
                return
            except FAILURES as error:
                self._events.warning(obj, "FailedDelete", f"Error deleting: {error}")
                raise
            if shown is not None:
                self._writes.deleted(key, self._pods, shown)
            self._events.normal(obj, "SuccessfulDelete", f"Deleted pod: {pod.name}")

        results = await asyncio.gather(*map(delete, pods), return_exceptions=True)
        failed = []
        for result in results:
            if isinstance(result, FAILURES):
                failed.append(result)
            elif isinstance(result, BaseException):
                raise result
        return failed

    async def _write_status(
        self,
        key: Key,
        obj: Object,
        desired: ReplicaSet,
        pods: Iterable[Pod],
        failure: tuple[str, str] | None,
        now: float,
    ) -> None:
        status = report(desired, pods, failure, now, rfc3339(now))
        if self._kind is REPLICATION_CONTROLLERS:
            status = replace(status, terminating_replicas=None)  # it has no such field
        if status == desired.status:
            return
        body = {**obj, "status": encode(status)}
        try:
            written = await self._client.update(self._kind, body, subresource="status")
        except NotFound:
            return
        self._writes.wrote(key, self._sets, written)

    def _related(self, obj: Object) -> Iterator[Pod]:
        """Yield the pods of all ReplicaSets of the same owner; they share the nodes. None without an owner."""
        controller = controller_of(obj)
        siblings = () if controller is None else children.owned_by(self._sets, controller.uid)
        for sibling in siblings:
            for pod in children.owned_by(self._pods, sibling["metadata"]["uid"]):
                yield decode_pod(pod, 0)

    def _wake_when_available(self, key: Key, pods: Iterable[Pod], now: float) -> None:
        """Come back when the next ready pod turns available, which no event tells."""
        waiting = [pod.available_after for pod in pods if pod.active and pod.available_after is not None]
        due = [when for when in waiting if when > now]
        if due:
            self._queue.add_after(key, min(due) - now)
