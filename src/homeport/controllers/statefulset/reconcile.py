"""One pass over a StatefulSet: what to create, repair and delete now, and what to report.

Pods are created in order and removed in reverse, one step at a time, unless the set is parallel; a rolling update
replaces one pod at a time from the top. A pod that stays unhealthy in an ordered set holds up everything above it, and
so also the way back from a broken template: that is upstream's behaviour and kept (7.3).

`reconcile` decides and touches nothing. Source: `workloads` 4.1 to 4.5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from homeport.controllers.history import Revision
from homeport.controllers.statefulset import claims as claim_rules
from homeport.controllers.statefulset import identity
from homeport.controllers.statefulset.model import (
    Claim,
    DeletePod,
    FillClaims,
    Pass,
    Phase,
    Pod,
    RepairPod,
    SetOwners,
    StartPod,
    StatefulSet,
    Status,
    Task,
)
from homeport.controllers.statefulset.status import count

__all__ = ["reconcile"]


@dataclass(frozen=True, slots=True)
class _View:
    """A set and its pods, laid out: slots by position, condemned pods from the highest ordinal down."""

    desired: StatefulSet
    slots: Sequence[Pod]
    condemned: Sequence[Pod]
    claims: Mapping[str, Claim]
    now: float


@dataclass(frozen=True, slots=True)
class _Slot:
    tasks: tuple[Task, ...] = ()
    stop: bool = False


def reconcile(
    desired: StatefulSet,
    pods: Iterable[Pod],
    claims: Mapping[str, Claim],
    current: Revision,
    update: Revision,
    collisions: int,
    now: float,
) -> Pass:
    """Return the pass that moves `pods` towards `desired` at epoch second `now`.

    pods    the set's own, adopted ones included; those without an ordinal are ignored
    claims  existing claims by name, of the set's namespace
    """
    view = _layout(desired, pods, claims, current, update, now)
    status = Status(
        observed_generation=desired.generation,
        current_revision=current.name,
        update_revision=update.name,
        collision_count=collisions,
    )
    status = count(status, (*view.slots, *view.condemned), now)
    if desired.deleting:
        return Pass((), (), status, None)
    phases, stopped = _phases(view)
    rolling = () if stopped else _roll(view, update)
    return Pass(tuple(phase for phase in phases if any(phase.slots)), rolling, status, _wake_at(view))


def _layout(
    desired: StatefulSet,
    pods: Iterable[Pod],
    claims: Mapping[str, Claim],
    current: Revision,
    update: Revision,
    now: float,
) -> _View:
    present: dict[int, Pod] = {}
    condemned = []
    for pod in pods:
        if desired.in_range(pod.ordinal):
            present[pod.ordinal] = pod
        elif pod.ordinal >= 0:
            condemned.append(pod)
    slots = [
        present.get(ordinal) or identity.plan(desired, ordinal, current, update)
        for ordinal in range(desired.start, desired.start + desired.replicas)
    ]
    condemned.sort(key=lambda pod: pod.ordinal, reverse=True)
    return _View(desired, slots, condemned, claims, now)


def _phases(view: _View) -> tuple[list[Phase], bool]:
    """Return the living slots', the claims' and the condemned pods' tasks, and whether the pass ends there."""
    living, stopped = _collect(view.desired.ordered, (_living(view, pod) for pod in view.slots))
    phases = [living]
    if stopped:
        return phases, True
    phases.append(Phase(tuple(_condemned_claims(view, pod) for pod in view.condemned)))
    first_bad = _first_unhealthy(view)
    dying, stopped = _collect(view.desired.ordered, (_condemned(view, pod, first_bad) for pod in view.condemned))
    phases.append(dying)
    return phases, stopped


def _collect(ordered: bool, slots: Iterable[_Slot]) -> tuple[Phase, bool]:
    """Take slots in order; in an ordered set the first that says stop is the last."""
    tasks = []
    for slot in slots:
        tasks.append(slot.tasks)
        if slot.stop and ordered:
            return Phase(tuple(tasks)), True
    return Phase(tuple(tasks)), False


