"""Each invariant can fail: break the engine in one place, and some history finds it and names the promise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from homeport.controllers.deployment import reconcile as deployment
from homeport.controllers.deployment import scaling
from homeport.controllers.disruption import controller as disruption
from homeport.controllers.statefulset import claims, reconcile
from homeport.controllers.statefulset.model import DeletePod
from homeport.store.contract import Entry, Event, Revision
from homeport.testing.histories import History, parse_history
from homeport.testing.invariants import Invariants
from homeport.testing.names import Names
from homeport.testing.recorded_store import RecordedStore, SavedStore
from homeport.testing.shrinking import trial

Patch = Callable[[pytest.MonkeyPatch], None]


def history(world: str, *steps: str, nodes: int = 2) -> History:
    lines = ["nodes: " + str(nodes), "world:", *(f"- {line}" for line in world.split(";")), "steps:"]
    return parse_history("\n".join([*lines, *(f"- {step}" for step in steps)]))


def unordered(patch: pytest.MonkeyPatch) -> None:
    """Every set is taken for a parallel one."""
    collect = reconcile._collect
    patch.setattr(reconcile, "_collect", lambda ordered, slots: collect(False, slots))


def hasty(patch: pytest.MonkeyPatch) -> None:
    """A rolling update takes all outdated pods at once."""

    def roll(view: Any, update: Any) -> tuple[DeletePod, ...]:
        pods = tuple(reversed(view.slots[view.desired.partition or 0 :]))
        return tuple(DeletePod(pod) for pod in pods if pod.revision != update.name and not pod.terminating)

    patch.setattr(reconcile, "_roll", roll)


def unparted(patch: pytest.MonkeyPatch) -> None:
    """Partitions are forgotten."""
    roll = reconcile._roll
    patch.setattr(
        reconcile, "_roll", lambda view, update: roll(replace(view, desired=replace(view.desired, partition=0)), update)
    )


def greedy(patch: pytest.MonkeyPatch) -> None:
    """Claims belong to their pod whatever the policy says."""
    patch.setattr(claims, "_wanted", lambda desired, pod: pod.owner)


def generous(patch: pytest.MonkeyPatch) -> None:
    """Budgets allow whatever is asked for."""
    count = disruption.count
    patch.setattr(disruption, "count", lambda *arguments: replace(count(*arguments), allowed=9))


def wide(patch: pytest.MonkeyPatch) -> None:
    """A Deployment grows by two more than it may."""
    patch.setattr(scaling, "grow_new", lambda desired, everyone, new: desired.replicas)


def early(patch: pytest.MonkeyPatch) -> None:
    """Recreate does not wait for old pods."""

    def recreate(self: Any, pods_running: Any) -> Any:
        for each in scaling.active(self.old):
            self.resize(each, 0)
        self.sync_new(create=True)
        self.resize(self.new, self.desired.replicas)
        return self.finish()

    patch.setattr(deployment._Pass, "recreate", recreate)


def careless(patch: pytest.MonkeyPatch) -> None:
    """A Deployment shrinks what is old at once."""
    patch.setattr(scaling, "shrink_old", lambda desired, new, old: [[(each, 0) for each in scaling.active(old)]])


def forgetful_names(patch: pytest.MonkeyPatch) -> None:
    """DNS answers with what it knew first."""
    resolve = Names.resolve
    known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def first(self: Names, name: str, kind: str = "A", namespace: str = "default") -> tuple[str, ...]:
        return known.setdefault((name, kind, namespace), ("10.0.0.1", *resolve(self, name, kind, namespace)))

    patch.setattr(Names, "resolve", first)


def lossy(patch: pytest.MonkeyPatch) -> None:
    """The store forgets an answered write when the engine dies."""
    save = RecordedStore.save

    def less(self: RecordedStore) -> SavedStore:
        saved = save(self)
        return replace(saved, entries=tuple(one for one in saved.entries if "/services/specs" not in one.key)[:-1])

    patch.setattr(RecordedStore, "save", less)


SET = "StatefulSet db replicas=3"
WEB = "Deployment web replicas=4 surge=1"
ROLL = ("30 recover x", "1 image web web:2", "60 recover x")
FOUND = [
    ("order", unordered, history(SET, "30 slow_start db-0 45", "1 delete_pod db-0", "8 delete_pod db-2")),
    ("order", unordered, history(f"{SET} claims=True", "30 recover x", "1 scale db 0", "60 recover x")),
    ("availability", hasty, history(f"{SET} parallel=True", "30 recover x", "1 image db db:2", "60 recover x")),
    ("partition", unparted, history(f"{SET} partition=2", "60 recover x", "1 image db db:2", "60 recover x")),
    ("claims", greedy, history(f"{SET} claims=True when_deleted=Delete", "60 recover x", "1 delete_pod db-1")),
    ("budget", generous, history(f"{SET} budget=minAvailable=3", "60 recover x", "1 evict_pod db-1")),
    ("surge", wide, history(f"{WEB} unavailable=0", *ROLL)),
    ("unavailable", careless, history(f"{WEB} unavailable=1", *ROLL)),
    ("recreate", early, history("Deployment web replicas=2 recreate=True", *ROLL)),
    ("names", forgetful_names, history(SET, "30 recover x")),
    ("durability", lossy, history(SET, "60 kill_engine", "1 start_engine")),
]


@pytest.mark.parametrize(("promise", "mutation", "told"), FOUND)
def test_a_broken_engine_is_found_out(
    promise: str, mutation: Patch, told: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trial(told) is None
    mutation(monkeypatch)
    failure = trial(told)
    assert failure is not None
    assert failure.promise == ["Violation", f" {promise}"], failure.error


def test_who_forces_the_deletion_of_a_pod_on_a_node_out_of_reach_gets_two_of_it() -> None:
    steps = ("30 cut node-1", "200 delete_pod db-0 0", "0 delete_pod db-1 0", "60 join node-1")
    failure = trial(history("StatefulSet db replicas=2 parallel=True", *steps))
    assert failure is not None
    assert failure.promise == ["Violation", " identity"]


def changes(*objects: dict[str, Any] | None) -> list[str]:
    """Return what invariants say of an object that is stored in these forms, one after the other."""
    import msgspec

    invariants, before = Invariants(), None
    for number, tree in enumerate(objects, 1):
        revision = Revision(number)
        name = (tree or {"kind": "pods"})["kind"]
        key = f"/registry/{name}/default/x" if name != "persistentvolumes" else f"/registry/{name}/x{number}"
        entry = Entry(key, msgspec.json.encode(tree), revision, revision) if tree is not None else None
        invariants.changed(Event(key, revision, entry, before))
        before = entry
    return [text.partition(":")[0] for text in invariants.violations]


def claim(volume: str) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "default", "uid": "u"}
    return {"kind": "persistentvolumeclaims", "metadata": metadata, "spec": {"volumeName": volume}}


def pod(phase: str, *owners: str) -> dict[str, Any]:
    references = [{"uid": owner, "controller": True} for owner in owners]
    metadata = {"name": "x", "namespace": "default", "uid": "u", "ownerReferences": references}
    return {"kind": "pods", "metadata": metadata, "spec": {}, "status": {"phase": phase}}


def test_changes_that_may_never_be_are_found() -> None:
    assert changes(claim("a"), claim("a")) == []
    assert changes(claim("a"), claim("b")) == ["ownership"]
    assert changes(pod("Running", "one", "two")) == ["ownership"]
    assert changes(pod("Running"), pod("Failed")) == []
    assert changes(pod("Failed"), pod("Running")) == ["phases"]
