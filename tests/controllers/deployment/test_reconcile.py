"""Deployment passes: tables of situations, and random histories that never have too few pods available."""

import random
from dataclasses import replace

import pytest

from homeport.controllers.deployment import revisions, scaling
from homeport.controllers.deployment.model import (
    Annotate,
    Condition,
    Create,
    Delete,
    Deployment,
    Plan,
    ReplicaSet,
    Scale,
    Status,
    Step,
)
from homeport.controllers.deployment.reconcile import reconcile
from homeport.controllers.deployment.status import condition

NOW = 1000.0


def template(image: str) -> dict[str, object]:
    return {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "main", "image": image}]}}


def deployment(replicas: int, image: str = "a", **changes: object) -> Deployment:
    surge, unavailable = scaling.resolve(replicas, changes.pop("surge", "25%"), changes.pop("unavailable", "25%"))
    plain = Deployment("default", "d", "d", 1, replicas, template(image), max_surge=surge, max_unavailable=unavailable)
    return replace(plain, **changes)


def replica_set(
    image: str, replicas: int, *, revision: int, of: Deployment, available: int | None = None, **changes: object
) -> ReplicaSet:
    annotations = {revisions.REVISION: str(revision), **revisions.replica_annotations(of)}
    have = replicas if available is None else available
    plain = ReplicaSet(
        f"d-{image}", image, f"2026-01-01T00:00:0{revision}Z", replicas, template(image), annotations,
        actual=replicas, ready=have, available=have, reported=True, observed=True, terminating=0,
    )  # fmt: skip
    return replace(plain, **changes)


def steps(plan: Plan) -> list[str]:
    return [_word(step) for step in plan.steps]


def _word(step: Step) -> str:
    match step:
        case Create(made):
            return f"create {made.replicas}"
        case Annotate(noted):
            return f"annotate {noted.name}"
        case Scale(name, _, old, new):
            return f"{name} {old} to {new}"
        case Delete(gone):
            return f"delete {gone.name}"


