"""One pass over a Deployment: which ReplicaSets to create, scale and delete now, and what to report.

`reconcile` decides and touches nothing. Steps are laid out on a copy of the present state, so later steps of a pass
see what earlier ones do. Source: `workloads` 9.3 to 9.8.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from homeport.controllers.deployment import revisions, scaling
from homeport.controllers.deployment import status as status_rules
from homeport.controllers.deployment.model import (
    Annotate,
    Condition,
    Create,
    Delete,
    Deployment,
    Plan,
    ReplicaSet,
    Rollback,
    Scale,
    Step,
)
from homeport.controllers.template_hash import template_hash

__all__ = ["reconcile"]


def reconcile(
    desired: Deployment,
    replica_sets: Sequence[ReplicaSet],
    pods_running: Callable[[str], bool],
    now: float,
) -> Plan:
    """Return the pass that moves `replica_sets`, all of them the Deployment's, towards `desired`.

    pods_running  whether a ReplicaSet, by uid, has pods that have not ended; terminating ones run
    """
    work = _Pass(desired, replica_sets, now)
    if desired.deleting:
        return work.report()
    work.desired = replace(desired, status=status_rules.note_pause(desired, now))
    if desired.paused:
        return work.scale(cleanup=True)
    if desired.rollback_to is not None:
        return Plan(rollback=_roll_back(desired, replica_sets))
    work.sync_new(create=False)
    if any(
        each.replicas > 0 and revisions.desired_replicas(each) not in (None, desired.replicas) for each in work.everyone
    ):
        return work.scale(cleanup=False)
    return work.roll() if desired.rolling else work.recreate(pods_running)


class _Pass:
    """The state a pass works on, and the steps it has decided so far."""

    def __init__(self, desired: Deployment, replica_sets: Sequence[ReplicaSet], now: float) -> None:
        self.desired, self.now = desired, now
        self.new = revisions.find_new(desired, replica_sets)
        self.old = [each for each in replica_sets if each is not self.new]
        self.steps: list[Step] = []
        self.revision: str | None = None

    @property
    def everyone(self) -> list[ReplicaSet]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    def roll(self) -> Plan:
        """Grow the new ReplicaSet if there is room; else shrink the old ones as far as availability allows."""
        self.sync_new(create=True)
        assert self.new is not None
        if self.resize(self.new, scaling.grow_new(self.desired, self.everyone, self.new.replicas)):
            return self.finish()
        rounds = scaling.shrink_old(self.desired, self.new, self.old)
        shrunk = [self.resize(self._now(each), size) for sizes in rounds for each, size in sizes]
        if not any(shrunk):
            self.clean_up_when_complete()
        return self.finish()

    def recreate(self, pods_running: Callable[[str], bool]) -> Plan:
        """Stop everything old, wait until it is gone, then start the new."""
        shrunk = [self.resize(each, 0) for each in scaling.active(self.old)]
        if any(shrunk) or any(each.actual > 0 or pods_running(each.uid) for each in self.old):
            return self.finish()
        self.sync_new(create=True)
        assert self.new is not None
        self.resize(self.new, self.desired.replicas)
        self.clean_up_when_complete()
        return self.finish()

    def scale(self, *, cleanup: bool) -> Plan:
        """Follow a changed size, in proportion, without rolling on."""
        self.sync_new(create=False)
        sizes, refresh = scaling.proportional(self.desired, self.new, self.old)
        for each, size in sizes:
            self.resize(each, size, refresh=refresh)
        if cleanup and self.desired.rollback_to is None:
            self.clean_up()
        return self.report()

    def sync_new(self, *, create: bool) -> None:
        """Bring the new ReplicaSet's annotations up to date, or create it."""
        number = revisions.max_revision(self.old) + 1
        if self.new is not None:
            self._keep(self.new, number)
        elif create:
            self._create(number)

    def _keep(self, new: ReplicaSet, number: int) -> None:
        annotations = revisions.new_annotations(self.desired, new.annotations, number)
        if annotations != new.annotations or new.min_ready_seconds != self.desired.min_ready_seconds:
            self.steps.append(Annotate(new, annotations, self.desired.min_ready_seconds))
            self.new = replace(new, annotations=annotations, min_ready_seconds=self.desired.min_ready_seconds)
        self.revision = annotations.get(revisions.REVISION)
        if status_rules.condition(self.desired.status, status_rules.PROGRESSING) is None:
            self._progress("FoundNewReplicaSet", f'Found new replica set "{new.name}"')

    def _create(self, number: int) -> None:
        desired = self.desired
        digest = template_hash(desired.template, desired.status.collision_count)
        annotations = revisions.new_annotations(desired, {}, number) | revisions.replica_annotations(desired)
        self.new = ReplicaSet(
            name=revisions.replica_set_name(desired.name, digest),
            uid="",
            created="",
            replicas=scaling.grow_new(desired, self.old, 0),
            template=desired.template,
            annotations=annotations,
            min_ready_seconds=desired.min_ready_seconds,
        )
        self.steps.append(Create(self.new, digest))
        self.revision = str(number)
        self._progress("NewReplicaSetCreated", f'Created new replica set "{self.new.name}"')

    def _progress(self, reason: str, message: str) -> None:
        if self.desired.progress_deadline is None:
            return
        made = Condition(status_rules.PROGRESSING, "True", reason, message, self.now, self.now)
        self.desired = replace(self.desired, status=status_rules.with_condition(self.desired.status, made))

    def resize(self, each: ReplicaSet, size: int, *, refresh: bool = False) -> bool:
        """Give a ReplicaSet another size; return whether it changed. Its annotations follow along, or on `refresh`."""
        annotations = revisions.replica_annotations(self.desired)
        changed = size != each.replicas
        if changed or (refresh and not annotations.items() <= each.annotations.items()):
            self.steps.append(Scale(each.name, each.uid, each.replicas, size, annotations))
            self._put(replace(each, replicas=size, annotations={**each.annotations, **annotations}))
        return changed

    def clean_up_when_complete(self) -> None:
        if status_rules.complete(self.desired, self.desired.status):
            self.clean_up()

    def clean_up(self) -> None:
        """Delete old ReplicaSets beyond the history limit, lowest revision first; those still in use are skipped."""
        limit = self.desired.history_limit
        if limit is None:
            return
        alive = sorted((each for each in self.old if not each.deleting), key=_by_revision)
        for each in alive[: max(0, len(alive) - limit)]:
            if each.replicas == 0 and each.actual == 0 and each.observed:
                self.steps.append(Delete(each))

    def finish(self) -> Plan:
        """End a rollout's pass: progress is judged, and will be again when its deadline has passed."""
        counted = status_rules.count(self.desired, self.new, self.everyone, self.now)
        status = status_rules.judge(self.desired, self.new, self.everyone, counted, self.now)
        return Plan(tuple(self.steps), self.revision, status, status_rules.deadline(self.desired, status))

    def report(self) -> Plan:
        """End a pass that rolls nothing: counters only, and no deadline, as none is judged."""
        status = status_rules.count(self.desired, self.new, self.everyone, self.now)
        return Plan(tuple(self.steps), self.revision, status)

    def _now(self, each: ReplicaSet) -> ReplicaSet:
        """Return a ReplicaSet as this pass has it by now."""
        return next(known for known in self.everyone if known.name == each.name)

    def _put(self, changed: ReplicaSet) -> None:
        if self.new is not None and self.new.name == changed.name:
            self.new = changed
        self.old = [changed if each.name == changed.name else each for each in self.old]


