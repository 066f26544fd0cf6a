"""A toy world for StatefulSet decisions: pods as values, steps carried out by hand, disturbances from a seed."""

import random
from collections.abc import Iterator
from dataclasses import replace

from homeport.api.owners import Owner
from homeport.controllers.history import Revision
from homeport.controllers.statefulset.model import (
    Claim,
    ClaimTemplate,
    DeletePod,
    FillClaims,
    OwnerChange,
    Pass,
    Pod,
    RepairPod,
    SetOwners,
    StartPod,
    StatefulSet,
    Task,
)
from homeport.controllers.statefulset.reconcile import reconcile
from homeport.controllers.statefulset.status import completed

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "a"}]}}
DATA = ClaimTemplate("data", {"app": "web"}, {}, {"accessModes": ["ReadWriteOnce"]})


def revision(name: str) -> Revision:
    return Revision(name, name, 1, "", name.encode(), TEMPLATE)


def stateful_set(**changes: object) -> StatefulSet:
    return replace(StatefulSet("default", "web", "set-uid", 1, 3, TEMPLATE, service="web"), **changes)


def pod(ordinal: int, *, revision: str = "a", phase: str = "Running", ready: bool = True, **changes: object) -> Pod:
    name = f"web-{ordinal}"
    shape = Pod(
        name,
        ordinal,
        uid=f"uid-{ordinal}",
        revision=revision,
        phase=phase,
        ready=ready,
        available_after=0.0 if ready else None,
        name_label=name,
        claims={"data": f"data-web-{ordinal}"},
    )
    return replace(shape, **changes)


def steps(plan: Pass) -> list[str]:
    """Return the tasks of a pass as words."""
    return [_word(task) for phase in plan.phases for slot in phase.slots for task in slot] + (
        [f"roll {each.pod.name}" for each in plan.rolling]
    )


def _word(task: Task) -> str:
    match task:
        case StartPod(started):
            return f"create {started.name} at {started.revision}"
        case DeletePod(deleted):
            return f"delete {deleted.name}"
        case FillClaims(filled):
            return f"fill {filled.name}"
        case RepairPod(repaired):
            return f"repair {repaired.name}"
        case SetOwners(owned):
            return f"own {owned.name}"


class World:
    """Pods and claims of one set under random disturbances; `perform` refuses what must never be asked."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.desired = stateful_set(
            replicas=rng.randrange(6),
            start=rng.choice([0, 0, 2]),
            ordered=rng.random() < 0.7,
            partition=rng.choice([0, 0, None, 1]),
            on_delete=rng.random() < 0.2,
            min_ready_seconds=rng.choice([0, 0, 3]),
            claim_templates=(DATA,),
        )
        self.revisions = ["a"]
        self.pods: dict[int, Pod] = {}
        self.claims: dict[str, Claim] = {}
        self.uids: Iterator[int] = iter(range(1, 1_000_000))

    def plan(self) -> Pass:
        current = self.desired.status.current_revision or self.revisions[-1]
        return reconcile(
            self.desired,
            list(self.pods.values()),
            self.claims,
            revision(current),
            revision(self.revisions[-1]),
            0,
            self.now,
        )

    def step(self) -> list[str]:
        plan = self.plan()
        for phase in plan.phases:
            for slot in phase.slots:
                for task in slot:
                    self._perform(task)
        status = plan.status
        for each in plan.rolling:
            self._delete(each.pod)
            status = replace(status, current_replicas=max(0, status.current_replicas - 1))
        self.desired = replace(self.desired, status=completed(self.desired, status))
        return steps(plan)

    def _perform(self, task: Task) -> None:
        match task:
            case StartPod(started, missing):
                assert started.ordinal not in self.pods, "one pod per ordinal"
                assert self.desired.in_range(started.ordinal)
                if self.desired.ordered:
                    below = range(self.desired.start, started.ordinal)
                    assert all(self.pods[ordinal].healthy(self.now) for ordinal in below), "in order"
                for claim in missing:
                    assert claim.name not in self.claims
                    self.claims[claim.name] = Claim(claim.name, f"uid-{next(self.uids)}")
                self.pods[started.ordinal] = replace(
                    started, uid=f"uid-{next(self.uids)}", phase="Pending", planned=None
                )
            case DeletePod(deleted):
                if self.desired.ordered and not self.desired.in_range(deleted.ordinal):
                    above = [p for p in self.pods.values() if not self.desired.in_range(p.ordinal)]
                    assert deleted.ordinal == max(p.ordinal for p in above), "in reverse order"
                self._delete(deleted)
            case FillClaims(_, missing, _, owners):
                for claim in missing:
                    self.claims[claim.name] = Claim(claim.name, f"uid-{next(self.uids)}")
                self._own(owners)
            case SetOwners(_, owners):
                self._own(owners)
            case RepairPod(repaired, _, _, _, _, owners):
                self._own(owners)
                self.pods[repaired.ordinal] = replace(self.pods[repaired.ordinal], name_label=repaired.name)

    def _own(self, changes: tuple[OwnerChange, ...]) -> None:
        for change in changes:
            kept: list[Owner] = [owner for owner in self.claims[change.claim].owners if owner not in change.remove]
            if change.add is not None:
                kept.append(change.add)
            self.claims[change.claim] = replace(self.claims[change.claim], owners=tuple(kept))

    def _delete(self, pod: Pod) -> None:
        held = self.pods.get(pod.ordinal)
        if held is None or held.uid != pod.uid:
            return
        if held.phase in ("Failed", "Succeeded"):
            del self.pods[pod.ordinal]
        else:
            self.pods[pod.ordinal] = replace(held, terminating=True)

    def disturb(self) -> None:
        self.now += 1
        rng = self.rng
        if rng.random() < 0.15:
            self.desired = replace(self.desired, replicas=rng.randrange(6), generation=self.desired.generation + 1)
        if rng.random() < 0.05:
            self.revisions.append(rng.choice("abc"))
        for ordinal, held in list(self.pods.items()):
            match rng.randrange(12):
                case 0:
                    self.pods[ordinal] = replace(held, terminating=True)
                case 1:
                    self.pods[ordinal] = replace(held, phase="Failed", ready=False, available_after=None)
                case 2:
                    self.pods[ordinal] = replace(held, ready=False, available_after=None)
                case 3 | 4 | 5 | 6:
                    self._recover(ordinal)

    def _recover(self, ordinal: int) -> None:
        held = self.pods[ordinal]
        if held.terminating:
            del self.pods[ordinal]
        elif held.phase in ("Pending", "Running") and not held.ready:
            when = self.now + self.desired.min_ready_seconds
            self.pods[ordinal] = replace(held, phase="Running", ready=True, available_after=when)

    def settle(self) -> None:
        """Let every pod recover and time pass, until nothing is asked for any more."""
        for _ in range(200):
            self.now += 5
            for ordinal in list(self.pods):
                self._recover(ordinal)
            if not self.step() and all(pod.healthy(self.now) for pod in self.pods.values()):
                return
        raise AssertionError("does not come to rest")
