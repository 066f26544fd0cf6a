"""Jobs as the API takes them and as their pods are made. Source: workloads 11."""

from itertools import pairwise
from typing import Any

import pytest

from homeport.testing.behaviour import Ending
from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import condition, create, delete, put

TRACKED = "batch.kubernetes.io/job-tracking"


def job(homeport: SimulatedCluster, *, restart: str | None = "Never", **spec: Any) -> tuple[int, dict[str, Any]]:
    pod = {"containers": [{"name": "c", "image": "task:1"}], "terminationGracePeriodSeconds": 0}
    template = {"spec": {**pod, **({"restartPolicy": restart} if restart else {})}}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template, **spec}}
    return create(homeport, body)


def jobs_pods(homeport: SimulatedCluster) -> list[dict[str, Any]]:
    return list(homeport.list("pod", selector="job-name=j"))


RULES = {"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]}


@pytest.mark.parametrize(
    ("spec", "defaults"),
    [
        ({}, {"completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False}),
        ({"parallelism": 3}, {"completions": None, "parallelism": 3}),
        ({"completions": 3}, {"completions": 3, "parallelism": 1}),
        (
            {"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1},
            {"backoffLimit": 2147483647, "podReplacementPolicy": "TerminatingOrFailed"},
        ),
        ({"podFailurePolicy": RULES}, {"podReplacementPolicy": "Failed"}),
    ],
)
def test_defaults(homeport: SimulatedCluster, spec: dict[str, Any], defaults: dict[str, Any]) -> None:
    code, made = job(homeport, **spec)
    assert code == 201
    assert {name: made["spec"].get(name) for name in defaults} == defaults


def test_pods_and_selector_carry_the_job_s_name_and_identity(homeport: SimulatedCluster) -> None:
    _, made = job(homeport)
    name, uid = "j", made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    homeport.settle()
    (pod,) = jobs_pods(homeport)
    assert pod["metadata"]["labels"] == {
        "batch.kubernetes.io/job-name": name,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "controller-uid": uid,
    }
    assert pod["metadata"]["finalizers"] == [TRACKED]


@pytest.mark.parametrize("restart", [None, "Always"])
def test_a_job_says_how_its_pods_restart(homeport: SimulatedCluster, restart: str | None) -> None:
    assert job(homeport, restart=restart)[0] == 422


@pytest.mark.parametrize(
    ("before", "change", "code"),
    [
        ({}, {"completions": 5}, 422),
        ({}, {"completionMode": "Indexed"}, 422),
        ({}, {"podFailurePolicy": RULES}, 422),
        ({}, {"selector": {"matchLabels": {"x": "y"}}}, 422),
        ({}, {"parallelism": 5}, 200),
        ({}, {"suspend": True}, 200),
        ({"completionMode": "Indexed", "completions": 2, "parallelism": 2}, {"completions": 4, "parallelism": 4}, 200),
        ({"completionMode": "Indexed", "completions": 2, "parallelism": 2}, {"completions": 4}, 422),
        ({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1}, {"backoffLimitPerIndex": 2}, 422),
    ],
)
def test_what_may_change(homeport: SimulatedCluster, before: dict[str, Any], change: dict[str, Any], code: int) -> None:
    assert job(homeport, suspend=False, **before)[0] == 201
    homeport.settle()
    tree = homeport.get("job/j")
    assert put(homeport, {**tree, "spec": {**tree["spec"], **change}})[0] == code


@pytest.mark.parametrize(("suspended", "code"), [(True, 200), (False, 422)])
def test_where_pods_go_may_change_before_they_start(homeport: SimulatedCluster, suspended: bool, code: int) -> None:
    job(homeport, suspend=suspended)
    homeport.settle()
    tree = homeport.get("job/j")
    template = tree["spec"]["template"]
    moved = {**template, "spec": {**template["spec"], "nodeSelector": {"disk": "ssd"}}}
    assert put(homeport, {**tree, "spec": {**tree["spec"], "template": moved}})[0] == code


def test_without_a_word_pods_are_orphaned_and_let_go(homeport: SimulatedCluster) -> None:
    job(homeport)
    homeport.settle()
    delete(homeport, "job/j")
    homeport.wait("job/j", gone=True)
    homeport.settle()
    (pod,) = jobs_pods(homeport)
    assert (pod["metadata"].get("ownerReferences"), pod["metadata"].get("finalizers")) == (None, None)


def test_each_failure_doubles_the_pause_and_a_success_ends_it(homeport: SimulatedCluster) -> None:
    codes = iter([1, 1, 1, 0, 1, 0])
    starts: list[float] = []

    def task(_: object) -> Ending:
        starts.append(homeport.simulation.clock.now())
        return Ending(1, code=next(codes))

    homeport.program("task:1", task)
    job(homeport, completions=2, parallelism=1)
    homeport.wait("job/j", until=lambda tree: (tree.get("status") or {}).get("succeeded") == 2)
    pauses = [round(after - before - 1) for before, after in pairwise(starts)]
    assert pauses == [10, 20, 40, 0, 10]


def test_without_a_number_of_completions_the_first_success_is_enough(homeport: SimulatedCluster) -> None:
    ends = {0: Ending(5), 1: Ending(20)}
    count = iter(range(99))
    homeport.program("task:1", lambda _: ends.get(next(count)))
    job(homeport, parallelism=3)
    homeport.advance(seconds=6)
    assert homeport.get("job/j")["status"]["succeeded"] == 1
    assert len([pod for pod in jobs_pods(homeport) if pod["status"]["phase"] == "Running"]) == 2
    homeport.advance(minutes=5)
    assert len(jobs_pods(homeport)) == 3  # nobody takes the place of those that ended
    assert condition(homeport.get("job/j"), "Complete") == {}  # one still runs


def test_a_resumed_job_starts_its_clock_anew(homeport: SimulatedCluster) -> None:
    job(homeport, activeDeadlineSeconds=100)
    homeport.advance(seconds=60)
    before = homeport.get("job/j")["status"]["startTime"]
    homeport.patch("job/j", {"spec": {"suspend": True}})
    homeport.advance(seconds=300)
    assert "startTime" not in homeport.get("job/j")["status"]
    homeport.patch("job/j", {"spec": {"suspend": False}})
    homeport.advance(seconds=90)
    seen = homeport.get("job/j")["status"]
    assert (seen["startTime"] > before, seen["active"]) == (True, 1)
    homeport.advance(seconds=20)
    assert condition(homeport.get("job/j"), "Failed")["reason"] == "DeadlineExceeded"
    reasons = {event.reason for event in homeport.events("job/j")}
    assert {"Suspended", "Resumed"} <= reasons


def test_a_lost_pod_s_count_is_not_lost(homeport: SimulatedCluster) -> None:
    homeport.program("task:1", Ending(5))
    job(homeport, completions=3)
    homeport.advance(seconds=6)
    (done,) = [pod for pod in jobs_pods(homeport) if pod["status"]["phase"] == "Succeeded"]
    delete(homeport, f"pod/{done['metadata']['name']}", gracePeriodSeconds=0)
    homeport.wait("job/j", until=lambda tree: tree["status"].get("succeeded") == 3)
    assert len(jobs_pods(homeport)) == 2
    assert homeport.get("job/j")["status"]["uncountedTerminatedPods"] == {}


def test_a_job_that_ends_says_so_twice_and_ends_what_still_runs_first(homeport: SimulatedCluster) -> None:
    def task(start: Any) -> Ending:
        index = start.environment["JOB_COMPLETION_INDEX"]
        return Ending(1, code=3) if index == "0" else Ending(stops_after=10)

    homeport.program("task:1", task)
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}
    job(homeport, completionMode="Indexed", completions=2, parallelism=2, podFailurePolicy={"rules": [rule]})
    homeport.wait("job/j", until=lambda tree: condition(tree, "FailureTarget"))
    tree = homeport.wait("job/j", until=lambda tree: condition(tree, "Failed"))
    assert condition(tree, "Failed")["reason"] == condition(tree, "FailureTarget")["reason"] == "PodFailurePolicy"
    assert (tree["status"].get("active", 0), tree["status"]["terminating"]) == (0, 0)


@pytest.mark.parametrize(
    ("code", "spec", "reason", "succeeded", "failed"),
    [
        (1, {"backoffLimit": 0}, "BackoffLimitExceeded", 0, 3),
        (1, {"completionMode": "Indexed", "backoffLimitPerIndex": 0, "maxFailedIndexes": 0}, "", 0, 3),
        (0, {"completionMode": "Indexed", "successPolicy": {"rules": [{"succeededCount": 1}]}}, "Completed", 3, 0),
    ],
)
def test_pods_that_end_together_are_counted_before_their_job_is_judged(
    homeport: SimulatedCluster, code: int, spec: dict[str, Any], reason: str, succeeded: int, failed: int
) -> None:
    homeport.program("task:1", Ending(5, code=code))
    job(homeport, completions=3, parallelism=3, **spec)
    homeport.advance(seconds=20)
    status = homeport.get("job/j")["status"]
    assert (status.get("succeeded", 0), status.get("failed", 0)) == (succeeded, failed)
    told = [event.reason for event in homeport.events("job/j")]
    assert "SuccessfulDelete" not in told
    assert told[-1] == (reason or "MaxFailedIndexesExceeded")


@pytest.mark.parametrize("spec", [{}, {"completionMode": "Indexed", "backoffLimitPerIndex": 1}])
def test_what_still_runs_is_told_while_a_replacement_is_held_back(
    homeport: SimulatedCluster, spec: dict[str, Any]
) -> None:
    seen = []

    def first_fails(start: Any) -> Ending | None:
        seen.append(start.pod)
        return Ending(1, code=1) if len(seen) == 1 else None

    homeport.program("task:1", first_fails)
    job(homeport, completions=2, parallelism=2, **spec)
    homeport.advance(seconds=6)
    status = homeport.get("job/j")["status"]
    assert (status["active"], status["ready"]) == (1, 1)
    homeport.advance(seconds=15)
    status = homeport.get("job/j")["status"]
    assert (status["active"], status["ready"], status["failed"]) == (2, 2, 1)


def test_pods_that_end_within_a_moment_are_one_failure_each(homeport: SimulatedCluster) -> None:
    ends = iter((5.0, 5.02, 5.04))
    homeport.program("task:1", lambda _: Ending(next(ends), code=1))
    job(homeport, completions=3, parallelism=3, backoffLimit=0)
    homeport.advance(seconds=20)
    told = [event.reason for event in homeport.events("job/j")]
    assert (homeport.get("job/j")["status"]["failed"], "SuccessfulDelete" in told) == (3, False)
