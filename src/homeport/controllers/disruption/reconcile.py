"""How many pods of a budget are healthy, how many must be, and so how many may go. Nothing here touches anything.

Source: `workloads` 13.1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["DELETION_SECONDS", "Budget", "Count", "Pod", "count", "needs_scales"]

DELETION_SECONDS: Final = 120.0
"""How long a pod that was evicted may take to be told to go, before it is counted again."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod a budget selects. `controller` is the uid of whoever scales it; empty when nobody does."""

    name: str
    ready: bool
    terminating: bool = False
    controller: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a budget asks for, one of both at most; `disrupted` are pods evicted lately, and when (epoch seconds)."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    disrupted: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """What is reported.

    disrupted   pods evicted lately that were not told to go yet
    overdue     those that should have been long ago
    recheck_at  epoch second the first of `disrupted` becomes overdue
    unmanaged   pods nobody scales, where a share of the scale is asked for
    """

    healthy: int
    desired: int
    expected: int
    allowed: int
    disrupted: Mapping[str, float]
    overdue: tuple[str, ...] = ()
    recheck_at: float | None = None
    unmanaged: tuple[str, ...] = ()


def needs_scales(budget: Budget) -> bool:
    """Whether the budget is a share of what was asked for, instead of a number of pods."""
    return budget.max_unavailable is not None or isinstance(budget.min_available, str)


def count(budget: Budget, pods: Sequence[Pod], scales: Mapping[str, int], now: float) -> Count:
    """Return what a budget reports over the pods it selects.

    scales  replicas asked for, by the uid of each controller of `pods`; only looked at when `needs_scales`
    """
    expected, desired = _wanted(budget, pods, scales)
    disrupted: dict[str, float] = {}
    overdue: list[str] = []
    since = budget.disrupted or {}
    for pod in pods:
        if pod.terminating or pod.name not in since:
            continue
        if since[pod.name] + DELETION_SECONDS <= now:
            overdue.append(pod.name)
        else:
            disrupted[pod.name] = since[pod.name]
    healthy = sum(pod.ready and not pod.terminating and not _leaving(disrupted, pod, now) for pod in pods)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    return Count(
        healthy,
        desired,
        expected,
        allowed,
        disrupted,
        tuple(overdue),
        min(disrupted.values()) + DELETION_SECONDS if disrupted else None,
        tuple(pod.name for pod in pods if not pod.controller) if needs_scales(budget) else (),
    )


def _leaving(disrupted: Mapping[str, float], pod: Pod, now: float) -> bool:
    return pod.name in disrupted and disrupted[pod.name] + DELETION_SECONDS > now


def _wanted(budget: Budget, pods: Sequence[Pod], scales: Mapping[str, int]) -> tuple[int, int]:
    """Return how many pods there should be, and how many of them must be healthy."""
    scale = sum(scales[uid] for uid in {pod.controller for pod in pods if pod.controller} if uid in scales)
    if budget.max_unavailable is not None:
        return scale, max(0, scale - _share(budget.max_unavailable, scale))
    if isinstance(budget.min_available, str):
        return scale, _share(budget.min_available, scale)
    if budget.min_available is not None:
        return len(pods), budget.min_available
    return 0, 0


def _share(amount: int | str, whole: int) -> int:
    """Return a number, or a percentage of `whole` rounded up."""
    if isinstance(amount, int):
        return amount
    return math.ceil(int(amount.removesuffix("%")) * whole / 100)
