"""The StatefulSet controller's shell: caches in, requests out.

Source: `workloads` 4.5, 4.6, 7.1 (status writes) and 19.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from homeport.api.owners import controller_of
from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import InformerFactory, Key
from homeport.clock import Clock
from homeport.controllers import children, history
from homeport.controllers.decoded import Decoded
from homeport.controllers.selection import Selection
from homeport.controllers.statefulset import identity
from homeport.controllers.statefulset.claims import claim_name
from homeport.controllers.statefulset.codec import decode_claim, decode_pod, decode_set
from homeport.controllers.statefulset.model import Claim, Pass, StatefulSet, Status
from homeport.controllers.statefulset.perform import CLAIMS, FAILURES, PODS, Performer
from homeport.controllers.statefulset.reconcile import reconcile
from homeport.controllers.statefulset.revisions import CONTROLLER_REVISIONS, RevisionKeeper
from homeport.controllers.statefulset.status import completed, differs, encode
from homeport.controllers.workload import Workload
from homeport.errors import Conflict

__all__ = ["StatefulSetController"]

STATEFUL_SETS: Final = find("StatefulSet", "apps")
STATUS_ATTEMPTS: Final = 5


class StatefulSetController:
    """Keeps the pods and claims of every StatefulSet as specified."""

    def __init__(
        self, client: Client, clock: Clock, informers: InformerFactory, gates: frozenset[str] = frozenset()
    ) -> None:
        self._client, self._clock, self._gates = client, clock, gates
        self._workload = Workload(client, clock, informers, STATEFUL_SETS, "statefulset-controller")
        self._pods = self._workload.children(PODS, wake=True)
        self._claims = self._workload.follow(CLAIMS)
        self._revisions = self._workload.children(CONTROLLER_REVISIONS)
        self._revisions.add_handler(delete=self._wake_namesake)
        self._decoded = Decoded(self._pods, decode_pod)
        self._keeper = RevisionKeeper(client, self._revisions, self._workload.writes)

    async def run(self) -> None:
        """Work until cancelled; the informers are run by whoever owns the factory."""
        await self._workload.run(self.sync, retry_on=FAILURES)

    async def sync(self, key: Key) -> None:
        """Make one pass over one set. Raises one of FAILURES when it is to be repeated."""
        due = self._workload.due(key)
        if due is None:
            return
        obj, selection = due
        desired = decode_set(obj, self._gates)
        claims = self._known_claims(desired, obj)  # of the same moment as the set: whoever took one knew no later set
        known = sorted(map(history.decode, await self._claim_revisions(key, obj, selection)), key=history.sort_key)
        pods = [self._decoded.of(pod, desired.min_ready_seconds) for pod in await self._claim_pods(key, obj, selection)]
        chosen = await self._keeper.choose(key, obj, desired, known)
        now = self._clock.now()
        plan = reconcile(desired, pods, claims, chosen.current, chosen.update, chosen.collisions, now)
        failure = await self._carry_out(key, obj, desired, claims, plan)
        await self._keeper.truncate(key, desired, known, chosen, pods)
        if failure is not None:
            raise failure
        if plan.wake_at is not None:
            self._workload.queue.add_after(key, plan.wake_at - now)

    async def _carry_out(
        self, key: Key, obj: Object, desired: StatefulSet, claims: Mapping[str, Claim], plan: Pass
    ) -> Exception | None:
        """Perform a pass and return what failed, if anything did; the status is written even then."""
        performer = Performer(self._workload, self._pods, self._claims, key, obj, desired, claims)
        status = plan.status
        failure: Exception | None = None
        try:
            for phase in plan.phases:
                await performer.perform(phase.slots)
            for outdated in plan.rolling:
                await performer.delete(outdated.pod)
                status = replace(status, current_replicas=status.current_replicas - 1)
        except FAILURES as error:
            failure = error
        try:
            await self._write_status(key, obj, desired, completed(desired, status))
        except FAILURES as error:
            failure = failure or error
        return failure

    async def _write_status(self, key: Key, obj: Object, desired: StatefulSet, status: Status) -> None:
        if not differs(desired.status, status):
            return
        for attempt in range(1, STATUS_ATTEMPTS + 1):
            try:
                await self._workload.write_status(key, obj, encode(status))
            except Conflict:
                if attempt == STATUS_ATTEMPTS:
                    raise
                obj = await self._client.get(STATEFUL_SETS, desired.namespace, desired.name)
                if obj["metadata"]["uid"] != desired.uid:
                    return
            else:
                return

    async def _claim_revisions(self, key: Key, obj: Object, selection: Selection) -> Iterable[Object]:
        """Return the set's revisions, orphans that match adopted; one that matches no more is left alone.

        Raises Conflict when the set is on its way out and orphans are there: whoever comes next shall have them.
        """
        found = [each for each in children.candidates(self._revisions, obj) if selection.matches(each)]
        going = obj["metadata"].get("deletionTimestamp")
        if going and any(controller_of(each) is None for each in found):
            raise Conflict(f"can't adopt ControllerRevisions: {key[0]}/{key[1]} has just been deleted at {going}")
        return await self._workload.claim(key, obj, self._revisions, selection.matches, found=found)

    async def _claim_pods(self, key: Key, obj: Object, selection: Selection) -> Iterable[Object]:
        def fits(pod: Object) -> bool:
            return selection.matches(pod) and identity.belongs(pod["metadata"]["name"], key[1])

        return await self._workload.claim(key, obj, self._pods, fits)

    def _wake_namesake(self, revision: Object) -> None:
        """Wake the set that came after a revision's owner: it may live by that revision, which now is collected."""
        owner, namespace = controller_of(revision), revision["metadata"]["namespace"]
        heir = self._workload.objects.get(namespace, owner.name) if owner is not None else None
        if owner is not None and heir is not None and heir["metadata"]["uid"] != owner.uid:
            self._workload.queue.add((namespace, owner.name))

    def _known_claims(self, desired: StatefulSet, obj: Object) -> dict[str, Claim]:
        """Return the claims of the pods the set wants and of those it has or may adopt."""
        if not desired.claim_templates:
            return {}
        names = (pod["metadata"]["name"] for pod in children.candidates(self._pods, obj))
        ordinals = {identity.split_name(name)[1] for name in names if identity.belongs(name, desired.name)}
        ordinals.update(range(desired.start, desired.start + desired.replicas))
        known = {}
        for template in desired.claim_templates:
            for ordinal in ordinals:
                claim = self._claims.get(desired.namespace, claim_name(desired, template, ordinal))
                if claim is not None:
                    known[claim["metadata"]["name"]] = decode_claim(claim)
        return known