def _by_revision(replica_set: ReplicaSet) -> tuple[int, str, str]:
    return revisions.revision_of(replica_set), replica_set.created, replica_set.name


def _roll_back(desired: Deployment, replica_sets: Sequence[ReplicaSet]) -> Rollback:
    """Return the legacy rollback to the revision asked for (9.4, step 5)."""
    wanted = desired.rollback_to
    kept = {name: value for name, value in desired.annotations.items() if name != revisions.ROLLBACK_TO}
    numbers = sorted({revisions.revision_of(each) for each in replica_sets}, reverse=True)
    if wanted == 0:
        wanted = numbers[1] if len(numbers) > 1 else 0
    found = next((each for each in replica_sets if wanted and revisions.revision_of(each) == wanted), None)
    if found is None:
        message = "Unable to find last revision." if not wanted else "Unable to find the revision to rollback to."
        return Rollback(None, kept, True, "DeploymentRollbackRevisionNotFound", message)
    if revisions.same_template(found.template, desired.template):
        message = f'The rollback revision contains the same template as current deployment "{desired.name}"'
        return Rollback(None, kept, True, "DeploymentRollbackTemplateUnchanged", message)
    own = {name: value for name, value in kept.items() if name in revisions.NOT_COPIED}
    taken = {name: value for name, value in found.annotations.items() if name not in revisions.NOT_COPIED}
    message = f'Rolled back deployment "{desired.name}" to revision {wanted}'
    return Rollback(revisions.without_hash(found.template), {**own, **taken}, False, "DeploymentRollback", message)
