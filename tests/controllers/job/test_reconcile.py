"""What a Job does next, when it ends, and how its pods are counted."""

from dataclasses import replace

import pytest

from homeport.controllers.job import tracking
from homeport.controllers.job.model import Backoff, Condition, Job, NewPod, Pod, Status
from homeport.controllers.job.policies import verdict
from homeport.controllers.job.reconcile import pause, reconcile

NOW = 1_000_000.0
STAMP = "1970-01-12T13:46:40Z"
NONE = Backoff()


def job(**changes: object) -> Job:
    return replace(Job("default", "j", "uid", status=Status(started=STAMP)), **changes)


def pod(name: str, phase: str = "Running", **changes: object) -> Pod:
    return replace(Pod(name, name, "n", phase, phase == "Running", ended=NOW - 1000), **changes)


def indexed(completions: int, **changes: object) -> Job:
    return job(indexed=True, completions=completions, **changes)


@pytest.mark.parametrize(
    ("changes", "pods", "create", "delete"),
    [
        ({"parallelism": 3, "completions": 5}, [], 3, ()),
        ({"parallelism": 3, "completions": 2}, [], 2, ()),
        ({"parallelism": 900, "completions": 900}, [], 500, ()),
        ({"parallelism": 3, "completions": 5}, [pod("a"), pod("b", "Succeeded")], 2, ()),
        ({"parallelism": 3, "completions": None}, [pod("a")], 2, ()),
        ({"parallelism": 3, "completions": None}, [pod("a"), pod("b", "Succeeded")], 0, ()),
        ({"parallelism": 1, "completions": 5}, [pod("a"), pod("b", "Pending", node="")], 0, ("b",)),
        ({"suspended": True}, [pod("a")], 0, ("a",)),
        ({"deleting": True}, [], 0, ()),
        ({}, [pod("a", terminating=True)], 0, ()),  # it failed a moment ago
        ({"replace_when_failed": True}, [pod("a", terminating=True)], 0, ()),
    ],
)
def test_pods_are_made_and_taken_away(changes, pods, create, delete):
    pods = [replace(each, ended=NOW) for each in pods]
    plan = reconcile(job(**changes), pods, NONE, NOW)
    assert (len(plan.create), tuple(each.name for each in plan.delete)) == (create, delete)


def test_each_index_has_one_pod_and_the_lowest_free_ones_come_next():
    pods = [pod("a", index=1), pod("b", "Pending", index=1, node=""), pod("c", "Succeeded", index=0), pod("d")]
    plan = reconcile(indexed(6, parallelism=4), pods, NONE, NOW)
    assert {each.name for each in plan.delete} == {"b", "d"}
    plan = reconcile(indexed(6, parallelism=3), [pods[0], pods[2]], NONE, NOW)
    assert plan.create == (NewPod(2), NewPod(3))


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 10), (2, 20), (4, 80), (7, 600), (99, 600)])
def test_failures_make_it_wait(failures, seconds):
    assert pause(failures, NOW, NOW) == seconds
    assert pause(failures, NOW - 5, NOW) == max(0, seconds - 5)


def test_a_success_ends_the_waiting():
    fresh = [pod("a", "Failed", ended=NOW)]
    plan = reconcile(job(), fresh, Backoff(1, NOW - 60), NOW)
    assert (plan.create, plan.wake_after, plan.backoff) == ((), 20.0, Backoff(2, NOW))
    plan = reconcile(job(completions=9), [*fresh, pod("b", "Succeeded", ended=NOW + 1)], Backoff(5, NOW), NOW)
    assert (plan.backoff, len(plan.create)) == (NONE, 1)


@pytest.mark.parametrize(
    ("changes", "pods", "kind", "reason"),
    [
        ({"backoff_limit": 0}, [pod("a", "Failed")], "FailureTarget", "BackoffLimitExceeded"),
        ({"backoff_limit": 1}, [pod("a", "Failed")], None, None),
        (
            {"restarts_in_place": True, "backoff_limit": 3},
            [pod("a", restarts=3)], "FailureTarget", "BackoffLimitExceeded",
        ),
        ({"deadline_seconds": 0}, [pod("a")], "FailureTarget", "DeadlineExceeded"),
        ({"deadline_seconds": 0, "suspended": True}, [pod("a")], None, None),
        (
            {"indexed": True, "completions": 2, "per_index": 0, "most_failed_indexes": 0},
            [pod("a", "Failed", index=0)], "FailureTarget", "MaxFailedIndexesExceeded",
        ),
        (
            {"indexed": True, "completions": 2, "per_index": 0},
            [pod("a", "Failed", index=0), pod("b", "Succeeded", index=1)], "FailureTarget", "FailedIndexes",
        ),
        (
            {"indexed": True, "completions": 3, "success_policy": [{"succeededIndexes": "0,2", "succeededCount": 1}]},
            [pod("a", "Succeeded", index=2), pod("b", index=0)], "SuccessCriteriaMet", "SuccessPolicy",
        ),
        (
            {"failure_policy": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}]},
            [pod("a", "Failed", containers=(("c", 3),))], "FailureTarget", "PodFailurePolicy",
        ),
        (
            {"status": Status(started=STAMP, conditions=(Condition("FailureTarget", "True", "Why"),))},
            [pod("a")], "Failed", "Why",
        ),
    ],
)  # fmt: skip
def test_a_job_ends(changes, pods, kind, reason):
    plan = reconcile(job(**changes), pods, NONE, NOW)
    assert (plan.end and plan.end.kind, plan.end and plan.end.reason) == (kind, reason)
    if plan.end is not None:
        assert plan.delete == plan.view.active


