"""One metric's proposal: shares, tolerance, and what is taken for pods nobody knows about (workloads 21)."""

from typing import Any

import pytest

from homeport.controllers.horizontalpodautoscaler.model import Metric, Pod, PodUsage, Tolerances
from homeport.controllers.horizontalpodautoscaler.replicas import Proposal, Unmeasured, propose

NOW = 10_000.0
CPU = Metric("Resource", "cpu", utilization=50)


def pods(count: int, **fields: Any) -> list[Pod]:
    standard: dict[str, Any] = {"started": 0.0, "ready_since": 0.0, "requests": {"c": {"cpu": 1000}}}
    return [Pod(f"p{number}", "Running", **{**standard, **fields}) for number in range(count)]


def usage(*values: int | None, resource: str = "cpu", at: float = NOW, window: float = 30.0) -> dict[str, PodUsage]:
    return {
        f"p{number}": PodUsage(at, window, {"c": {resource: value}})
        for number, value in enumerate(values)
        if value is not None
    }


def proposed(metric: Metric, current: int, known: list[Pod], used: dict[str, PodUsage], **tolerances: float) -> int:
    return propose(metric, current, known, used, Tolerances(**tolerances), NOW).replicas


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1000, 1000), 4),
        ((500, 500), 2),
        ((550, 550), 2),  # 1.1: inside the tolerance
        ((560, 560), 3),  # 1.12
        ((450, 450), 2),  # 0.9
        ((440, 440), 2),  # 0.88 of two pods, rounded up
        ((200, 200), 1),
        ((0, 0), 0),
    ],
)
def test_shares(values: tuple[int, ...], expected: int) -> None:
    assert proposed(CPU, 2, pods(2), usage(*values)) == expected


def test_what_is_measured() -> None:
    assert propose(CPU, 2, pods(2), usage(300, 500), Tolerances(), NOW) == Proposal(2, 400, 40)
    memory = Metric("Resource", "memory", average=100_000)
    used = usage(300_000, 100_000, resource="memory")
    assert propose(memory, 2, pods(2), used, Tolerances(), NOW) == Proposal(4, 200_000)


def test_tolerances_of_the_object() -> None:
    assert proposed(CPU, 10, pods(10), usage(*[510] * 10), up=0.01) == 11
    assert proposed(CPU, 10, pods(10), usage(*[440] * 10), down=0.2) == 10


@pytest.mark.parametrize(
    ("values", "current", "expected"),
    [
        ((1000, 1000, None), 3, 4),  # up: taken for idle, 200 % of the target become 133 %
        ((700, None, None), 3, 3),  # up: it would turn around
        ((100, 100, None), 3, 3),  # down: taken for 100 % of the request, and so none is too many
        ((10, 10, 10, None), 4, 2),
        ((10, 10, 10, 10, 10, 10, 10, None), 8, 3),
    ],
)
def test_pods_without_figures(values: tuple[int | None, ...], current: int, expected: int) -> None:
    assert proposed(CPU, current, pods(current), usage(*values)) == expected


def test_pods_that_are_not_ready_count_as_idle_on_the_way_up() -> None:
    fresh = Pod("p2", "Running", ready=False, started=NOW - 10, ready_since=NOW - 10, requests={"c": {"cpu": 1000}})
    assert proposed(CPU, 3, [*pods(2), fresh], usage(1000, 1000, 1000)) == 4
    assert proposed(CPU, 3, [*pods(2), fresh], usage(200, 200, 200)) == 1


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"started": NOW - 100, "ready_since": NOW - 90}, True),
        ({"started": NOW - 100, "ready_since": NOW - 20}, False),  # no full window since it became ready
        ({"started": NOW - 100, "ready": False, "ready_since": NOW - 90}, False),
        ({"started": NOW - 1000, "ready": False, "ready_since": NOW - 10}, True),  # it has been ready before
        ({"started": NOW - 1000, "ready": False, "ready_since": NOW - 990}, False),  # it never was
        ({"ready": None}, False),
        ({"started": None}, False),
        ({"terminating": True}, False),
    ],
)
def test_whose_processor_time_counts(fields: dict[str, Any], counts: bool) -> None:
    known = pods(1, **fields)
    if counts:
        assert proposed(CPU, 1, known, usage(1000)) == 2
    else:
        with pytest.raises(Unmeasured, match=r"did not receive metrics for targeted pods \(pods might be unready\)"):
            propose(CPU, 1, known, usage(1000), Tolerances(), NOW)


def test_memory_counts_from_the_start() -> None:
    memory = Metric("Resource", "memory", average=1000)
    known = pods(1, ready=False, started=NOW - 1)
    assert proposed(memory, 1, known, usage(3000, resource="memory")) == 3


def test_one_container_alone() -> None:
    metric = Metric("ContainerResource", "cpu", "b", utilization=50)
    known = [Pod("p0", "Running", requests={"a": {}, "b": {"cpu": 100}})]
    used = {"p0": PodUsage(NOW, 30.0, {"a": {"cpu": 5000}, "b": {"cpu": 100}})}
    assert propose(metric, 1, known, used, Tolerances(), NOW) == Proposal(2, 100, 100)


def test_requests_of_the_pod_as_a_whole_come_first() -> None:
    assert proposed(CPU, 1, pods(1, level={"cpu": 4000}), usage(1000)) == 1


@pytest.mark.parametrize(
    ("metric", "known", "used", "why"),
    [
        (CPU, pods(1), {}, "unable to get metrics for resource cpu: no metrics returned from resource metrics API"),
        (CPU, [], usage(1), "no pods returned by selector while calculating replica count"),
        (CPU, pods(1, requests={"c": {}}), usage(1), "missing request for cpu in container c of Pod p0"),
        (CPU, pods(1, level={"memory": 1}), usage(1), "missing pod-level request for cpu in Pod p0"),
        (
            Metric("ContainerResource", "cpu", "x", utilization=50), pods(1),
            {"p0": PodUsage(NOW, 1.0, {"x": {"cpu": 1}})}, "container x not found in Pod p0",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_told(metric: Metric, known: list[Pod], used: dict[str, PodUsage], why: str) -> None:
    with pytest.raises(Unmeasured) as caught:
        propose(metric, 1, known, used, Tolerances(), NOW)
    assert str(caught.value) == why