def _living(view: _View, pod: Pod) -> _Slot:
    """Return what one wanted pod needs (4.2, rows 1 to 7)."""
    desired, claims = view.desired, view.claims
    if pod.phase in ("Failed", "Succeeded"):
        return _Slot(() if pod.terminating else (DeletePod(pod),), stop=True)
    if not pod.created:
        if claim_rules.is_stale(desired, pod, claims):
            return _Slot(stop=True)
        missing = claim_rules.missing(desired, pod, claims)
        return _Slot((StartPod(pod, missing, claim_rules.blocked(desired, pod, claims)),), stop=True)
    tasks: list[Task] = []
    if pod.phase == "Pending":
        fill = FillClaims(
            pod,
            claim_rules.missing(desired, pod, claims),
            claim_rules.blocked(desired, pod, claims),
            claim_rules.owner_changes(desired, pod, claims),
        )
        if fill.missing or fill.blocked or fill.owners:
            tasks.append(fill)
    if desired.ordered and not pod.healthy(view.now):
        return _Slot(tuple(tasks), stop=True)
    repair = _repair(view, pod)
    if repair is not None:
        tasks.append(repair)
    return _Slot(tuple(tasks))


def _repair(view: _View, pod: Pod) -> RepairPod | None:
    """Return the repair of a pod whose identity, volumes or claim owners are not as they should be (2.3)."""
    desired, claims = view.desired, view.claims
    named = pod.name_label == pod.name
    stored = identity.storage_matches(desired, pod)
    owners = claim_rules.owner_changes(desired, pod, claims)
    if not any(change.changes for change in owners):
        owners = ()
    if named and stored and not owners:
        return None
    return RepairPod(
        pod,
        None if named else identity.identity_labels(desired, pod.ordinal),
        None if stored else identity.expected_claims(desired, pod.ordinal),
        () if stored else claim_rules.missing(desired, pod, claims),
        () if stored else claim_rules.blocked(desired, pod, claims),
        owners,
    )


def _condemned_claims(view: _View, pod: Pod) -> tuple[Task, ...]:
    changes = claim_rules.owner_changes(view.desired, pod, view.claims)
    return (SetOwners(pod, changes),) if any(change.changes for change in changes) else ()


def _condemned(view: _View, pod: Pod, first_bad: Pod | None) -> _Slot:
    """Return what happens to one pod out of range (4.3)."""
    if pod.terminating:
        return _Slot(stop=True)
    if view.desired.ordered and not pod.available(view.now) and pod is not first_bad:
        return _Slot(stop=True)
    return _Slot((DeletePod(pod),), stop=True)


def _first_unhealthy(view: _View) -> Pod | None:
    for pod in (*view.slots, *reversed(view.condemned)):
        if not pod.healthy(view.now):
            return pod
    return None


def _roll(view: _View, update: Revision) -> tuple[DeletePod, ...]:
    """Return the outdated pods to replace next, from the top down to the partition (4.4): one, or as many as may go."""
    desired = view.desired
    if desired.on_delete:
        return ()
    if desired.max_unavailable is not None:
        return _roll_several(view, update, desired.max_unavailable)
    for pod in reversed(view.slots[desired.partition or 0 :]):
        if pod.revision != update.name and not pod.terminating:
            return (DeletePod(pod),)
        if not pod.healthy(view.now):
            return ()
    return ()


def _roll_several(view: _View, update: Revision, most: int) -> tuple[DeletePod, ...]:
    """Return as many outdated pods as may be missing beside those that are, wherever those are (7.4)."""
    missing = sum(pod.terminating or not pod.available(view.now) for pod in view.slots)
    if missing >= most:
        return ()
    candidates = reversed(view.slots[view.desired.partition or 0 :])
    outdated = (pod for pod in candidates if pod.revision != update.name and not pod.terminating)
    return tuple(DeletePod(pod) for pod in islice(outdated, most - missing))


def _wake_at(view: _View) -> float | None:
    """Return when the next ready pod turns available, which no event tells."""
    waiting = [
        pod.available_after
        for pod in (*view.slots, *view.condemned)
        if pod.running_and_ready and pod.available_after is not None and pod.available_after > view.now
    ]
    return min(waiting, default=None)
