"""Each invariant can fail: break the engine in one place, and some history finds it and names the promise."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from homeport.client.contract import Object
from homeport.client.informer import Informer
from homeport.controllers.deployment import reconcile as deployment
from homeport.controllers.deployment import scaling
from homeport.controllers.disruption import controller as disruption
from homeport.controllers.endpointslice import reconcile as slices
from homeport.controllers.garbagecollector import controller as collector
from homeport.controllers.garbagecollector.reconcile import DropFinalizer
from homeport.controllers.statefulset import claims, controller, reconcile
from homeport.controllers.statefulset.codec import decode_claim
from homeport.controllers.statefulset.model import DeletePod
from homeport.controllers.statefulset.perform import Performer
from homeport.store.contract import Entry, Event, Revision
from homeport.testing import histories
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


def stale_names(patch: pytest.MonkeyPatch) -> None:
    """DNS keeps what it answered for half a minute."""
    resolve = Names.resolve
    known: dict[tuple[str, ...], tuple[float, tuple[str, ...]]] = {}

    def kept(self: Names, name: str, kind: str = "A", namespace: str = "default") -> tuple[str, ...]:
        now = asyncio.get_running_loop().time()
        at, answer = known.get((name, kind, namespace), (-60.0, ()))
        if not 0.0 <= now - at < 30.0:
            at, answer = known[name, kind, namespace] = now, resolve(self, name, kind, namespace)
        return answer

    patch.setattr(Names, "resolve", kept)


def stale_rules(patch: pytest.MonkeyPatch) -> None:
    """The proxy leads to the endpoints that were there first."""
    endpoints = Names.endpoints
    known: dict[tuple[str, str], tuple[str, ...]] = {}

    def first(self: Names, namespace: str, name: str) -> tuple[str, ...]:
        return known.get((namespace, name)) or known.setdefault((namespace, name), endpoints(self, namespace, name))

    patch.setattr(Names, "endpoints", first)


def blind_slices(patch: pytest.MonkeyPatch) -> None:
    """Pods that are not ready are published as if they were."""
    endpoint_of = slices.endpoint_of
    patch.setattr(slices, "endpoint_of", lambda *arguments: replace(endpoint_of(*arguments), ready=True, serving=True))


def sulking_slices(patch: pytest.MonkeyPatch) -> None:
    """A pod that ends is still published."""
    endpoint_of = slices.endpoint_of

    def published(pod: Any, *arguments: Any) -> Any:
        return replace(endpoint_of(pod, *arguments), ready=pod.ready)

    patch.setattr(slices, "endpoint_of", published)


def deaf(patch: pytest.MonkeyPatch) -> None:
    """Who only watches is not told of the end of pods."""
    changed = Informer.changed

    def less(self: Informer, kind: str, obj: Object) -> None:
        watches = getattr(self.client, "user_agent", "") == "watching"
        if not (watches and kind == "DELETED" and self.resource.plural == "pods"):
            changed(self, kind, obj)

    patch.setattr(Informer, "changed", less)


def idle(patch: pytest.MonkeyPatch) -> None:
    """A rolling update replaces nothing."""
    patch.setattr(reconcile, "_roll", lambda view, update: ())


def restless(patch: pytest.MonkeyPatch) -> None:
    """The highest pod is replaced, whatever it is like."""

    def roll(view: Any, update: Any) -> tuple[DeletePod, ...]:
        highest = view.slots[-1]
        return (DeletePod(highest),) if highest.healthy(view.now) else ()

    patch.setattr(reconcile, "_roll", roll)


def restless_once_in_a_while(patch: pytest.MonkeyPatch) -> None:
    """The controller changes a number twice a minute, for ever."""
    completed, wake_at = controller.completed, reconcile._wake_at

    def counting(desired: Any, status: Any) -> Any:
        return replace(completed(desired, status), observed_generation=int(asyncio.get_running_loop().time() // 30) + 9)

    patch.setattr(histories, "LIMIT_SECONDS", 600.0)
    patch.setattr(reconcile, "_wake_at", lambda view: wake_at(view) or view.now + 30.0)
    patch.setattr(controller, "completed", counting)


def fresh_start(patch: pytest.MonkeyPatch) -> None:
    """A controller that begins anew says so in the status of its sets."""
    starts = itertools.count(1)
    begin, completed = controller.StatefulSetController.__init__, controller.completed
    current = [0]

    def begun(self: Any, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        current[0] = next(starts)

    patch.setattr(controller.StatefulSetController, "__init__", begun)
    patch.setattr(controller, "differs", lambda old, new: old != new)
    patch.setattr(
        controller, "completed", lambda desired, status: replace(completed(desired, status), collision_count=current[0])
    )


def impatient(patch: pytest.MonkeyPatch) -> None:
    """A paused Deployment rolls on."""
    patch.setattr(deployment._Pass, "scale", lambda self, *, cleanup: self.roll())


def forgetful_store(patch: pytest.MonkeyPatch) -> None:
    """After a crash the store counts from an earlier revision."""
    save = RecordedStore.save

    def earlier(self: RecordedStore) -> SavedStore:
        saved = save(self)
        assert saved.last is not None
        revision = Revision(saved.last.revision - 5)
        return replace(saved, last=replace(saved.last, revision=revision))

    patch.setattr(RecordedStore, "save", earlier)


def overbearing(patch: pytest.MonkeyPatch) -> None:
    """A claim's owners are decided upon late, and written whatever came between."""
    change = claims.owner_change

    def looked_up(self: Performer, pod: Any, made: Any) -> dict[str, Any]:
        name = f"data-{pod.name}"
        shown = self._claims.get(self._desired.namespace, name)
        return {} if shown is None else {name: decode_claim(shown)}

    patch.setattr(Performer, "_existing_claims", looked_up)
    patch.setattr(claims, "owner_change", lambda *arguments: replace(change(*arguments), version=""))


