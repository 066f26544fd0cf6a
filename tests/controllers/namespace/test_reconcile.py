"""The conditions of a terminating namespace."""

import pytest

from homeport.controllers.namespace.reconcile import Failure, Remains, conditions, merge_conditions, pods_patience


def test_nothing_left_is_said_five_times() -> None:
    said = conditions(Remains({}, {}))
    assert [condition.status for condition in said] == [False] * 5
    assert said[3].message == "All content successfully removed"


def test_what_remains_and_what_holds_it_is_counted() -> None:
    said = {c.type: c for c in conditions(Remains({"pods.": 2, "statefulsets.apps": 1}, {"example.com/hold": 2}))}
    assert said["NamespaceContentRemaining"].message == (
        "Some resources are remaining: pods. has 2 resource instances, statefulsets.apps has 1 resource instances"
    )
    assert said["NamespaceFinalizersRemaining"].message == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances"
    )


def test_a_failure_is_told() -> None:
    said = {c.type: c for c in conditions(Remains({}, {}, [Failure("pods", "no"), Failure("jobs", "never")]))}
    failure = said["NamespaceDeletionContentFailure"]
    assert failure.reason == "ContentDeletionFailed"
    assert failure.message == "Failed to delete all resource types, 2 remaining: never, no"


@pytest.mark.parametrize(
    ("pods", "now", "patience"),
    [
        ([], 0, 0),
        ([(30, "Running"), (5, "Pending")], 29, 30),
        ([(30, "Running"), (5, "Pending")], 30, 0),
        ([(30, "Succeeded"), (5, "Running")], 4, 5),
        ([(30, "Failed")], 0, 0),
    ],
)
def test_pods_may_take_the_longest_of_their_graces(pods: list[tuple[int, str]], now: float, patience: int) -> None:
    trees = [{"spec": {"terminationGracePeriodSeconds": grace}, "status": {"phase": phase}} for grace, phase in pods]
    assert pods_patience(trees, 0.0, now) == patience


def test_times_move_only_with_the_status_and_equal_conditions_are_not_written() -> None:
    first = merge_conditions((), conditions(Remains({}, {})), "t1")
    assert first is not None
    assert merge_conditions(first, conditions(Remains({}, {})), "t2") is None
    second = merge_conditions(first, conditions(Remains({"pods.": 1}, {})), "t2")
    assert second is not None
    assert {c.type: c.since for c in second if c.since == "t2"} == {"NamespaceContentRemaining": "t2"}
