"""How many pods of a budget may go."""

import pytest

from homeport.controllers.disruption.codec import selector_text
from homeport.controllers.disruption.reconcile import DELETION_SECONDS, Budget, Pod, count
from homeport.controllers.disruption.stale import STALE_SECONDS, stale_at

NOW = 10_000.0
THREE = [Pod("a", True, controller="s"), Pod("b", True, controller="s"), Pod("c", True, controller="s")]
SCALES = {"s": 3}


@pytest.mark.parametrize(
    ("budget", "desired", "expected", "allowed"),
    [
        (Budget(min_available=2), 2, 3, 1),
        (Budget(min_available=5), 5, 3, 0),
        (Budget(min_available="50%"), 2, 3, 1),
        (Budget(min_available="100%"), 3, 3, 0),
        (Budget(max_unavailable=1), 2, 3, 1),
        (Budget(max_unavailable="10%"), 2, 3, 1),
        (Budget(max_unavailable="34%"), 1, 3, 2),
        (Budget(max_unavailable=0), 3, 3, 0),
        (Budget(max_unavailable=9), 0, 3, 3),
        (Budget(), 0, 0, 0),
    ],
)
def test_what_is_asked_for(budget, desired, expected, allowed):
    seen = count(budget, THREE, SCALES, NOW)
    assert (seen.healthy, seen.desired, seen.expected, seen.allowed) == (3, desired, expected, allowed)


def test_who_is_not_ready_or_going_is_not_healthy():
    pods = [THREE[0], Pod("b", False, controller="s"), Pod("c", True, terminating=True, controller="s")]
    assert count(Budget(min_available=1), pods, SCALES, NOW).healthy == 1


def test_without_pods_nothing_may_go():
    assert count(Budget(min_available=0), [], {}, NOW).allowed == 0


def test_pods_nobody_scales_do_not_count_into_a_share():
    seen = count(Budget(max_unavailable=1), [*THREE, Pod("x", True)], SCALES, NOW)
    assert (seen.expected, seen.unmanaged) == (3, ("x",))


def test_an_evicted_pod_is_gone_already_until_it_is_overdue():
    seen = count(Budget(min_available=1, disrupted={"a": NOW - 10, "gone": NOW}), THREE, SCALES, NOW)
    assert (seen.healthy, seen.disrupted, seen.recheck_at) == (2, {"a": NOW - 10}, NOW - 10 + DELETION_SECONDS)
    late = count(Budget(min_available=1, disrupted={"a": NOW - DELETION_SECONDS}), THREE, SCALES, NOW)
    assert (late.healthy, late.disrupted, late.overdue) == (3, {}, ("a",))


def test_a_selector_reads_as_upstream_prints_it():
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [{"key": "k", "operator": "In", "values": ["v", "w"]}],
    }
    assert selector_text(selector) == (
        "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},"
        "MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[v w],},},}"
    )


def test_a_pod_that_stayed_loses_its_mark():
    condition = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "1970-01-01T00:00:10Z"}
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [condition]}}
    assert stale_at(pod) == 10 + STALE_SECONDS
    for other in ({"status": "False"}, {"reason": "TerminationByKubelet"}):
        assert stale_at({**pod, "status": {"conditions": [condition | other]}}) is None
    assert stale_at({**pod, "metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:20Z"}}) is None