def plan(desired: Deployment, *sets: ReplicaSet, running: bool = False) -> Plan:
    return reconcile(desired, sets, lambda _: running, NOW)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "resolved"),
    [
        (1, "25%", "25%", (1, 0)),
        (2, "25%", "25%", (1, 0)),
        (3, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (2, 0, "1%", (0, 1)),
        (3, "200%", 0, (6, 0)),
        (2, 0, 5, (0, 2)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_table_9_5_limits_round_for_safety(replicas, surge, unavailable, resolved):
    assert scaling.resolve(replicas, surge, unavailable) == resolved


def test_a_first_rollout_starts_with_all_pods():
    made = plan(deployment(3))
    assert steps(made) == ["create 3"]
    assert made.revision == "1"
    found = condition(made.status, "Progressing")
    assert found is not None
    assert found.reason == "NewReplicaSetCreated"


NEXT = deployment(4, "b")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param((4, 4), None, ["create 1", "d-a 4 to 3"], id="what surge and availability allow"),
        pytest.param((4, 4), (1, 0), ["d-a 4 to 3"], id="one may be missing"),
        pytest.param((3, 3), (1, 0), ["d-b 1 to 2"], id="and again"),
        pytest.param((3, 3), (2, 0), [], id="until pods turn available"),
        pytest.param((3, 3), (2, 1), ["d-a 3 to 2"], id="one for one"),
        pytest.param((4, 2), (1, 0), ["d-a 4 to 3"], id="unhealthy ones first"),
        pytest.param((2, 3), (3, 1), [], id="a status behind its size is waited for"),
        pytest.param((0, 0), (4, 4), [], id="done"),
    ],
)
def test_table_9_5_rolling(old, new, expected):
    sets = [replica_set("a", old[0], revision=1, of=NEXT, available=old[1])]
    if new is not None:
        sets.append(replica_set("b", new[0], revision=2, of=NEXT, available=new[1]))
    assert steps(plan(NEXT, *sets)) == expected


def test_a_third_template_drains_the_second_too():
    desired = deployment(4, "c")
    sets = [
        replica_set("a", 3, revision=1, of=desired),
        replica_set("b", 2, revision=2, of=desired, available=0),
        replica_set("c", 0, revision=3, of=desired),
    ]
    assert steps(plan(desired, *sets)) == ["d-b 2 to 0"]


def test_a_rollback_reuses_the_old_one_under_a_new_number():
    desired = deployment(2, "a")
    sets = [replica_set("a", 0, revision=1, of=desired), replica_set("b", 2, revision=2, of=desired)]
    made = plan(desired, *sets)
    assert steps(made) == ["annotate d-a", "d-a 0 to 1"]
    assert made.revision == "3"
    assert isinstance(made.steps[0], Annotate)
    assert made.steps[0].annotations[revisions.HISTORY] == "1"


def test_recreate_waits_for_every_old_pod():
    desired = deployment(2, "b", rolling=False, max_surge=0, max_unavailable=0)
    old = replica_set("a", 2, revision=1, of=desired)
    assert steps(plan(desired, old)) == ["d-a 2 to 0"]
    stopped = replace(old, replicas=0, actual=0, available=0)
    assert steps(plan(desired, stopped, running=True)) == []
    assert steps(plan(desired, stopped)) == ["create 2"]


def test_a_paused_deployment_scales_and_does_not_roll():
    desired = deployment(4, "b", paused=True)
    old = replica_set("a", 2, revision=1, of=deployment(2))
    assert steps(plan(desired, old)) == ["d-a 2 to 4"]
    assert steps(plan(desired, replace(old, replicas=4))) == []


def test_a_paused_deployment_waits_for_no_deadline():
    """It is judged by nobody: woken at one that has passed, it would be looked at again and again without a pause."""
    desired = deployment(4, "b", paused=True, progress_deadline=600)
    old = replica_set("a", 4, revision=1, of=desired)
    first = plan(desired, old)
    assert condition(first.status, "Progressing").reason == "DeploymentPaused"
    assert first.wake_at is None
    assert plan(replace(desired, status=first.status), old).wake_at is None
    resumed = replace(desired, paused=False, status=first.status)
    assert plan(resumed, old).wake_at is not None


@pytest.mark.parametrize(
    ("replicas", "limits", "before", "sizes", "expected"),
    [
        pytest.param(30, (3, 2), 13, (8, 5), ["d-a 8 to 20", "d-b 5 to 13"], id="the conformance example"),
        pytest.param(0, (3, 2), 13, (8, 5), ["d-a 8 to 0", "d-b 5 to 0"], id="to nothing"),
        pytest.param(5, (2, 1), 13, (8, 5), ["d-a 8 to 4", "d-b 5 to 3"], id="down"),
    ],
)
def test_scaling_in_the_middle_of_a_rollout_is_proportional(replicas, limits, before, sizes, expected):
    then = deployment(before - 3, "b", surge=3, unavailable=2)
    desired = deployment(replicas, "b", surge=limits[0], unavailable=limits[1])
    old = replica_set("a", sizes[0], revision=1, of=then)
    new = replica_set("b", sizes[1], revision=2, of=then, available=0)
    assert steps(plan(desired, old, new)) == expected


def test_history_beyond_the_limit_goes_but_never_what_is_in_use():
    desired = deployment(1, "d", history_limit=1, status=Status(1, 1, 1, 1, 1))
    sets = [
        replica_set("a", 0, revision=1, of=desired),
        replica_set("b", 0, revision=2, of=desired, observed=False),
        replica_set("c", 0, revision=3, of=desired),
        replica_set("d", 1, revision=4, of=desired),
    ]
    assert steps(plan(desired, *sets)) == ["delete d-a"]


def progressing(reason: str, updated: float, status: str = "True") -> Status:
    return Status(1, conditions=(Condition("Progressing", status, reason, "", updated, updated),))


@pytest.mark.parametrize(
    ("status", "reason", "wake_at"),
    [
        pytest.param(progressing("ReplicaSetUpdated", NOW - 5), "ReplicaSetUpdated", NOW + 6, id="still time"),
        pytest.param(progressing("ReplicaSetUpdated", NOW - 11), "ProgressDeadlineExceeded", None, id="too late"),
        pytest.param(progressing("ProgressDeadlineExceeded", 0, "False"), "ProgressDeadlineExceeded", None, id="told"),
    ],
)
def test_a_rollout_without_progress_times_out(status, reason, wake_at):
    stuck = replica_set("a", 1, revision=1, of=deployment(1), available=0)
    before = replace(status, replicas=1, updated_replicas=1)
    made = plan(deployment(1, progress_deadline=10, status=before), stuck)
    found = condition(made.status, "Progressing")
    assert found is not None
    assert (found.reason, made.wake_at) == (reason, wake_at)


def test_a_complete_rollout_is_not_judged_again():
    before = replace(progressing("NewReplicaSetAvailable", 0), replicas=2, updated_replicas=2, available_replicas=2)
    made = plan(deployment(2, status=before), replica_set("a", 2, revision=1, of=deployment(2), available=1))
    found = condition(made.status, "Progressing")
    assert found is not None
    assert found.reason == "NewReplicaSetAvailable"


def test_the_list_of_former_revisions_stays_short():
    known = {revisions.REVISION: "1000", revisions.HISTORY: ",".join(map(str, range(100, 600)))}
    history = revisions.new_annotations(deployment(1), known, 1001)[revisions.HISTORY]
    assert len(history) <= 2000
    assert history.endswith(",599,1000")


@pytest.mark.parametrize("seed", range(200))
def test_any_rollout_keeps_enough_pods_and_never_too_many(seed):
    rng = random.Random(seed)
    world = {}
    desired = deployment(
        rng.randrange(1, 9), surge=rng.choice(["25%", 1, 3, 0]), unavailable=rng.choice(["25%", 0, 2]), status=Status(1)
    )
    fewest = 0
    for turn in range(200):
        if turn % 30 == 20 and turn < 120:
            desired = replace(desired, template=template(rng.choice("abc")))
        made = reconcile(desired, list(world.values()), lambda _: False, NOW)
        _perform(world, made, turn)
        desired = replace(desired, status=made.status)
        assert sum(each.replicas for each in world.values()) <= desired.most
        available = sum(min(each.available, each.replicas) for each in world.values())
        assert available >= min(fewest, desired.fewest)
        fewest = available
        _settle(world, rng)
    assert not any(
        isinstance(step, Scale) for step in reconcile(desired, [*world.values()], lambda _: False, NOW).steps
    )


def _perform(world: dict[str, ReplicaSet], made: Plan, turn: int) -> None:
    for step in made.steps:
        match step:
            case Create(new):
                world[new.name] = replace(new, uid=new.name, created=f"{turn:03}", reported=True, observed=True)
            case Annotate(known, annotations, _):
                world[known.name] = replace(world[known.name], annotations=annotations)
            case Scale(name, _, _, size, annotations):
                merged = {**world[name].annotations, **annotations}
                world[name] = replace(world[name], replicas=size, annotations=merged)
            case Delete(gone):
                del world[gone.name]


def _settle(world: dict[str, ReplicaSet], rng: random.Random) -> None:
    """Let each ReplicaSet report what became of its pods, some of which may not be available yet."""
    for name, each in world.items():
        available = min(each.available, each.replicas)
        if available < each.replicas:
            available += rng.randint(0, each.replicas - available)
        world[name] = replace(each, actual=each.replicas, ready=available, available=available, terminating=0)
