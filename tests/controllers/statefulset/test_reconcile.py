"""StatefulSet passes: tables of situations, and random histories that keep the promises."""

import random
from dataclasses import replace

import pytest

from homeport.api.owners import Owner
from homeport.controllers.statefulset.claims import owner_change
from homeport.controllers.statefulset.model import Claim, Retention, Status
from homeport.controllers.statefulset.reconcile import reconcile
from homeport.controllers.statefulset.status import completed, differs
from tests.controllers.statefulset.sets import DATA, World, pod, revision, stateful_set, steps

NOW = 1000.0


def plan(desired, pods, *, current="a", update="a", claims=None):
    return reconcile(desired, pods, claims or {}, revision(current), revision(update), 0, NOW)


BAD = {"ready": False}
GOING = {"terminating": True}


@pytest.mark.parametrize(
    ("changes", "pods", "expected"),
    [
        pytest.param({}, [], ["create web-0 at a"], id="the first pod"),
        pytest.param({}, [pod(0)], ["create web-1 at a"], id="its successor"),
        pytest.param({}, [pod(0, **BAD)], [], id="not before it is ready"),
        pytest.param({}, [pod(0, phase="Pending", ready=False)], [], id="nor while it is pending"),
        pytest.param({}, [pod(0, **GOING)], [], id="nor while it goes"),
        pytest.param({}, [pod(1), pod(2)], ["create web-0 at a"], id="a lost low pod comes back"),
        pytest.param({}, [pod(1, **BAD)], ["create web-0 at a"], id="whatever the health above"),
        pytest.param({}, [pod(0, phase="Failed"), pod(1)], ["delete web-0"], id="a failed pod goes"),
        pytest.param({}, [pod(0, phase="Succeeded"), pod(1)], ["delete web-0"], id="so does one that ended"),
        pytest.param({}, [pod(0, phase="Failed", **GOING)], [], id="once"),
        pytest.param({"ordered": False}, [], [f"create web-{n} at a" for n in range(3)], id="parallel: all at once"),
        pytest.param({"ordered": False}, [pod(0, **GOING)], ["create web-1 at a", "create web-2 at a"], id="but one"),
        pytest.param({"start": 2}, [pod(0), pod(1), pod(2)], ["create web-3 at a"], id="the range moves up"),
        pytest.param({"start": 2}, [pod(n) for n in range(5)], ["delete web-1"], id="then the low pods go"),
        pytest.param({"deleting": True}, [], [], id="a set on its way out does nothing"),
        pytest.param({}, [pod(0), pod(1), pod(2), pod(-1)], [], id="a pod without ordinal is ignored"),
        pytest.param({}, [pod(0), pod(1, name_label="x"), pod(2)], ["repair web-1"], id="a label is put right"),
        pytest.param({"min_ready_seconds": 5}, [pod(0, available_after=NOW + 1)], [], id="not before it is available"),
    ],
)
def test_creation_and_scaling(changes, pods, expected):
    assert steps(plan(stateful_set(**changes), pods)) == expected


PENDING = {"phase": "Pending", "ready": False}


@pytest.mark.parametrize(
    ("replicas", "pods", "expected"),
    [
        pytest.param(0, [pod(0, **BAD), pod(1, **BAD), pod(2, **BAD)], [], id="3 to 0, all unready"),
        pytest.param(1, [pod(0), pod(1), pod(2, **BAD)], ["delete web-2"], id="3 to 1, 2 unready"),
        pytest.param(1, [pod(0), pod(1, **BAD), pod(2)], ["delete web-2"], id="3 to 1, 1 unready"),
        pytest.param(1, [pod(0), pod(1, **BAD)], ["delete web-1"], id="and then it"),
        pytest.param(2, [pod(0, **BAD), pod(1), pod(2)], [], id="3 to 2, 0 unready"),
        pytest.param(2, [pod(0), pod(1), pod(2, **PENDING)], ["delete web-2"], id="3 to 2, 2 pending for ever"),
        pytest.param(5, [pod(0), pod(1, **BAD)], [], id="2 to 5, 1 unready"),
        pytest.param(1, [pod(0), pod(1), pod(2, **GOING)], [], id="one at a time"),
        pytest.param(1, [pod(0), pod(1, **BAD), pod(2, **BAD)], [], id="an unready one that is not the first"),
        pytest.param(1, [pod(0), pod(1), pod(2)], ["delete web-2"], id="the highest first"),
    ],
)
def test_table_4_3_scaling_an_ordered_set(replicas, pods, expected):
    assert steps(plan(stateful_set(replicas=replicas), pods)) == expected


@pytest.mark.parametrize(
    ("condemned", "expected"),
    [
        pytest.param([pod(1), pod(2)], ["delete web-2", "delete web-1"], id="all at once"),
        pytest.param([pod(1, **BAD), pod(2, **BAD)], ["delete web-2", "delete web-1"], id="healthy or not"),
        pytest.param([pod(1), pod(2, **GOING)], ["delete web-1"], id="but those that go already"),
    ],
)
def test_table_4_3_scaling_a_parallel_set_down(condemned, expected):
    desired = stateful_set(replicas=1, ordered=False)
    assert steps(plan(desired, [pod(0, **BAD), *condemned])) == expected


