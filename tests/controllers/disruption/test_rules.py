"""Every row of the eviction table, and what a budget does with time. Source: workloads 13."""

from typing import Any

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import condition, create, delete, evict, pod, put, stamp, status

PROBE = {"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}}


def budget(homeport: SimulatedCluster, name: str = "b", **spec: Any) -> None:
    selected = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": selected}
    assert create(homeport, body)[0] == 201


def pods(homeport: SimulatedCluster, *names: str) -> None:
    for name in names:
        assert create(homeport, pod(name, containers=[{"name": "c", "image": "a", **PROBE}]))[0] == 201
    homeport.advance(seconds=5)


def causes(refusal: dict[str, Any]) -> list[tuple[str, str]]:
    return [(cause["reason"], cause["message"]) for cause in refusal["details"]["causes"]]


def test_a_missing_pod_and_a_wrong_name_are_refused(homeport: SimulatedCluster) -> None:
    assert evict(homeport, "x")[0] == 404
    pods(homeport, "a")
    code, refusal = evict(homeport, "a", body="b")
    assert (code, refusal["message"]) == (400, "name in URL does not match name in Eviction object")


@pytest.mark.parametrize("state", ["pending", "over", "going"])
def test_a_pod_that_does_not_serve_is_let_go_whatever_budgets_say(homeport: SimulatedCluster, state: str) -> None:
    budget(homeport, maxUnavailable=0)
    if state == "pending":
        create(homeport, pod("a", nodeSelector={"disk": "none"}))
    else:
        pods(homeport, "a")
        homeport.patch("pod/a", {"metadata": {"finalizers": ["example.com/hold"]}})
        if state == "over":
            status(homeport, "pod/a", {"phase": "Succeeded"})
        else:
            homeport.delete("pod/a")
    assert evict(homeport, "a")[0] == 201


def test_two_budgets_over_a_pod_are_one_too_many(homeport: SimulatedCluster) -> None:
    pods(homeport, "a")
    budget(homeport, minAvailable=0)
    budget(homeport, "b2", minAvailable=0)
    homeport.settle()
    code, refusal = evict(homeport, "a")
    message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    assert (code, refusal["message"]) == (500, message)
    status(homeport, "pod/a", {"reason": "changed"})
    homeport.settle()
    (told,) = {event.message for event in homeport.events("pod/a") if event.reason == "MultiplePodDisruptionBudgets"}
    assert told.startswith('Pod "default"/"a" matches multiple PodDisruptionBudgets.  Chose "b')


def test_a_budget_not_looked_at_yet_asks_for_patience(homeport: SimulatedCluster) -> None:
    pods(homeport, "a")
    homeport.cut_control()
    budget(homeport, minAvailable=0)
    code, refusal = evict(homeport, "a")
    assert (code, refusal["details"]["retryAfterSeconds"]) == (429, 10)
    assert causes(refusal) == [("DisruptionBudget", "The disruption budget b is still being processed by the server.")]


def test_a_spent_budget_says_what_it_needs_and_has(homeport: SimulatedCluster) -> None:
    pods(homeport, "a", "b")
    budget(homeport, minAvailable=2)
    homeport.settle()
    code, refusal = evict(homeport, "a")
    assert (code, refusal["message"]) == (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    needs = "The disruption budget b needs 2 healthy pods and has 2 currently"
    assert causes(refusal) == [("DisruptionBudget", needs)]


def test_an_eviction_marks_the_pod_and_spends_the_budget(homeport: SimulatedCluster) -> None:
    pods(homeport, "a", "b")
    homeport.patch("pod/a", {"metadata": {"finalizers": ["example.com/hold"]}})
    budget(homeport, minAvailable=1)
    homeport.settle()
    homeport.cut_control()
    code, answer = evict(homeport, "a")
    assert (code, answer["status"]) == (201, "Success")
    spent = homeport.get("pdb/b")["status"]
    assert (spent["disruptionsAllowed"], list(spent["disruptedPods"])) == (0, ["a"])
    gone = homeport.get("pod/a")
    told = condition(gone, "DisruptionTarget")
    assert (told["status"], told["reason"], told["message"]) == (
        "True",
        "EvictionByEvictionAPI",
        "Eviction API: evicting",
    )
    assert "deletionTimestamp" in gone["metadata"]
    homeport.heal()
    homeport.settle()
    assert not homeport.get("pdb/b")["status"].get("disruptedPods")  # it goes: nothing to remember


def test_a_dry_run_changes_nothing(homeport: SimulatedCluster) -> None:
    pods(homeport, "a", "b")
    budget(homeport, minAvailable=1)
    homeport.settle()
    before = homeport.get("pdb/b"), homeport.get("pod/a")
    assert evict(homeport, "a", dryRun="All")[0] == 201
    assert (homeport.get("pdb/b"), homeport.get("pod/a")) == before


def test_an_unready_pod_costs_nothing_while_the_others_are_enough(homeport: SimulatedCluster) -> None:
    pods(homeport, "a", "b", "c")
    homeport.pods["c"].fail_probe("readiness")
    budget(homeport, minAvailable=2)
    homeport.settle()
    assert evict(homeport, "c")[0] == 201
    assert evict(homeport, "a")[0] == 429
    assert not homeport.get("pdb/b")["status"].get("disruptedPods")


def test_a_plain_deletion_asks_nobody(homeport: SimulatedCluster) -> None:
    pods(homeport, "a")
    budget(homeport, minAvailable=1)
    homeport.settle()
    assert delete(homeport, "pod/a")[0] == 200
    homeport.wait("pod/a", gone=True)


def test_an_eviction_that_came_to_nothing_is_forgotten_after_two_minutes(homeport: SimulatedCluster) -> None:
    pods(homeport, "a", "b")
    budget(homeport, minAvailable=1)
    homeport.settle()
    tree = homeport.get("pdb/b")
    now = stamp(homeport)
    code, _ = put(homeport, {**tree, "status": {**tree["status"], "disruptedPods": {"a": now}}}, "status")
    assert code == 200
    homeport.advance(seconds=1)
    assert homeport.get("pdb/b")["status"]["currentHealthy"] == 1
    homeport.advance(minutes=2, seconds=5)
    after = homeport.get("pdb/b")["status"]
    assert (after["currentHealthy"], after.get("disruptedPods")) == (2, None)
    assert "NotDeleted" in {event.reason for event in homeport.events()}


def test_a_pod_marked_but_not_deleted_is_unmarked_after_two_minutes(homeport: SimulatedCluster) -> None:
    pods(homeport, "a")
    mark = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "x",
        "lastTransitionTime": stamp(homeport),
    }
    kept = homeport.get("pod/a")["status"]["conditions"]
    status(homeport, "pod/a", {"conditions": [*kept, mark]})
    homeport.advance(seconds=100)
    assert condition(homeport.get("pod/a"), "DisruptionTarget")["status"] == "True"
    homeport.advance(seconds=30)
    assert condition(homeport.get("pod/a"), "DisruptionTarget")["status"] == "False"


def test_pods_without_a_controller_are_told_and_left_out(homeport: SimulatedCluster) -> None:
    pods(homeport, "a", "b")
    budget(homeport, maxUnavailable=1)
    homeport.settle()
    seen = homeport.get("pdb/b")["status"]
    assert (seen["expectedPods"], seen["disruptionsAllowed"]) == (0, 0)
    assert "UnmanagedPods" in {event.reason for event in homeport.events("pdb/b")}


@pytest.mark.parametrize(("selector", "healthy"), [({}, 2), (None, 0)])
def test_an_empty_selector_takes_all_and_none_takes_none(
    homeport: SimulatedCluster, selector: dict[str, Any] | None, healthy: int
) -> None:
    pods(homeport, "a", "b")
    spec = {"minAvailable": 1, **({"selector": selector} if selector is not None else {})}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
    assert create(homeport, body)[0] == 201
    homeport.settle()
    assert homeport.get("pdb/b")["status"]["currentHealthy"] == healthy


def test_both_limits_at_once_are_refused(homeport: SimulatedCluster) -> None:
    spec = {"minAvailable": 1, "maxUnavailable": 1}
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}
    code, refusal = create(homeport, body)
    assert code == 422
    assert "minAvailable and maxUnavailable cannot be both set" in refusal["message"]