def hasty_collector(patch: pytest.MonkeyPatch) -> None:
    """The garbage collector lets an owner go before it has taken what is to stay from it."""

    def finish(node: Any, dependents: Any) -> Any:
        finalizer = "orphan" if node.orphans_dependents else "foregroundDeletion"
        return [DropFinalizer(node, finalizer)]

    patch.setattr(collector, "finish_owner", finish)


def undead(patch: pytest.MonkeyPatch) -> None:
    """A set on its way out gets its pods back."""
    decode = controller.decode_set
    patch.setattr(controller, "decode_set", lambda *arguments: replace(decode(*arguments), deleting=False))


SET = "StatefulSet db replicas=3"
ALONE = f"{SET} claims=True when_deleted=Delete"
WEB = "Deployment web replicas=4 surge=1"
ROLL = ("30 recover x", "1 image web web:2", "60 recover x")
FOUND = [
    ("order", unordered, history(SET, "30 slow_start db-0 45", "1 delete_pod db-0", "8 delete_pod db-2")),
    ("order", unordered, history(f"{SET} claims=True", "30 recover x", "1 scale db 0", "60 recover x")),
    ("availability", hasty, history(f"{SET} parallel=True", "30 recover x", "1 image db db:2", "60 recover x")),
    ("partition", unparted, history(f"{SET} partition=2", "60 recover x", "1 image db db:2", "5 recover x")),
    ("claims", greedy, history(f"{SET} claims=True when_deleted=Delete", "60 recover x", "1 delete_pod db-1")),
    ("budget", generous, history(f"{SET} budget=minAvailable=3", "60 recover x", "1 evict_pod db-1")),
    ("surge", wide, history(f"{WEB} unavailable=0", *ROLL)),
    ("unavailable", careless, history(f"{WEB} unavailable=1", *ROLL)),
    ("recreate", early, history("Deployment web replicas=2 recreate=True", *ROLL)),
    ("names", forgetful_names, history(SET, "30 recover x")),
    ("names", stale_names, history(SET, "60 delete_pod db-1", "30 recover x", "60 recover x")),
    ("names", blind_slices, history(SET, "60 fail_probe db-1 readiness", "60 recover db-1", "60 recover x")),
    ("names", stale_rules, history(WEB, *ROLL)),
    ("names", sulking_slices, history(SET, "60 cut node-1", "1 delete_pod db-1", "20 recover x", nodes=1)),
    ("claims", hasty_collector, history(ALONE, "60 delete db Orphan", "60 recover x")),
    (
        "order",
        undead,
        history(
            f"{SET} parallel=True", "60 cut node-1", "1 delete db Foreground", "3 scale db 5", "9 recover x", nodes=1
        ),
    ),
    ("partition", restless, history(SET, "5 recover x")),
    ("convergence", idle, history(SET, "60 image db db:2", "60 recover x")),
    ("rest", restless_once_in_a_while, history("StatefulSet db", "60 recover x")),
    ("fixed point", fresh_start, history("StatefulSet db", "60 recover x")),
    ("observers", deaf, history(SET, "60 scale db 1", "60 recover x")),
    ("pause", impatient, history(WEB, "30 pause web on", "30 image web web:2", "60 recover x")),
    ("revisions", forgetful_store, history("StatefulSet db", "60 kill_engine", "1 start_engine", "60 recover x")),
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


def test_a_claim_given_back_to_a_set_that_was_deleted_alone_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The set is deleted alone while a pass makes a pod anew: one of these moments is the wrong one."""
    lines = [("60 delete_pod db-1", f"{0.01 * number} delete db Orphan", "9 recover x") for number in range(5, 15)]
    told = [replace(history(f"{ALONE} parallel=True", *steps), seed=seed) for seed in range(30) for steps in lines]
    with monkeypatch.context() as patch:
        overbearing(patch)
        failure = next(failure for one in told if (failure := trial(one)) is not None)
    assert failure.promise == ["Violation", " claims"]
    assert trial(failure.history) is None


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