OLD = [pod(0), pod(1), pod(2)]


@pytest.mark.parametrize(
    ("changes", "pods", "expected"),
    [
        pytest.param({}, OLD, ["roll web-2"], id="from the top"),
        pytest.param({}, [pod(0), pod(1), pod(2, **GOING)], [], id="one at a time"),
        pytest.param({}, [pod(0), pod(1)], ["create web-2 at b"], id="comes back new"),
        pytest.param({}, [pod(0), pod(1), pod(2, revision="b", **BAD)], [], id="waits for it"),
        pytest.param({}, [pod(0), pod(1), pod(2, revision="b")], ["roll web-1"], id="goes on"),
        pytest.param({"partition": 2}, OLD, ["roll web-2"], id="canary"),
        pytest.param({"partition": 2}, [pod(0), pod(1), pod(2, revision="b")], [], id="canary done"),
        pytest.param({"partition": 2}, [pod(0)], ["create web-1 at a"], id="below the partition stays old"),
        pytest.param({"partition": 9}, OLD, [], id="frozen"),
        pytest.param({"on_delete": True}, OLD, [], id="OnDelete waits for people"),
        pytest.param({"on_delete": True}, [pod(0)], ["create web-1 at b"], id="OnDelete comes back new"),
        pytest.param(
            {}, [pod(0), pod(1), pod(2, revision="c", **BAD)], [], id="an ordered set stays stuck on a broken pod"
        ),
        pytest.param(
            {"ordered": False},
            [pod(0), pod(1), pod(2, revision="c", **BAD)],
            ["roll web-2"],
            id="a parallel one recovers",
        ),
    ],
)
def test_rolling_updates(changes, pods, expected):
    assert steps(plan(stateful_set(**changes), pods, update="b")) == expected


@pytest.mark.parametrize(("persisted", "ordinal", "origin"), [(1, 0, "a"), (1, 1, "b"), (0, 0, "b"), (2, 1, "a")])
def test_without_a_rolling_update_object_the_persisted_count_decides(persisted, ordinal, origin):
    desired = stateful_set(partition=None, status=Status(current_replicas=persisted))
    pods = [pod(n) for n in range(3) if n != ordinal]
    assert steps(plan(desired, pods, update="b")) == [f"create web-{ordinal} at {origin}"]


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize(
    ("strategy", "slot", "origin"),
    [
        pytest.param({"partition": 2}, 0, "a", id="below the partition"),
        pytest.param({"partition": 2}, 1, "a", id="just below the partition"),
        pytest.param({"partition": 2}, 2, "b", id="at the partition"),
        pytest.param({"partition": 0}, 0, "b", id="no partition"),
        pytest.param({"partition": None, "status": Status(current_replicas=2)}, 1, "a", id="below the old ones' count"),
        pytest.param({"partition": None, "status": Status(current_replicas=2)}, 2, "b", id="at the old ones' count"),
        pytest.param({"on_delete": True}, 0, "b", id="OnDelete"),
        pytest.param({"on_delete": True, "partition": 2}, 0, "b", id="OnDelete minds no partition"),
    ],
)
def test_table_5_1_the_revision_of_a_pod_made_anew(start, strategy, slot, origin):
    desired = stateful_set(start=start, **strategy)
    pods = [pod(start + n) for n in range(3) if n != slot]
    assert steps(plan(desired, pods, update="b")) == [f"create web-{start + slot} at {origin}"]


SET = Owner("apps/v1", "StatefulSet", "web", "set-uid", True, True)
POD = Owner("v1", "Pod", "web-3", "uid-3", True, True)
FOREIGN = Owner("v1", "ConfigMap", "x", "other", True, True)


