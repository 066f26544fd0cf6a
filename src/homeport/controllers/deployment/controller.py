"""The Deployment controller's shell: caches in, requests out. Source: `workloads` 9 and 19."""

import logging
from dataclasses import replace
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_of
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.clock import Clock
from homeport.controllers import children
from homeport.controllers.deployment import status as status_rules
from homeport.controllers.deployment.codec import decode_deployment, decode_replica_set, new_replica_set
from homeport.controllers.deployment.model import (
    Annotate,
    Condition,
    Create,
    Delete,
    Deployment,
    Plan,
    Rollback,
    Scale,
    Status,
    Step,
)
from homeport.controllers.deployment.reconcile import reconcile
from homeport.controllers.deployment.revisions import REVISION, same_template
from homeport.controllers.outcome import namespace_is_terminating
from homeport.controllers.workload import FAILURES, Workload
from homeport.errors import AlreadyExists

__all__ = ["DeploymentController"]

DEPLOYMENTS: Final = find("Deployment", "apps")
REPLICA_SETS: Final = find("ReplicaSet", "apps")
PODS: Final = find("Pod")
RETRIES: Final = 15

_log = logging.getLogger(__name__)


class DeploymentController:
    """Keeps every Deployment's ReplicaSets such that its pods move to the wanted template as its strategy says."""

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory) -> None:
        self._client, self._clock = client, clock
        self._workload = Workload(client, clock, informers, DEPLOYMENTS, "deployment-controller")
        self._sets = self._workload.children(REPLICA_SETS, wake=True)
        self._pods = self._workload.children(PODS)
        self._pods.add_handler(delete=self._pod_deleted)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        await self._workload.run(self._attempt)

    async def _attempt(self, key: Key) -> None:
        """Sync, giving up after `RETRIES` failures in a row until something changes."""
        try:
            await self.sync(key)
        except FAILURES as error:
            if self._workload.queue.failures(key) < RETRIES:
                raise
            _log.warning("Deployment %s/%s given up for now: %s", *key, error)

    async def sync(self, key: Key) -> None:
        """Make one pass over one Deployment. Raises one of FAILURES when it is to be repeated."""
        due = self._workload.due(key)
        if due is None:
            return
        obj, selection = due
        desired = decode_deployment(obj)
        if selection.everything:
            await self._refuse(key, obj, desired)
            return
        owned = await self._workload.claim(key, obj, self._sets, selection.matches)
        now = self._clock.now()
        plan = reconcile(desired, list(map(decode_replica_set, owned)), self._has_running_pods, now)
        if plan.rollback is not None:
            await self._roll_back(key, obj, plan.rollback)
            return
        for step in plan.steps:
            await self._perform(key, obj, desired, step, now)
        await self._write_status(key, obj, desired.status, plan)
        if plan.wake_at is not None:
            self._workload.queue.add_after(key, plan.wake_at - now)

    async def _perform(self, key: Key, obj: Object, desired: Deployment, step: Step, now: float) -> None:
        match step:
            case Create():
                await self._create(key, obj, desired, step, now)
            case Annotate(replica_set, annotations, min_ready_seconds):
                patch = {
                    "metadata": {"uid": replica_set.uid, "annotations": dict(annotations)},
                    "spec": {"minReadySeconds": min_ready_seconds},
                }
                await self._patch(key, replica_set.name, patch)
            case Scale():
                await self._scale(key, obj, step)
            case Delete(replica_set):
                await self._workload.remove(key, self._sets, replica_set.name, replica_set.uid)

    async def _create(self, key: Key, obj: Object, desired: Deployment, step: Create, now: float) -> None:
        """Create the new ReplicaSet; a name taken by another template counts as a collision, and the pass fails."""
        planned = step.replica_set
        try:
            written = await self._client.create(REPLICA_SETS, new_replica_set(obj, step))
        except AlreadyExists:
            taken = await self._client.get(REPLICA_SETS, key[0], planned.name)
            controller = controller_of(taken)
            if (
                controller is not None
                and controller.uid == desired.uid
                and same_template(taken["spec"]["template"], desired.template)
            ):
                self._workload.writes.wrote(key, self._sets, taken)
                return
            collisions = (desired.status.collision_count or 0) + 1
            await self._put_status(key, obj, replace(desired.status, collision_count=collisions), None)
            raise
        except FAILURES as error:
            if not namespace_is_terminating(error):
                await self._report_refusal(key, obj, desired, planned.name, error, now)
            raise
        self._workload.writes.wrote(key, self._sets, written)
        if planned.replicas:
            self._say(obj, f"Scaled up replica set {planned.name} from 0 to {planned.replicas}")

    async def _report_refusal(
        self, key: Key, obj: Object, desired: Deployment, name: str, error: Exception, now: float
    ) -> None:
        message = f'Failed to create new replica set "{name}": {error}'
        self._workload.events.warning(obj, "ReplicaSetCreateError", message)
        if desired.progress_deadline is not None:
            failed = Condition(status_rules.PROGRESSING, "False", "ReplicaSetCreateError", message, now, now)
            status = status_rules.with_condition(desired.status, failed)
            if status != desired.status:
                await self._put_status(key, obj, status, None)

    async def _scale(self, key: Key, obj: Object, step: Scale) -> None:
        patch: dict[str, Any] = {"metadata": {"annotations": dict(step.annotations)}}
        if step.uid:
            patch["metadata"]["uid"] = step.uid
        if step.old != step.new:
            patch["spec"] = {"replicas": step.new}
        await self._patch(key, step.name, patch)
        if step.old != step.new:
            direction = "up" if step.old < step.new else "down"
            self._say(obj, f"Scaled {direction} replica set {step.name} from {step.old} to {step.new}")

    async def _patch(self, key: Key, name: str, patch: dict[str, Any]) -> None:
        self._workload.writes.wrote(key, self._sets, await self._client.patch(REPLICA_SETS, key[0], name, patch))

    async def _write_status(self, key: Key, obj: Object, before: Status, plan: Plan) -> None:
        told = (obj["metadata"].get("annotations") or {}).get(REVISION)
        revision = plan.revision if plan.revision not in (None, told) else None
        if plan.status != before or revision is not None:
            await self._put_status(key, obj, plan.status, revision)

    async def _put_status(self, key: Key, obj: Object, status: Status, revision: str | None) -> None:
        """Write the status, and the revision with it: a status update does not count as a new generation."""
        if revision is not None:
            annotations = {**(obj["metadata"].get("annotations") or {}), REVISION: revision}
            obj = {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
        await self._workload.write_status(key, obj, status_rules.encode(status))

    async def _refuse(self, key: Key, obj: Object, desired: Deployment) -> None:
        message = "This deployment is selecting all pods. A non-empty selector is required."
        self._workload.events.warning(obj, "SelectingAll", message)
        if desired.status.observed_generation < desired.generation:
            seen = replace(desired.status, observed_generation=desired.generation)
            await self._put_status(key, obj, seen, None)

    async def _roll_back(self, key: Key, obj: Object, rollback: Rollback) -> None:
        spec = obj["spec"] if rollback.template is None else {**obj["spec"], "template": rollback.template}
        body = {**obj, "metadata": {**obj["metadata"], "annotations": dict(rollback.annotations)}, "spec": spec}
        self._workload.writes.wrote(key, self._workload.objects, await self._client.update(DEPLOYMENTS, body))
        tell = self._workload.events.warning if rollback.warning else self._workload.events.normal
        tell(obj, rollback.reason, rollback.message)

    def _say(self, obj: Object, message: str) -> None:
        self._workload.events.normal(obj, "ScalingReplicaSet", message)

    def _has_running_pods(self, uid: str) -> bool:
        return any(not pod_rules.is_terminal(pod) for pod in children.owned_by(self._pods, uid))

    def _pod_deleted(self, pod: Object) -> None:
        """A Deployment that waits for its old pods to end looks again."""
        namespace = pod["metadata"]["namespace"]
        replica_set = children.resolve(self._sets, namespace, controller_of(pod))
        if replica_set is None:
            return
        owner = children.resolve(self._workload.objects, namespace, controller_of(replica_set))
        if owner is not None and (owner["spec"].get("strategy") or {}).get("type") == "Recreate":
            self._workload.queue.add(key_of(owner))