POLICY = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "NotIn", "values": [1, 2]}},
]


@pytest.mark.parametrize(
    ("changes", "action", "counts"),
    [
        ({"conditions": (("DisruptionTarget", "True"),), "containers": (("main", 9),)}, "Ignore", False),
        ({"containers": (("main", 9),)}, "FailJob", True),
        ({"containers": (("main", 1),)}, "", True),
        ({"containers": (("side", 9),)}, "", True),
        ({}, "", True),
    ],
)
def test_the_first_rule_that_fits_decides(changes, action, counts):
    ruling = verdict(job(failure_policy=POLICY), pod("a", "Failed", **changes))
    assert (ruling.action, ruling.counts) == (action, counts)
    text = "Container main for pod default/a failed with exit code 9 matching FailJob rule at index 1"
    assert ruling.message == (text if action == "FailJob" else "")


def test_an_index_that_failed_passes_its_count_on_to_its_next_pod():
    last = pod("a", "Failed", index=0, failures=(1, 0))
    plan = reconcile(indexed(1, per_index=3), [last], NONE, NOW)
    assert plan.create == (NewPod(0, (2, 0)),)
    noted = tracking.note(indexed(1, per_index=3), Status(), [last], plan, None, STAMP)
    assert noted.strip == ()  # it keeps its finalizer until its replacement is there
    waiting = reconcile(indexed(1, per_index=3), [replace(last, ended=NOW)], NONE, NOW)
    assert (waiting.create, waiting.wake_after) == ((), 20.0)


def test_pods_are_written_down_let_go_and_then_counted():
    owner = job(completions=2)
    pods = [pod("a", "Succeeded"), pod("b", "Failed"), pod("c")]
    plan = reconcile(owner, pods, NONE, NOW)
    noted = tracking.note(owner, owner.status, pods, plan, None, STAMP)
    assert (noted.status.uncounted_succeeded, noted.status.uncounted_failed) == (("a",), ("b",))
    assert [each.name for each in noted.strip] == ["a", "b"]
    counted = tracking.counted(noted.status, {"c"})
    assert (counted.succeeded, counted.failed, counted.uncounted_succeeded) == (1, 1, ())
    again = [replace(each, tracked=each.name == "c") for each in pods]
    repeated = tracking.note(
        owner, counted, again, reconcile(replace(owner, status=counted), again, NONE, NOW), None, STAMP
    )
    assert (repeated.status, repeated.strip) == (counted, ())


def test_the_end_waits_until_nothing_is_left():
    owner = job()
    pods = [pod("a", "Succeeded")]
    plan = reconcile(owner, pods, NONE, NOW)
    end = tracking.complete(owner, plan, 0)
    assert end is not None
    noted = tracking.note(owner, owner.status, pods, plan, end, STAMP)
    assert [each.kind for each in noted.status.conditions] == ["SuccessCriteriaMet"]
    assert tracking.finish(noted.status, noted, STAMP) is None
    done = tracking.counted(noted.status, ())
    assert tracking.finish(replace(done, terminating=1), noted, STAMP) is None
    over = tracking.finish(done, noted, STAMP)
    assert over is not None
    assert ([each.kind for each in over.conditions], over.completed) == (["SuccessCriteriaMet", "Complete"], STAMP)
    assert over.finished


def test_suspension_forgets_the_start_and_resuming_sets_it_anew():
    held, event = tracking.with_suspension(Status(started=STAMP), True, STAMP)
    assert (held.started, event) == ("", "Suspended")
    assert tracking.with_suspension(held, True, "later") == (held, "")
    again, event = tracking.with_suspension(held, False, "later")
    assert (again.started, event, again.conditions[0].status) == ("later", "Resumed", "False")
    assert tracking.with_suspension(Status(), False, STAMP) == (Status(), "")
