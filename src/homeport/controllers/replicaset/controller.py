"""The ReplicaSet controller's shell, for its elder kind as well: caches in, requests out.

Source: `workloads` 8 and 19.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from homeport.api.owners import controller_of
from homeport.api.resources import Resource, find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key
from homeport.clock import Clock, rfc3339
from homeport.controllers import children
from homeport.controllers.decoded import Decoded
from homeport.controllers.pod_control import PODS, PodControl
from homeport.controllers.replicaset.codec import decode_pod, decode_set, new_pod
from homeport.controllers.replicaset.model import Pod, ReplicaSet
from homeport.controllers.replicaset.reconcile import reconcile
from homeport.controllers.replicaset.status import encode, report
from homeport.controllers.waves import all_at_once, in_waves
from homeport.controllers.workload import FAILURES, Workload

__all__ = ["REPLICATION_CONTROLLERS", "REPLICA_SETS", "ReplicaSetController"]

REPLICA_SETS: Final = find("ReplicaSet", "apps")
REPLICATION_CONTROLLERS: Final = find("ReplicationController")
COMPONENTS: Final = {REPLICA_SETS: "replicaset-controller", REPLICATION_CONTROLLERS: "replication-controller"}


class ReplicaSetController:
    """Keeps as many pods of every ReplicaSet as it asks for.

    kind  REPLICA_SETS, or REPLICATION_CONTROLLERS, which differ in little but their name
    """

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory, kind: Resource = REPLICA_SETS) -> None:
        self._clock, self._kind = clock, kind
        self._workload = Workload(client, clock, informers, kind, COMPONENTS[kind])
        children.index_by_owner(self._workload.objects)
        self._pods = self._workload.children(PODS, wake=True)
        self._control = PodControl(self._workload, self._pods)
        self._decoded = Decoded(self._pods, decode_pod)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        await self._workload.run(self.sync)

    async def sync(self, key: Key) -> None:
        """Make one pass over one ReplicaSet. Raises one of FAILURES when it is to be repeated."""
        due = self._workload.due(key)
        if due is None:
            return
        obj, selection = due
        desired = decode_set(obj)
        claimed = await self._workload.claim(key, obj, self._pods, selection.matches)
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
        async def create(body: Object) -> None:
            await self._control.create(key, obj, body)

        return await in_waves([new_pod(obj)] * number, create, FAILURES)

    async def _delete(self, key: Key, obj: Object, pods: Iterable[Pod]) -> Sequence[Exception]:
        async def delete(pod: Pod) -> None:
            await self._control.delete(key, obj, pod.name, pod.uid)

        return await all_at_once(pods, delete, FAILURES)

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
        if status != desired.status:
            await self._workload.write_status(key, obj, encode(status))

    def _related(self, obj: Object) -> Iterator[Pod]:
        """Yield the pods of all ReplicaSets of the same owner; they share the nodes. None without an owner."""
        controller = controller_of(obj)
        siblings = () if controller is None else children.owned_by(self._workload.objects, controller.uid)
        for sibling in siblings:
            for pod in children.owned_by(self._pods, sibling["metadata"]["uid"]):
                yield decode_pod(pod, 0)

    def _wake_when_available(self, key: Key, pods: Iterable[Pod], now: float) -> None:
        """Come back when the next ready pod turns available, which no event tells."""
        waiting = [pod.available_after for pod in pods if pod.active and pod.available_after is not None]
        due = [when for when in waiting if when > now]
        if due:
            self._workload.queue.add_after(key, min(due) - now)
