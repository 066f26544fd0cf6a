"""The DaemonSet controller's shell: caches in, requests out. Source: `workloads` 10 and 19."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key, key_of
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
from homeport.controllers.daemonset.model import DaemonSet, Ended, Plan, Pod, Status
from homeport.controllers.daemonset.placement import belongs, target_of
from homeport.controllers.daemonset.reconcile import reconcile
from homeport.controllers.decoded import Decoded
from homeport.controllers.pod_control import PODS, PodControl
from homeport.controllers.selection import Selection
from homeport.controllers.template_hash import template_hash
from homeport.controllers.waves import in_waves
from homeport.controllers.workload import FAILURES, Workload
from homeport.errors import AlreadyExists

__all__ = ["DaemonSetController"]

DAEMON_SETS: Final = find("DaemonSet", "apps")
REVISIONS: Final = find("ControllerRevision", "apps")
NODES: Final = find("Node")
WORKERS: Final = 2
PATIENCE_SECONDS: Final = (1.0, 900.0)
"""Before a failed pod on the same node is replaced again: at first, and at most after doubling."""


class DaemonSetController:
    """Keeps one pod of every DaemonSet on every node it belongs to."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._workload = Workload(client, clock, informers, DAEMON_SETS, "daemonset-controller")
        self._pods = self._workload.children(PODS, wake=True)
        self._nodes = self._workload.follow(NODES)
        self._revisions = self._workload.children(REVISIONS)
        self._nodes.add_handler(add=self._node_came, update=self._node_changed, delete=self._wake_all)
        self._control = PodControl(self._workload, self._pods)
        self._decoded = Decoded(self._pods, decode_pod)
        self._patience: dict[tuple[str, int, str], tuple[float, float]] = {}
        """Last failure and the pause after it, by set, observed generation and node."""

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        await self._workload.run(self.sync, workers=WORKERS)

    async def sync(self, key: Key) -> None:
        """Make one pass over one DaemonSet. Raises one of FAILURES when it is to be repeated."""
        due = self._workload.due(key)
        if due is None:
            return
        obj, selection = due
        if selection.everything:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._workload.events.warning(obj, "SelectingAll", message)
            return
        desired = decode_set(obj)
        if desired.deleting:
            return
        digest, desired, former = await self._choose(key, obj, desired, selection)
        claimed = await self._workload.claim(key, obj, self._pods, selection.matches)
        pods = [self._decoded.of(pod, desired.min_ready_seconds) for pod in claimed]
        now = self._clock.now()
        nodes = map(decode_node, self._nodes.list())
        plan = reconcile(desired, nodes, pods, digest, lambda pod: self._may_replace(key, desired, pod, now), now)
        failed = await self._carry_out(key, obj, desired, plan, digest)
        if not failed:
            await self._truncate(key, desired, former, pods)
        await self._write_status(key, obj, desired, plan)
        if plan.wake_at is not None:
            self._workload.queue.add_after(key, plan.wake_at - now)
        if failed:
            raise failed[0]

    async def _choose(
        self, key: Key, obj: Object, desired: DaemonSet, selection: Selection
    ) -> tuple[str, DaemonSet, Sequence[Object]]:
        """Return the hash of the present template, the set as it is now, and the revisions of former templates."""
        claimed = await self._workload.claim(key, obj, self._revisions, selection.matches)
        owned = [await self._labelled(key, each) for each in claimed]
        data = history.canonical(history.template_data(desired.template))
        present = [each for each in owned if history.decode(each).data == data]
        former = [each for each in owned if history.decode(each).data != data]
        number = max((each.get("revision", 0) for each in former), default=0) + 1
        if not present:
            digest, desired = await self._store(key, obj, desired, number, data)
            return digest, desired, former
        newest = max(present, key=lambda each: history.sort_key(history.decode(each)))
        for each in present:
            if each is not newest:
                await self._drop_double(key, obj, each, newest["metadata"]["labels"][HASH_LABEL])
        if newest.get("revision", 0) < number:
            patch = {"metadata": {"uid": newest["metadata"]["uid"]}, "revision": number}
            written = await self._client.patch(REVISIONS, key[0], newest["metadata"]["name"], patch)
            self._workload.writes.wrote(key, self._revisions, written)
        return newest["metadata"]["labels"][HASH_LABEL], desired, former

    async def _drop_double(self, key: Key, obj: Object, revision: Object, digest: str) -> None:
        """Delete a second revision of the present template, its pods having been told the hash of the first."""
        for pod in children.owned_by(self._pods, obj["metadata"]["uid"]):
            if (pod["metadata"].get("labels") or {}).get(HASH_LABEL) != digest:
                patch = {"metadata": {"labels": {HASH_LABEL: digest}}}
                written = await self._client.patch(PODS, key[0], pod["metadata"]["name"], patch)
                self._workload.writes.wrote(key, self._pods, written)
        metadata = revision["metadata"]
        await self._workload.remove(key, self._revisions, metadata["name"], metadata["uid"])

    async def _labelled(self, key: Key, revision: Object) -> Object:
        """Return a revision with the label that ties pods to it: its name, for one that lost it."""
        metadata = revision["metadata"]
        if HASH_LABEL in (metadata.get("labels") or {}):
            return revision
        labels = {**(metadata.get("labels") or {}), HASH_LABEL: metadata["name"]}
        written = await self._client.update(REVISIONS, {**revision, "metadata": {**metadata, "labels": labels}})
        self._workload.writes.wrote(key, self._revisions, written)
        return written

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
            await self._write(key, obj, status)
            raise
        self._workload.writes.wrote(key, self._revisions, written)
        return digest, desired

    async def _carry_out(
        self, key: Key, obj: Object, desired: DaemonSet, plan: Plan, digest: str
    ) -> Sequence[Exception]:
        for ended in plan.ended:
            self._tell_of(obj, ended)

        async def create(node: str) -> None:
            await self._control.create(key, obj, new_pod(obj, node, digest, desired.template_generation))

        async def delete(pod: Pod) -> None:
            await self._control.delete(key, obj, pod.name, pod.uid)

        return [*await in_waves(plan.create, create, FAILURES), *await in_waves(plan.delete, delete, FAILURES)]

    def _tell_of(self, obj: Object, ended: Ended) -> None:
        where = f"{obj['metadata']['namespace']}/{ended.pod.name} on node {ended.node}"
        if ended.pod.phase == "Failed":
            message = f"Found failed daemon pod {where}, will try to kill it"
            self._workload.events.warning(obj, "FailedDaemonPod", message)
        else:
            message = f"Found succeeded daemon pod {where}, will try to delete it"
            self._workload.events.normal(obj, "SucceededDaemonPod", message)

    def _may_replace(self, key: Key, desired: DaemonSet, pod: Pod, now: float) -> bool:
        """Whether a failed pod goes now; one that follows another on its node waits longer each time."""
        first, limit = PATIENCE_SECONDS
        place = desired.uid, desired.status.observed_generation, pod.target
        last, pause = self._patience.get(place, (0.0, 0.0))
        if last and now - last < pause:
            self._workload.queue.add_after(key, last + pause - now)
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
            await self._workload.remove(key, self._revisions, each["metadata"]["name"], each["metadata"]["uid"])
            surplus -= 1

    async def _write_status(self, key: Key, obj: Object, desired: DaemonSet, plan: Plan) -> None:
        if plan.status != desired.status:
            await self._write(key, obj, plan.status)

    async def _write(self, key: Key, obj: Object, status: Status) -> None:
        """Write the controller's part of the status; conditions are others'."""
        conditions = (obj.get("status") or {}).get("conditions")
        kept = {"conditions": conditions} if conditions else {}
        await self._workload.write_status(key, obj, {**encode_status(status), **kept})

    def _wake_all(self, _: Object) -> None:
        for obj in self._workload.objects.list():
            self._workload.queue.add(key_of(obj))

    def _node_changed(self, old: Object, new: Object) -> None:
        if decode_node(old) != decode_node(new):
            self._node_came(new)

    def _node_came(self, raw: Object) -> None:
        """Wake the sets that lack a pod there, or have one that may not stay."""
        node = decode_node(raw)
        for obj in self._workload.objects.list():
            run, stay = belongs(obj["spec"]["template"]["spec"], node)
            pods = children.owned_by(self._pods, obj["metadata"]["uid"])
            served = any(target_of(pod["spec"]) == node.name for pod in pods)
            if (run and not served) or (served and not stay):
                self._workload.queue.add(key_of(obj))
