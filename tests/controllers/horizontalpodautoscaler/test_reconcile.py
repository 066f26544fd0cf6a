"""What an autoscaler does: bounds first, then metrics, and what it says of those that cannot be told (workloads 21)."""

import pytest

from homeport.controllers.horizontalpodautoscaler.codec import decode_usage, encode_metrics, with_conditions
from homeport.controllers.horizontalpodautoscaler.model import (
    Autoscaler,
    Condition,
    Memory,
    Metric,
    Pod,
    PodUsage,
    Scale,
)
from homeport.controllers.horizontalpodautoscaler.reconcile import Figures, decide, needs_figures

NOW = 10_000.0
CPU = Metric("Resource", "cpu", utilization=50)
MEMORY = Metric("Resource", "memory", average=100_000)
QUEUE = Metric("External", shown={"type": "External", "external": {"metric": {"name": "queue"}}})


def figures(cpu: int, memory: int | None = None, count: int = 2) -> Figures:
    requests = {"c": {"cpu": 100}}
    used = {"cpu": cpu} if memory is None else {"cpu": cpu, "memory": memory}
    pods = [Pod(f"p{number}", "Running", requests=requests) for number in range(count)]
    return Figures(pods, {pod.name: PodUsage(NOW, 15.0, {"c": used}) for pod in pods})


@pytest.mark.parametrize(
    ("wanted", "replicas", "reason"),
    [
        (9, 5, "Current number of replicas above Spec.MaxReplicas"),
        (1, 2, "Current number of replicas below Spec.MinReplicas"),
    ],
)
def test_bounds_need_no_metrics(wanted: int, replicas: int, reason: str) -> None:
    subject = Autoscaler(2, 5, (CPU,))
    assert not needs_figures(subject, Scale(wanted))
    decision = decide(subject, Scale(wanted), Figures(), Memory(), NOW)
    assert (decision.replicas, decision.reason, decision.measured) == (replicas, reason, ())


def test_nothing_switches_it_off() -> None:
    decision = decide(Autoscaler(1, 5, (CPU,)), Scale(0), Figures(), Memory(), NOW)
    assert decision.replicas is None
    assert [(each.type, each.status, each.reason) for each in decision.conditions] == [
        ("ScalingActive", False, "ScalingDisabled")
    ]


def test_the_largest_proposal_wins() -> None:
    decision = decide(Autoscaler(1, 9, (CPU, MEMORY)), Scale(2), figures(50, 200_000), Memory(), NOW)
    assert (decision.replicas, decision.reason) == (4, "memory resource above target")
    assert decision.conditions[0].message.endswith("calculate a replica count from memory resource")


@pytest.mark.parametrize(("cpu", "replicas"), [(100, 4), (10, None)])
def test_a_metric_that_fails_stops_only_the_way_down(cpu: int, replicas: int | None) -> None:
    decision = decide(Autoscaler(1, 9, (QUEUE, CPU)), Scale(2), figures(cpu), Memory(), NOW)
    assert decision.replicas == replicas
    assert [note.reason for note in decision.notes] == ["FailedGetExternalMetric"]
    active = decision.conditions[0]
    if replicas is None:
        assert (active.status, active.reason) == (False, "FailedGetExternalMetric")
        assert decision.failure.startswith("invalid metrics (1 invalid out of 2), first error is: failed to get queue ")
    else:
        assert (active.status, active.reason) == (True, "ValidMetricFound")


def test_no_source_of_metrics() -> None:
    why = "unable to fetch metrics from resource metrics API: nobody is there"
    decision = decide(Autoscaler(1, 9, (CPU,)), Scale(2), Figures((), None, why), Memory(), NOW)
    (condition,) = decision.conditions
    assert decision.replicas is None
    assert (condition.status, condition.reason) == (False, "FailedGetResourceMetric")
    assert condition.message == (
        "the HPA was unable to compute the replica count: failed to get cpu utilization: "
        f"unable to get metrics for resource cpu: {why}"
    )
    assert decision.failure == (
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get "
        f"cpu utilization: unable to get metrics for resource cpu: {why}"
    )


def test_a_selector_that_is_no_good() -> None:
    refusal = Condition("ScalingActive", False, "InvalidSelector", "the HPA target's scale is missing a selector")
    decision = decide(Autoscaler(1, 9, (CPU,)), Scale(2), Figures(refusal=refusal), Memory(), NOW)
    assert (decision.conditions, decision.failure) == ((refusal,), "selector is required")


def test_current_metrics_keep_the_order_of_the_spec() -> None:
    subject = Autoscaler(1, 9, (QUEUE, MEMORY, CPU))
    decision = decide(subject, Scale(2), figures(50, 64 * 1024 * 1024 * 1000), Memory(), NOW)
    assert encode_metrics(subject, decision.measured) == [
        {"type": ""},
        {"type": "Resource", "resource": {"name": "memory", "current": {"averageValue": "64Mi"}}},
        {"type": "Resource",
         "resource": {"name": "cpu", "current": {"averageValue": "50m", "averageUtilization": 50}}},
    ]  # fmt: skip
    assert encode_metrics(subject, ()) is None


def test_conditions_move_their_time_only_with_their_status() -> None:
    first = with_conditions({}, [Condition("AbleToScale", True, "SucceededGetScale", "m")], 0.0)
    second = with_conditions(first, [Condition("AbleToScale", True, "ReadyForNewScale", "n")], 60.0)
    third = with_conditions(second, [Condition("AbleToScale", False, "FailedGetScale", "o")], 120.0)
    times = [each["conditions"][0]["lastTransitionTime"] for each in (first, second, third)]
    assert times == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:02:00Z"]


def test_usage_of_the_metrics_api() -> None:
    item = {
        "metadata": {"name": "p"}, "timestamp": "1970-01-01T00:01:00Z", "window": "15s",
        "containers": [{"name": "c", "usage": {"cpu": "1500000n", "memory": "2Ki"}}],
    }  # fmt: skip
    assert decode_usage([item]) == {"p": PodUsage(60.0, 15.0, {"c": {"cpu": 2, "memory": 2_048_000}})}
