"""The DaemonSet controller's shell: caches in, requests out. Source: `workloads` 10 and 19."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock
from homeport.controllers import children, history
from homeport.controllers.daemonset.codec import (
    HASH_LABEL,
    decode_node,
    decode_pod,
    decode_set,
    encode_status,
    new_pod,
    new_revision,
)
from homeport.controllers.daemonset.model import DaemonSet, Ended, Plan, Pod
from homeport.controllers.daemonset.placement import belongs, target_of
from homeport.controllers.daemonset.reconcile import reconcile
from homeport.controllers.decoded import Decoded
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.own_writes import OwnWrites
from homeport.controllers.selection import Selection, selection_of
from homeport.controllers.template_hash import template_hash
from homeport.controllers.wakes import wake_owners
from homeport.controllers.waves import in_waves
from homeport.errors import AlreadyExists, ApiError, NotFound

__all__ = ["DaemonSetController"]

DAEMON_SETS: Final = find("DaemonSet", "apps")
REVISIONS: Final = find("ControllerRevision", "apps")
NODES: Final = find("Node")
PODS: Final = find("Pod")
WORKERS: Final = 2
FAILURES: Final = (ApiError, OSError)
PATIENCE_SECONDS: Final = (1.0, 900.0)
"""Before a failed pod on the same node is replaced again: at first, and at most after doubling."""

_log = logging.getLogger(__name__)


class DaemonSetController:
    """Keeps one pod of every DaemonSet on every node it belongs to."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._queue: WorkQueue[Key] = WorkQueue("daemonset")
        self._events = EventRecorder(client, clock, "daemonset-controller")
        self._sets = informers.informer(DAEMON_SETS)
        self._pods = informers.informer(PODS)
        self._nodes = informers.informer(NODES)
        self._revisions = informers.informer(REVISIONS)
        self._caches = (self._sets, self._pods, self._nodes, self._revisions)
        for cache in (self._pods, self._revisions):
            children.index_by_owner(cache)
        self._sets.on_change(lambda obj: self._queue.add(key_of(obj)))
        self._nodes.add_handler(add=self._node_came, update=self._node_changed, delete=self._wake_all)
        wake_owners(self._pods, self._sets, self._queue.add)
        self._decoded = Decoded(self._pods, decode_pod)
        self._patience: dict[tuple[str, str], tuple[float, float]] = {}  # (set, node): last failure, pause after it
        self._writes: OwnWrites[Key] = OwnWrites(self._queue)
        for cache in (self._sets, self._pods, self._revisions):
            self._writes.watch(cache)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        for cache in self._caches:
            await cache.synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._events.run(), name="daemonset-events")
            group.create_task(self._queue.process(self.sync, workers=WORKERS, retry_on=FAILURES))

    async def sync(self, key: Key) -> None:
        """Make one pass over one DaemonSet. Raises one of FAILURES when it is to be repeated."""
        obj = self._sets.get(*key)
        if obj is None:
            self._writes.forget(key)
            return  # gone; what it owned is the garbage collector's
        if self._writes.behind(key):
            return  # too early: it is queued again when the caches have caught up
        selection = selection_of(obj)
        if selection is None:
            _log.error("DaemonSet %s/%s has a selector that cannot be read", *key)
            return
        if selection.everything:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._events.warning(obj, "SelectingAll", message)
            return
        desired = decode_set(obj)
        if desired.deleting:
            return
        digest, desired, former = await self._choose(key, obj, desired, selection)
        claimed = await self._claim(key, obj, PODS, children.candidates(self._pods, obj), selection)
        pods = [self._decoded.of(pod, desired.min_ready_seconds) for pod in claimed]
        now = self._clock.now()
        nodes = map(decode_node, self._nodes.list())
        plan = reconcile(desired, nodes, pods, digest, lambda pod: self._may_replace(key, desired, pod, now), now)
        failed = await self._carry_out(key, obj, desired, plan, digest)
        await self._truncate(key, desired, former, pods)
        await self._write_status(key, obj, desired, plan)
        if plan.wake_at is not None:
            self._queue.add_after(key, plan.wake_at - now)
        if failed:
            raise failed[0]

    async def _choose(
        self, key: Key, obj: Object, desired: DaemonSet, selection: Selection
    ) -> tuple[str, DaemonSet, Sequence[Object]]:
        """Return the hash of the present template, the set as it is now, and the revisions of former templates."""
        found = [each for each in children.candidates(self._revisions, obj) if selection.matches(each)]
        owned = await self._claim(key, obj, REVISIONS, found, selection)
        data = history.canonical(history.template_data(desired.template))
        present = [each for each in owned if history.decode(each).data == data]
        former = [each for each in owned if history.decode(each).data != data]
        number = max((each.get("revision", 0) for each in former), default=0) + 1
        if not present:
            digest, desired = await self._store(key, obj, desired, number, data)
            return digest, desired, former
        newest = max(present, key=lambda each: history.sort_key(history.decode(each)))
        if newest.get("revision", 0) < number:
            patch = {"metadata": {"uid": newest["metadata"]["uid"]}, "revision": number}
            written = await self._client.patch(REVISIONS, key[0], newest["metadata"]["name"], patch)
            self._writes.wrote(key, self._revisions, written)
        return newest["metadata"]["labels"][HASH_LABEL], desired, former

    async def _store(
        self, key: Key, obj: Object, desired: DaemonSet, number: int, data: bytes
    ) -> tuple[str, DaemonSet]:
        """Store a new template; a name taken by another one counts as a collision, and the pass fails."""
        digest = template_hash(desired.template, desired.status.collision_count)
        body = new_revision(obj, number, digest)
        try:
            written = await self._client.create(REVISIONS, body)
        except AlreadyExists:
            taken = await self._client.get(REVISIONS, key[0], body["metadata"]["name"])
            if history.decode(taken).data == data:
                return digest, desired
            status = replace(desired.status, collision_count=(desired.status.collision_count or 0) + 1)
            update = {**obj, "status": encode_status(status)}
            self._writes.wrote(key, self._sets, await self._client.update(DAEMON_SETS, update, subresource="status"))
            raise
        self._writes.wrote(key, self._revisions, written)
        return digest, desired

    async def _claim(
        self, key: Key, obj: Object, resource: Any, found: Sequence[Object], selection: Selection
    ) -> Sequence[Object]:
        cache = self._pods if resource is PODS else self._revisions
        return await children.claim_children(
            self._client,
            DAEMON_SETS,
            obj,
            resource,
            found,
            selection.matches,
            lambda written: self._writes.wrote(key, cache, written),
        )

    async def _carry_out(
        self, key: Key, obj: Object, desired: DaemonSet, plan: Plan, digest: str
    ) -> Sequence[Exception]:
        for ended in plan.ended:
            self._tell_of(obj, ended)

        async def create(node: str) -> None:
            try:
                body = new_pod(obj, node, digest, desired.template_generation)
                written = await self._client.create(PODS, body)
            except FAILURES as error:
                if namespace_is_terminating(error):
                    return
                self._events.warning(obj, "FailedCreate", f"Error creating: {error}")
                raise
            self._writes.wrote(key, self._pods, written)
            self._events.normal(obj, "SuccessfulCreate", f"Created pod: {written['metadata']['name']}")

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

        return [*await in_waves(plan.create, create, FAILURES), *await in_waves(plan.delete, delete, FAILURES)]

    def _tell_of(self, obj: Object, ended: Ended) -> None:
        where = f"{obj['metadata']['namespace']}/{ended.pod.name} on node {ended.node}"
        if ended.pod.phase == "Failed":
            message = f"Found failed daemon pod {where}, will try to kill it"
            self._events.warning(obj, "FailedDaemonPod", message)
        else:
            message = f"Found succeeded daemon pod {where}, will try to delete it"
            self._events.normal(obj, "SucceededDaemonPod", message)

    def _may_replace(self, key: Key, desired: DaemonSet, pod: Pod, now: float) -> bool:
        """Whether a failed pod goes now; one that follows another on its node waits longer each time."""
        first, limit = PATIENCE_SECONDS
        place = desired.uid, pod.target
        last, pause = self._patience.get(place, (0.0, 0.0))
        if last and now - last < pause:
            self._queue.add_after(key, last + pause - now)
            return False
        calm = not last or now - last > 2 * limit
        self._patience[place] = now, first if calm else min(pause * 2, limit)
        return True

    async def _truncate(self, key: Key, desired: DaemonSet, former: Sequence[Object], pods: Iterable[Pod]) -> None:
        """Delete the oldest former templates beyond the limit that no pod is made from."""
        live = {pod.digest for pod in pods}
        surplus = len(former) - desired.history_limit
        for each in sorted(former, key=lambda each: history.sort_key(history.decode(each))):
            if surplus <= 0:
                return
            if (each["metadata"].get("labels") or {}).get(HASH_LABEL) in live:
                continue
            try:
                await self._client.delete(REVISIONS, key[0], each["metadata"]["name"], uid=each["metadata"]["uid"])
            except NotFound:
                continue
            self._writes.deleted(key, self._revisions, each)
            surplus -= 1

    async def _write_status(self, key: Key, obj: Object, desired: DaemonSet, plan: Plan) -> None:
        if plan.status == desired.status:
            return
        body = {**obj, "status": encode_status(plan.status)}
        try:
            written = await self._client.update(DAEMON_SETS, body, subresource="status")
        except NotFound:
            return
        self._writes.wrote(key, self._sets, written)

    def _wake_all(self, _: Object) -> None:
        for obj in self._sets.list():
            self._queue.add(key_of(obj))

    def _node_changed(self, old: Object, new: Object) -> None:
        if decode_node(old) != decode_node(new):
            self._node_came(new)

    def _node_came(self, raw: Object) -> None:
        """Wake the sets that lack a pod there, or have one that may not stay."""
        node = decode_node(raw)
        for obj in self._sets.list():
            run, stay = belongs(obj["spec"]["template"]["spec"], node)
            pods = children.owned_by(self._pods, obj["metadata"]["uid"])
            served = any(target_of(pod["spec"]) == node.name for pod in pods)
            if (run and not served) or (served and not stay):
                self._queue.add(key_of(obj))
