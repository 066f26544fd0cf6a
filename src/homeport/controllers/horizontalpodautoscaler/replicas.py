"""How many replicas one metric asks for. Nothing here touches anything. Source: workloads 21.

The share of what is used, over ready pods; then what is unknown is taken for what makes the change smaller, and a
change that this turns around is none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from homeport.controllers.horizontalpodautoscaler.model import Metric, Pod, PodUsage, Tolerances

__all__ = ["Proposal", "Unmeasured", "propose"]

CPU_INITIALIZATION_SECONDS: Final = 300.0
"""How long after its start a pod's processor time counts only while it is ready."""
INITIAL_READINESS_SECONDS: Final = 30.0
"""A pod that turned unready so soon after its start has never been ready."""


class Unmeasured(Exception):
    """A metric that cannot be told; the text says why, as conditions and events do."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Replicas a metric asks for, and what was measured: average per pod, and percent of the request if asked for."""

    replicas: int
    average: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Pods by what can be said of their usage."""

    ready: int
    unready: tuple[str, ...]
    missing: tuple[str, ...]
    values: Mapping[str, int]


def propose(
    metric: Metric, current: int, pods: Sequence[Pod], usage: Mapping[str, PodUsage], tolerances: Tolerances, now: float
) -> Proposal:
    """Return what one resource metric proposes for a target of `current` replicas. Raises Unmeasured."""
    if not usage:
        raise Unmeasured(
            f"unable to get metrics for resource {metric.resource}: no metrics returned from resource metrics API"
        )
    if not pods:
        raise Unmeasured("no pods returned by selector while calculating replica count")
    found = _sort(metric, pods, usage, now)
    if not found.values:
        raise Unmeasured("did not receive metrics for targeted pods (pods might be unready)")
    if metric.average is not None:
        return _by_average(metric.average, current, found, tolerances)
    requests = {pod.name: _request(pod, metric) for pod in pods}
    return _by_utilization(metric.utilization or 0, current, found, requests, tolerances)


def _sort(metric: Metric, pods: Sequence[Pod], usage: Mapping[str, PodUsage], now: float) -> _Sorted:
    ready, unready, missing = 0, [], []
    values: dict[str, int] = {}
    for pod in pods:
        if pod.terminating or pod.phase == "Failed":
            continue
        if pod.phase == "Pending":
            unready.append(pod.name)
            continue
        measured = usage.get(pod.name)
        value = None if measured is None else _value(measured, metric)
        if measured is None or value is None:
            missing.append(pod.name)
        elif metric.resource == "cpu" and _is_fresh(pod, measured, now):
            unready.append(pod.name)
        else:
            ready += 1
            values[pod.name] = value
    return _Sorted(ready, tuple(unready), tuple(missing), values)


def _value(usage: PodUsage, metric: Metric) -> int | None:
    if metric.container:
        return usage.containers.get(metric.container, {}).get(metric.resource)
    if not usage.containers or any(metric.resource not in each for each in usage.containers.values()):
        return None
    return sum(each[metric.resource] for each in usage.containers.values())


def _is_fresh(pod: Pod, usage: PodUsage, now: float) -> bool:
    """Whether what a pod uses says nothing yet about the load it can take."""
    if pod.ready is None or pod.started is None:
        return True
    if pod.started + CPU_INITIALIZATION_SECONDS > now:
        return not pod.ready or usage.at < pod.ready_since + usage.window
    return not pod.ready and pod.started + INITIAL_READINESS_SECONDS > pod.ready_since


def _request(pod: Pod, metric: Metric) -> int:
    """Return what a pod requests. Raises Unmeasured when a container that counts says nothing."""
    name, resource = metric.container, metric.resource
    if not name and pod.level is not None:
        if resource not in pod.level:
            raise Unmeasured(f"missing pod-level request for {resource} in Pod {pod.name}")
        return pod.level[resource]
    if name and name not in pod.requests:
        raise Unmeasured(f"container {name} not found in Pod {pod.name}")
    total = 0
    for container, requests in pod.requests.items():
        if name in ("", container):
            if resource not in requests:
                raise Unmeasured(f"missing request for {resource} in container {container} of Pod {pod.name}")
            total += requests[resource]
    return total


def _utilization(values: Mapping[str, int], requests: Mapping[str, int]) -> int:
    """Return the percentage of what is requested. Raises Unmeasured when nothing is."""
    requested = sum(requests[name] for name in values if name in requests)
    if not requested:
        raise Unmeasured("no metrics returned matched known pods")
    return sum(value for name, value in values.items() if name in requests) * 100 // requested


def _by_utilization(
    target: int, current: int, found: _Sorted, requests: Mapping[str, int], tolerances: Tolerances
) -> Proposal:
    measured = _utilization(found.values, requests)
    average = sum(found.values.values()) // len(found.values)
    fallback = {name: requests[name] * max(100, target) // 100 for name in found.missing}

    def ratio(values: Mapping[str, int]) -> float:
        return _utilization(values, requests) / target

    return Proposal(_settle(current, found, fallback, ratio(found.values), ratio, tolerances), average, measured)


def _by_average(target: int, current: int, found: _Sorted, tolerances: Tolerances) -> Proposal:
    def mean(values: Mapping[str, int]) -> int:
        return sum(values.values()) // len(values)

    def ratio(values: Mapping[str, int]) -> float:
        return mean(values) / target

    fallback = dict.fromkeys(found.missing, target)
    replicas = _settle(current, found, fallback, ratio(found.values), ratio, tolerances)
    return Proposal(replicas, mean(found.values))


def _settle(
    current: int,
    found: _Sorted,
    fallback: Mapping[str, int],
    first: float,
    ratio: Callable[[Mapping[str, int]], float],
    tolerances: Tolerances,
) -> int:
    """Return the replicas a usage asks for, the unknown taken for what makes the change smaller.

    fallback  what pods without figures are taken to use when there would be fewer; when there would be more, nothing
    """
    counts_unready = bool(found.unready) and first > 1.0
    if not counts_unready and not found.missing:
        return current if tolerances.cover(first) else math.ceil(first * found.ready)
    values = dict(found.values)
    if first < 1.0:
        values |= fallback
    elif first > 1.0:
        values |= dict.fromkeys(found.missing, 0)
    if counts_unready:
        values |= dict.fromkeys(found.unready, 0)
    second = ratio(values)
    if tolerances.cover(second) or (first < 1.0 < second) or (second < 1.0 < first):
        return current
    wanted = math.ceil(second * len(values))
    turns = (second < 1.0 and wanted > current) or (second > 1.0 and wanted < current)
    return current if turns else wanted
