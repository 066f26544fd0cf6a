"""Carrying out the steps of a pass, with the events upstream tells of them. No rule about StatefulSets lives here.

Source: `workloads` 7.2 for the events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from homeport.api.owners import Owner
from homeport.api.resources import find
from homeport.client.contract import Object, PatchType
from homeport.client.informer import Informer
from homeport.controllers.statefulset import claims as claim_rules
from homeport.controllers.statefulset.codec import decode_claim
from homeport.controllers.statefulset.model import (
    Claim,
    DeletePod,
    FillClaims,
    NewClaim,
    OwnerChange,
    Pod,
    RepairPod,
    SetOwners,
    StartPod,
    StatefulSet,
    Task,
)
from homeport.controllers.waves import in_waves
from homeport.controllers.workload import Workload
from homeport.errors import AlreadyExists, ApiError, NotFound

__all__ = ["CLAIMS", "FAILURES", "PODS", "Performer", "Unfinished"]

PODS: Final = find("Pod")
CLAIMS: Final = find("PersistentVolumeClaim")

Key = tuple[str, str]


class Unfinished(Exception):
    """A step could not be done now; the pass is tried again later."""


FAILURES: Final = (ApiError, OSError, Unfinished)
"""What a step may fail with and be tried again; anything else is a bug."""


class Performer:
    """Performs the tasks of one pass over one set.

    known  the claims the pass was decided upon, by name
    """

    def __init__(
        self,
        workload: Workload,
        pods: Informer,
        claims: Informer,
        key: Key,
        obj: Object,
        desired: StatefulSet,
        known: Mapping[str, Claim],
    ) -> None:
        self._client, self._events, self._writes = workload.client, workload.events, workload.writes
        self._pods, self._claims = pods, claims
        self._key, self._obj, self._desired, self._known = key, obj, desired, known
        self._changed: set[str] = set()  # names of claims whose owners are as they should be since this pass

    async def perform(self, slots: Sequence[Sequence[Task]]) -> None:
        """Perform the tasks of each slot, one slot after the other or in waves. Raises one of FAILURES."""
        if self._desired.ordered:
            for tasks in slots:
                await self._slot(tasks)
            return
        failed = await in_waves(slots, self._slot, FAILURES)
        if failed:
            raise failed[0]

    async def delete(self, pod: Pod) -> None:
        """Ask for a pod's end; one that is gone already counts as done."""
        shown = self._pods.get(self._desired.namespace, pod.name)
        try:
            await self._client.delete(PODS, self._desired.namespace, pod.name, uid=pod.uid)
        except NotFound:
            pass
        except FAILURES as error:
            self._tell("Delete", pod, error)
            raise
        if shown is not None and shown["metadata"]["uid"] == pod.uid:
            self._writes.deleted(self._key, self._pods, shown)
        self._tell("Delete", pod, None)

    async def _slot(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            match task:
                case StartPod():
                    await self._start(task)
                case FillClaims():
                    await self._fill(task)
                case RepairPod():
                    await self._repair(task)
                case DeletePod(pod):
                    await self.delete(pod)
                case SetOwners(_, owners):
                    await self._set_owners(owners)

    async def _start(self, task: StartPod) -> None:
        pod = task.pod
        try:
            made = await self._create_claims(pod, task.missing, task.blocked)
        except Unfinished as error:
            self._tell("Create", pod, error)
            raise
        refused: Exception | None = None
        assert pod.planned is not None
        try:
            written = await self._client.create(PODS, pod.planned)
        except AlreadyExists:
            raise  # it is there: the next pass sees it
        except FAILURES as error:
            refused = error
        else:
            self._writes.wrote(self._key, self._pods, written)
        try:
            await self._set_owners(claim_rules.owner_changes(self._desired, pod, self._existing_claims(pod, made)))
        except FAILURES as error:
            self._tell("Update", pod, error)
            raise
        self._tell("Create", pod, refused)
        if refused is not None:
            raise refused

    async def _fill(self, task: FillClaims) -> None:
        await self._create_claims(task.pod, task.missing, task.blocked)
        try:
            await self._set_owners(task.owners)
        except FAILURES as error:
            self._tell("Update", task.pod, error)
            raise

    async def _repair(self, task: RepairPod) -> None:
        pod = task.pod
        try:
            await self._create_claims(pod, task.missing, task.blocked)
            await self._set_owners(task.owners)
            patch = self._repair_patch(task)
            if patch:
                written = await self._client.patch(
                    PODS, self._desired.namespace, pod.name, patch, kind=PatchType.STRATEGIC
                )
                self._writes.wrote(self._key, self._pods, written)
        except FAILURES as error:
            self._tell("Update", pod, error)
            raise
        self._tell("Update", pod, None)

    def _repair_patch(self, task: RepairPod) -> dict[str, Any]:
        patch: dict[str, Any] = {}
        if task.labels is not None:
            patch["metadata"] = {"labels": dict(task.labels)}
        if task.volumes is not None:
            patch["spec"] = {
                "volumes": [
                    {
                        "name": volume,
                        "persistentVolumeClaim": {"claimName": claim},
                        "$retainKeys": ["name", "persistentVolumeClaim"],
                    }
                    for volume, claim in task.volumes.items()
                ]
            }
        if patch:
            patch.setdefault("metadata", {})["uid"] = task.pod.uid
        return patch

    async def _create_claims(self, pod: Pod, missing: Sequence[NewClaim], blocked: Sequence[str]) -> Sequence[Claim]:
        """Create what is missing; return what was made. Raises Unfinished with all reasons at once."""
        made, reasons = [], []
        for claim in missing:
            try:
                written = await self._client.create(CLAIMS, claim.body)
            except (ApiError, OSError) as error:
                reasons.append(f"failed to create PVC {claim.name}: {error}")
                if not isinstance(error, AlreadyExists):
                    self._tell_claim(pod, claim, error)
            else:
                self._writes.wrote(self._key, self._claims, written)
                self._tell_claim(pod, claim, None)
                made.append(replace(decode_claim(written), version=""))  # binding may come between: no harm
        reasons += [f"pvc {name} is being deleted" for name in blocked]
        if reasons:
            raise Unfinished(reasons[0] if len(reasons) == 1 else f"[{', '.join(reasons)}]")
        return made

    def _existing_claims(self, pod: Pod, made: Sequence[Claim]) -> dict[str, Claim]:
        names = (claim_rules.claim_name(self._desired, each, pod.ordinal) for each in self._desired.claim_templates)
        existing = {name: self._known[name] for name in names if name in self._known}
        return existing | {claim.name: claim for claim in made}

    async def _set_owners(self, changes: Sequence[OwnerChange]) -> None:
        for change in changes:
            if change.conflicting:
                self._events.warning(
                    self._obj,
                    "ConflictingController",
                    f"PersistentVolumeClaim {change.claim} has a conflicting OwnerReference that acts as a manging "
                    "controller, the retention policy is ignored for this claim",
                )
            if change.changes and change.claim not in self._changed:
                await self._change_owners(change)
                self._changed.add(change.claim)

    async def _change_owners(self, change: OwnerChange) -> None:
        """Patch a claim's owners. Raises Unfinished, also when who gets one has been changed since the pass began.

        Without that, a pass under way would give the claims back to a set that was meanwhile deleted alone: the garbage
        collector has taken them from it, and would then delete them.
        """
        gone: list[dict[str, Any]] = [{"$patch": "delete", "uid": owner.uid} for owner in change.remove]
        added: list[Owner] = [change.add] if change.add is not None else []
        metadata: dict[str, Any] = {"uid": change.uid}
        metadata["ownerReferences"] = [*gone, *(owner.as_json() for owner in added)]
        if change.version:
            metadata["resourceVersion"] = change.version
        if added and change.others:
            order = [{"uid": owner.uid} for owner in (*change.others, *added)]
            metadata["$setElementOrder/ownerReferences"] = order
        patch = {"metadata": metadata}
        try:
            written = await self._client.patch(
                CLAIMS, self._desired.namespace, change.claim, patch, kind=PatchType.STRATEGIC
            )
        except (ApiError, OSError) as error:
            reason = f"could not update claim {change.claim} for delete policy ownerRefs: {error}"
            raise Unfinished(reason) from error
        self._writes.wrote(self._key, self._claims, written)

    def _tell(self, verb: str, pod: Pod, error: Exception | None) -> None:
        about = f"{verb} Pod {pod.name} in StatefulSet {self._desired.name}"
        if error is None:
            self._events.normal(self._obj, f"Successful{verb}", f"{about} successful")
        else:
            self._events.warning(self._obj, f"Failed{verb}", f"{about} failed error: {error}")

    def _tell_claim(self, pod: Pod, claim: NewClaim, error: Exception | None) -> None:
        where = f"Pod {pod.name} in StatefulSet {self._desired.name}"
        if error is None:
            self._events.normal(self._obj, "SuccessfulCreate", f"Create Claim {claim.name} {where} success")
        else:
            message = f"Create Claim {claim.name} for {where} failed error: {error}"
            self._events.warning(self._obj, "FailedCreate", message)