@pytest.mark.parametrize("owners", [(), (SET,), (POD,)], ids=["nobody's", "the set's", "the pod's"])
@pytest.mark.parametrize(
    ("retention", "in_range", "beyond"),
    [
        (Retention(False, False), None, None),
        (Retention(True, False), SET, SET),
        (Retention(False, True), None, POD),
        (Retention(True, True), SET, POD),
    ],
    ids=["Retain, Retain", "Delete, Retain", "Retain, Delete", "Delete, Delete"],
)
def test_table_6_2_who_owns_a_claim(retention, in_range, beyond, owners):
    for replicas, wanted in ((4, in_range), (3, beyond)):
        desired = stateful_set(replicas=replicas, retention=retention, claim_templates=(DATA,))
        change = owner_change(desired, pod(3), Claim("data-web-3", "claim-uid", owners=owners))
        left = [owner for owner in owners if owner not in change.remove]
        assert [*left, *([change.add] if change.add else [])] == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("retention", "ordinal", "owners", "removed", "added", "conflict"),
    [
        pytest.param(Retention(), 0, (), (), None, False, id="retained"),
        pytest.param(Retention(), 0, (SET,), (SET,), None, False, id="retained again"),
        pytest.param(Retention(), 0, (FOREIGN,), (), None, False, id="retained: strangers are no concern"),
        pytest.param(Retention(True, False), 0, (), (), SET, False, id="goes with the set"),
        pytest.param(Retention(True, False), 3, (), (), SET, False, id="also out of range"),
        pytest.param(Retention(True, False), 0, (SET,), (), None, False, id="as it should be"),
        pytest.param(Retention(False, True), 0, (SET,), (SET,), None, False, id="in range: nobody's"),
        pytest.param(Retention(False, True), 3, (), (), POD, False, id="out of range: the pod's"),
        pytest.param(Retention(True, True), 3, (SET,), (SET,), POD, False, id="from set to pod"),
        pytest.param(Retention(True, True), 0, (SET,), (), None, False, id="in range: the set's"),
        pytest.param(
            Retention(True, False), 0, (replace(SET, controller=False),), (), SET, False, id="owner turned controller"
        ),
        pytest.param(Retention(True, False), 0, (replace(SET, uid="old"),), (), None, True, id="a former set's"),
        pytest.param(Retention(False, True), 3, (replace(POD, uid="old"),), (), None, True, id="a former pod's"),
        pytest.param(Retention(True, False), 0, (FOREIGN,), (), None, True, id="another controller's"),
        pytest.param(
            Retention(True, True), 0, (FOREIGN, replace(SET, controller=False)),
            (replace(SET, controller=False),), None, True, id="another controller's: ours go",
        ),
    ],
)  # fmt: skip
def test_table_6_2_safety_rules(retention, ordinal, owners, removed, added, conflict):
    desired = stateful_set(retention=retention, claim_templates=(DATA,))
    change = owner_change(desired, pod(ordinal), Claim("data-web-0", "claim-uid", owners=owners))
    assert (change.remove, change.add, change.conflicting) == (removed, added, conflict)


def test_a_claim_of_the_pods_former_life_holds_it_back():
    desired = stateful_set(retention=Retention(False, True), claim_templates=(DATA,))
    stale = Claim("data-web-1", "claim-uid", owners=(Owner("v1", "Pod", "web-1", "old", True, True),))
    owned = {"data-web-0": Claim("data-web-0", "u"), "data-web-1": stale}
    assert steps(plan(desired, [pod(0)], claims=owned)) == []


def test_status_counts_and_completion():
    pods = [pod(0), pod(1, revision="b"), pod(2, **GOING)]
    status = plan(stateful_set(generation=4), pods, update="b").status
    assert (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas) == (3, 3, 1, 1)
    done = plan(stateful_set(), [pod(n, revision="b") for n in range(3)], update="b").status
    finished = completed(stateful_set(), done)
    assert (finished.current_revision, finished.current_replicas) == ("b", 3)
    assert completed(stateful_set(on_delete=True), done).current_revision == "a"


@pytest.mark.parametrize(
    ("pods", "before", "expected", "rolls"),
    [
        pytest.param([pod(0), pod(1), pod(2)], "a", (3, 3, 3, 3, "a", "a"), "", id="steady at a"),
        pytest.param([pod(0), pod(1), pod(2)], "a", (3, 3, 2, 0, "a", "b"), "web-2", id="the template is edited"),
        pytest.param(
            [pod(0), pod(1), pod(2, revision="b", **BAD)], "a", (3, 2, 2, 1, "a", "b"), "", id="web-2 is made anew"
        ),
        pytest.param([pod(0), pod(1), pod(2, revision="b")], "a", (3, 3, 1, 1, "a", "b"), "web-1", id="web-2 is ready"),
        pytest.param([pod(n, revision="b") for n in range(3)], "a", (3, 3, 3, 3, "b", "b"), "", id="web-0 is ready"),
    ],
)
def test_table_7_1_the_status_of_a_rolling_update(pods, before, expected, rolls):
    desired = stateful_set(status=Status(current_revision=before))
    made = plan(desired, pods, update=expected[5])
    assert "".join(each.pod.name for each in made.rolling) == rolls
    status = made.status
    if made.rolling:
        status = replace(status, current_replicas=status.current_replicas - 1)
    status = completed(desired, status)
    counts = (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas)
    assert (*counts, status.current_revision, status.update_revision) == expected


def test_a_collision_count_alone_is_no_reason_to_write():
    assert not differs(Status(observed_generation=2), Status(observed_generation=1, collision_count=0))
    assert differs(Status(), Status(ready_replicas=1))


def test_availability_that_no_event_tells_is_waited_for():
    waiting = [pod(0, available_after=NOW + 2), pod(1, available_after=NOW + 1), pod(2)]
    assert plan(stateful_set(min_ready_seconds=5), waiting).wake_at == NOW + 1


@pytest.mark.parametrize("seed", range(200))
def test_any_history_keeps_the_order_and_comes_to_rest(seed):
    world = World(random.Random(seed))
    for _ in range(60):
        world.disturb()
        world.step()
    world.settle()
    desired = world.desired
    assert sorted(world.pods) == list(range(desired.start, desired.start + desired.replicas))
    if not desired.on_delete and not desired.partition:
        assert {held.revision for held in world.pods.values()} <= {world.revisions[-1]}
