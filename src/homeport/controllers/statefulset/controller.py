"""The StatefulSet controller's shell: caches in, requests out.

Source: `workloads` 4.5, 4.6, 7.1 (status writes) and 19.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from homeport.api.owners import controller_of
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers import children, history
from homeport.controllers.decoded import Decoded
from homeport.controllers.own_writes import OwnWrites
from homeport.controllers.selection import Selection, selection_of
from homeport.controllers.statefulset import identity
from homeport.controllers.statefulset.claims import claim_name
from homeport.controllers.statefulset.codec import decode_claim, decode_pod, decode_set
from homeport.controllers.statefulset.model import Claim, Pass, Pod, StatefulSet, Status
from homeport.controllers.statefulset.perform import CLAIMS, FAILURES, PODS, Performer
from homeport.controllers.statefulset.reconcile import reconcile
from homeport.controllers.statefulset.revisions import CONTROLLER_REVISIONS, RevisionKeeper
from homeport.controllers.statefulset.status import completed, differs, encode
from homeport.controllers.wakes import wake_owners
from homeport.errors import Conflict, NotFound

__all__ = ["StatefulSetController"]

STATEFUL_SETS: Final = find("StatefulSet", "apps")
WORKERS: Final = 5
STATUS_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)


class StatefulSetController:
    """Keeps the pods and claims of every StatefulSet as specified."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue("statefulset")
        self._events = EventRecorder(client, clock, "statefulset-controller")
        self._sets = informers.informer(STATEFUL_SETS)
        self._pods = informers.informer(PODS)
        self._claims = informers.informer(CLAIMS)
        self._revisions = informers.informer(CONTROLLER_REVISIONS)
        self._caches = (self._sets, self._pods, self._claims, self._revisions)
        for cache in (self._pods, self._revisions):
            children.index_by_owner(cache)
        self._sets.on_change(lambda obj: self._queue.add(key_of(obj)))
        wake_owners(self._pods, self._sets, self._queue.add)
        self._decoded = Decoded(self._pods, decode_pod)
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        for cache in self._caches:
            self._writes.watch(cache)
        self._keeper = RevisionKeeper(client, self._revisions, self._writes)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        for cache in self._caches:
            await cache.synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run(), name="statefulset-events")
            group.create_task(self._queue.process(self.sync, workers=WORKERS, retry_on=FAILURES))

    async def sync(self, key: Key) -> None:
        """Make one pass over one set. Raises one of FAILURES when it is to be repeated."""
        obj = self._sets.get(*key)
        if obj is None:
            self._writes.forget(key)
            return  # gone; what it owned is the garbage collector's
        if self._writes.behind(key):
            return  # too early: it is queued again when the caches have caught up
        selection = selection_of(obj)
        if selection is None:
            _log.error("StatefulSet %s/%s has a selector that cannot be read", *key)
            return
        desired = decode_set(obj)
        known = sorted(map(history.decode, await self._claim_revisions(key, obj, selection)), key=history.sort_key)
        pods = [self._decoded.of(pod, desired.min_ready_seconds) for pod in await self._claim_pods(key, obj, selection)]
        chosen = await self._keeper.choose(key, obj, desired, known)
        now = self._clock.now()
        plan = reconcile(
            desired, pods, self._known_claims(desired, pods), chosen.current, chosen.update, chosen.collisions, now
        )
        try:
            await self._carry_out(key, obj, desired, plan)
        finally:
            await self._keeper.truncate(key, desired, known, chosen, pods)
        if plan.wake_at is not None:
            self._queue.add_after(key, plan.wake_at - now)

    async def _carry_out(self, key: Key, obj: Object, desired: StatefulSet, plan: Pass) -> None:
        """Perform a pass; its status is written even when a step fails."""
        performer = Performer(self._client, self._events, self._writes, self._pods, self._claims, key, obj, desired)
        status = plan.status
        try:
            for phase in plan.phases:
                await performer.perform(phase.slots)
            if plan.rolling is not None:
                await performer.delete(plan.rolling.pod)
                status = replace(status, current_replicas=status.current_replicas - 1)
        finally:
            await self._write_status(key, obj, desired, completed(desired, status))

    async def _write_status(self, key: Key, obj: Object, desired: StatefulSet, status: Status) -> None:
        if not differs(desired.status, status):
            return
        for attempt in range(1, STATUS_ATTEMPTS + 1):
            try:
                body = {**obj, "status": encode(status)}
                written = await self._client.update(STATEFUL_SETS, body, subresource="status")
            except NotFound:
                return
            except Conflict:
                if attempt == STATUS_ATTEMPTS:
                    raise
                obj = await self._client.get(STATEFUL_SETS, desired.namespace, desired.name)
                if obj["metadata"]["uid"] != desired.uid:
                    return
            else:
                self._writes.wrote(key, self._sets, written)
                return

    async def _claim_revisions(self, key: Key, obj: Object, selection: Selection) -> Iterable[Object]:
        """Return the set's revisions, orphans that match adopted; one that matches no more is left alone.

        Raises Conflict when the set is on its way out and orphans are there: whoever comes next shall have them.
        """
        found = [each for each in children.candidates(self._revisions, obj) if selection.matches(each)]
        going = obj["metadata"].get("deletionTimestamp")
        if going and any(controller_of(each) is None for each in found):
            raise Conflict(f"can't adopt ControllerRevisions: {key[0]}/{key[1]} has just been deleted at {going}")
        return await children.claim_children(
            self._client,
            STATEFUL_SETS,
            obj,
            CONTROLLER_REVISIONS,
            found,
            selection.matches,
            lambda written: self._writes.wrote(key, self._revisions, written),
        )

    async def _claim_pods(self, key: Key, obj: Object, selection: Selection) -> Iterable[Object]:
        def fits(pod: Object) -> bool:
            return selection.matches(pod) and identity.belongs(pod["metadata"]["name"], key[1])

        found = children.candidates(self._pods, obj)
        return await children.claim_children(
            self._client,
            STATEFUL_SETS,
            obj,
            PODS,
            found,
            fits,
            lambda written: self._writes.wrote(key, self._pods, written),
        )

    def _known_claims(self, desired: StatefulSet, pods: Iterable[Pod]) -> dict[str, Claim]:
        ordinals = {*range(desired.start, desired.start + desired.replicas), *(pod.ordinal for pod in pods)}
        known = {}
        for template in desired.claim_templates:
            for ordinal in ordinals:
                claim = self._claims.get(desired.namespace, claim_name(desired, template, ordinal))
                if claim is not None:
                    known[claim["metadata"]["name"]] = decode_claim(claim)
        return known
