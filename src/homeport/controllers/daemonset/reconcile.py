"""One pass over a DaemonSet: where pods are missing, which go, and which make way for a new template.

`reconcile` decides and touches nothing. A pass that creates or deletes to keep every node served does not roll; the
next one does. Source: `workloads` 10.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeport.controllers.daemonset.model import DaemonSet, Ended, Node, Plan, Pod, Status
from homeport.controllers.daemonset.placement import belongs

__all__ = ["BURST", "reconcile"]

BURST = 250


@dataclass(slots=True)
class _Changes:
    create: list[str] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.delete)


@dataclass(frozen=True, slots=True)
class _View:
    desired: DaemonSet
    nodes: Sequence[Node]
    pods: Mapping[str, Sequence[Pod]]
    digest: str
    now: float

    def should_run(self, node: Node) -> bool:
        return belongs(self.desired.template["spec"], node)[0]

    def is_updated(self, pod: Pod) -> bool:
        same_generation = bool(pod.template_generation) and pod.template_generation == self.desired.template_generation
        return pod.digest == self.digest or same_generation


def reconcile(
    desired: DaemonSet,
    nodes: Iterable[Node],
    pods: Iterable[Pod],
    digest: str,
    may_replace: Callable[[Pod], bool],
    now: float,
) -> Plan:
    """Return the pass that brings one pod of the present template to every node it belongs to.

    pods         the set's own
    digest       the hash of the present template, which its pods carry
    may_replace  whether a failed pod's node has waited long enough since the last one failed there
    """
    by_node: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if pod.target and not (pod.terminating and pod.ended):  # what only waits for a finalizer serves no node
            by_node[pod.target].append(pod)
    for present in by_node.values():
        present.sort(key=_oldest_first)
    view = _View(desired, sorted(nodes, key=lambda node: node.name), by_node, digest, now)
    status, wake_at = _report(view), _wake_at(view)
    if desired.deleting:
        return Plan((), (), (), desired.status, None)
    changes = _keep_served(view, may_replace)
    if not changes and not desired.on_delete:
        changes = _roll(view)
    return Plan(tuple(changes.create[:BURST]), tuple(changes.delete[:BURST]), tuple(changes.ended), status, wake_at)


def _oldest_first(pod: Pod) -> tuple[bool, str, str]:
    return not pod.bound, pod.created, pod.name


def _keep_served(view: _View, may_replace: Callable[[Pod], bool]) -> _Changes:
    """Create where a pod is missing; delete what ended, what is one too many, and what must not be there."""
    changes = _Changes()
    known = set()
    for node in view.nodes:
        known.add(node.name)
        run, stay = belongs(view.desired.template["spec"], node)
        present = view.pods.get(node.name, ())
        if run and not present:
            changes.create.append(node.name)
        elif stay:
            alive = _drop_ended(node.name, present, changes, may_replace)
            changes.delete += _excess(view, alive)
            if run and not alive and _limits(view)[0]:
                changes.create.append(node.name)  # a set that surges need not wait for the end of a pod
        else:
            changes.delete += [pod for pod in present if not pod.terminating]
    for target, present in view.pods.items():
        if target not in known:
            changes.delete += [pod for pod in present if not pod.bound and not pod.terminating]
    return changes


def _drop_ended(
    node: str, present: Sequence[Pod], changes: _Changes, may_replace: Callable[[Pod], bool]
) -> Sequence[Pod]:
    alive = []
    for pod in present:
        if pod.terminating:
            continue
        if not pod.ended:
            alive.append(pod)
        elif pod.phase == "Succeeded" or may_replace(pod):
            changes.delete.append(pod)
            changes.ended.append(Ended(pod, node))
    return alive


def _excess(view: _View, alive: Sequence[Pod]) -> Sequence[Pod]:
    """Return what is more than one pod on a node, or one of each template while the set surges."""
    if len(alive) <= 1:
        return ()
    if _limits(view)[0] == 0:
        return alive[1:]
    new = [pod for pod in alive if pod.digest == view.digest]
    old = [pod for pod in alive if pod.digest != view.digest]
    excess = [*new[1:], *old[1:]]
    if new and old and (not old[0].ready or new[0].available(view.now)):
        excess.append(old[0])
    return excess


def _roll(view: _View) -> _Changes:
    """Replace pods of former templates, as many at a time as may be missing, or may be too many."""
    surge, unavailable = _limits(view)
    return _roll_by_surge(view, surge) if surge else _roll_by_deletion(view, unavailable)


def _roll_by_deletion(view: _View, limit: int) -> _Changes:
    missing = 0
    broken: list[Pod] = []
    healthy: list[Pod] = []
    for target in sorted(view.pods):
        pair = _pair(view, view.pods[target])
        if pair is None or (pair[0] is None) == (pair[1] is None):
            missing += 1  # to be cleaned up, or to get its pod
            continue
        new, old = pair
        if new is not None:
            missing += not new.available(view.now)
        elif old is not None and old.available(view.now):
            healthy.append(old)
        elif old is not None:
            broken.append(old)
            missing += 1
    return _Changes(delete=[*broken, *healthy[: max(0, limit - missing)]])


def _roll_by_surge(view: _View, limit: int) -> _Changes:
    """Make a second pod where the first is of a former template; take that away when the second is available.

    Where the set should not run any more, an available pod stays until as many others are available as are wanted.
    """
    surging = available = 0
    wanted = {node.name for node in view.nodes if view.should_run(node)}
    changes, willing, misplaced = _Changes(), list[str](), list[Pod]()
    for target in sorted(view.pods):
        pair = _pair(view, view.pods[target])
        if pair is None:
            surging += 1
            continue
        new, old = pair
        first = old or new
        available += first is not None and first.available(view.now)
        if old is None:
            continue
        if new is not None:
            if new.available(view.now):
                changes.delete.append(old)
            else:
                surging += 1
        elif target not in wanted:
            (misplaced if old.available(view.now) else changes.delete).append(old)
        else:
            (willing if old.available(view.now) else changes.create).append(target)
    changes.create += willing[: max(0, limit - surging)]
    changes.delete += misplaced[: max(0, available - len(wanted))]
    return changes


def _pair(view: _View, present: Sequence[Pod]) -> tuple[Pod | None, Pod | None] | None:
    """Return the pod of the present template and the one of a former; None when there are several of either."""
    alive = [pod for pod in present if not pod.terminating]
    new = [pod for pod in alive if view.is_updated(pod)]
    old = [pod for pod in alive if not view.is_updated(pod)]
    if len(new) > 1 or len(old) > 1:
        return None
    return new[0] if new else None, old[0] if old else None


def _limits(view: _View) -> tuple[int, int]:
    """Return how many pods may be too many and how many may be missing; percentages round up, never both 0."""
    wanted = sum(view.should_run(node) for node in view.nodes)
    surge, unavailable = (
        value if isinstance(value, int) else math.ceil(int(value.removesuffix("%")) * wanted / 100)
        for value in (view.desired.max_surge, view.desired.max_unavailable)
    )
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _report(view: _View) -> Status:
    current = misscheduled = wanted = ready = updated = available = 0
    for node in view.nodes:
        present = view.pods.get(node.name, ())
        if not view.should_run(node):
            misscheduled += bool(present)
            continue
        wanted += 1
        if not present:
            continue
        current += 1
        oldest = present[0]
        ready += oldest.ready
        available += oldest.ready and oldest.available(view.now)
        updated += view.is_updated(oldest)
    return Status(
        current=current,
        misscheduled=misscheduled,
        desired=wanted,
        ready=ready,
        observed_generation=view.desired.generation,
        updated=updated,
        available=available,
        unavailable=wanted - available,
        collision_count=view.desired.status.collision_count,
    )


def _wake_at(view: _View) -> float | None:
    waiting = [pod.available_after for present in view.pods.values() for pod in present if not pod.terminating]
    return min((when for when in waiting if when is not None and when > view.now), default=None)
