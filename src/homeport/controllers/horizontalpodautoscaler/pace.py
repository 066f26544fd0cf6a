"""How fast a proposal may be followed: recent recommendations, policies, bounds. Source: workloads 21.

All of it is told from what the autoscaler remembers; what it is to remember next comes back with the answer.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from homeport.controllers.horizontalpodautoscaler.model import (
    ABLE_TO_SCALE,
    SCALING_LIMITED,
    Autoscaler,
    Behavior,
    Condition,
    Memory,
    Rules,
)

__all__ = ["DOWNSCALE_WINDOW_SECONDS", "Paced", "begin", "pace", "remember_change"]

DOWNSCALE_WINDOW_SECONDS: Final = 300
_UP_FACTOR: Final = 2
_UP_LEAST: Final = 4
_LOWEST: Final = -(2**31)
_HIGHEST: Final = 2**31 - 1

_READY: Final = Condition(ABLE_TO_SCALE, True, "ReadyForNewScale", "recommended size matches current size")
_WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_FEW: Final = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_TOO_MANY: Final = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FAST_UP: Final = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_TOO_FAST_DOWN: Final = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_HELD_DOWN: Final = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
_HELD_UP: Final = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)


@dataclass(frozen=True, slots=True)
class Paced:
    """The replicas a proposal comes to, why, and what to remember of it."""

    replicas: int
    conditions: tuple[Condition, Condition]
    memory: Memory


def begin(memory: Memory, current: int, now: float) -> Memory:
    """Take the size found at first sight for the first recommendation."""
    return memory if memory.recommendations else replace(memory, recommendations=((now, current),))


def pace(scaler: Autoscaler, current: int, proposed: int, memory: Memory, now: float) -> Paced:
    """Return how far a proposal is followed now."""
    if scaler.behavior is None:
        return _classic(scaler, current, proposed, memory, now)
    stable, held = _stabilised(scaler.behavior, current, proposed, memory, now)
    longest = max(scaler.behavior.up.window, scaler.behavior.down.window)
    replicas, why = _within_rates(scaler, scaler.behavior, current, stable, memory, now)
    return _paced(replicas, stable, proposed, held, why, _remember(memory, proposed, longest, now))


def _classic(scaler: Autoscaler, current: int, proposed: int, memory: Memory, now: float) -> Paced:
    since = now - DOWNSCALE_WINDOW_SECONDS
    stable = max([proposed, *(replicas for at, replicas in memory.recommendations if at >= since)])
    fastest = max(_UP_FACTOR * current, _UP_LEAST)
    most, too_many = (fastest, _TOO_FAST_UP) if scaler.high > fastest else (scaler.high, _TOO_MANY)
    if stable < scaler.low:
        replicas, why = scaler.low, _TOO_FEW
    elif stable > most:
        replicas, why = most, too_many
    else:
        replicas, why = stable, _WITHIN
    kept = _remember(memory, proposed, DOWNSCALE_WINDOW_SECONDS, now)
    return _paced(replicas, stable, proposed, _HELD_UP, why, kept)


def _paced(
    replicas: int, stable: int, proposed: int, held: tuple[str, str], why: tuple[str, str], memory: Memory
) -> Paced:
    able = _READY if stable == proposed else Condition(ABLE_TO_SCALE, True, *held)
    return Paced(replicas, (able, Condition(SCALING_LIMITED, replicas != stable, *why)), memory)


def _remember(memory: Memory, proposed: int, seconds: float, now: float) -> Memory:
    kept = tuple(each for each in memory.recommendations if each[0] >= now - seconds)
    return replace(memory, recommendations=(*kept, (now, proposed)))


def _stabilised(
    behavior: Behavior, current: int, proposed: int, memory: Memory, now: float
) -> tuple[int, tuple[str, str]]:
    """Return the size between the lowest recent recommendation and the highest that is nearest to the present one."""
    up = min([proposed, *(r for at, r in memory.recommendations if at > now - behavior.up.window)])
    down = max([proposed, *(r for at, r in memory.recommendations if at > now - behavior.down.window)])
    stable = min(max(current, up), down)
    return stable, _HELD_DOWN if proposed >= current else _HELD_UP


def _within_rates(
    scaler: Autoscaler, behavior: Behavior, current: int, wanted: int, memory: Memory, now: float
) -> tuple[int, tuple[str, str]]:
    if wanted > current:
        fastest = max(current, _limit(behavior.up, current, memory, now, up=True))
        most, why = (fastest, _TOO_FAST_UP) if scaler.high > fastest else (scaler.high, _TOO_MANY)
        if wanted > most:
            return most, why
    elif wanted < current:
        slowest = min(current, _limit(behavior.down, current, memory, now, up=False))
        least, why = (slowest, _TOO_FAST_DOWN) if scaler.low < slowest else (scaler.low, _TOO_FEW)
        if wanted < least:
            return least, why
    return wanted, _WITHIN


def _limit(rules: Rules, current: int, memory: Memory, now: float, *, up: bool) -> int:
    """Return the size policies let the target come to, counted from what it had at the beginning of each period."""
    if rules.choice == "Disabled":
        return current
    proposals = []
    for policy in rules.policies:
        since = now - policy.period
        before = current - _changed(memory.ups, since) + _changed(memory.downs, since)
        if policy.kind == "Pods":
            proposals.append(before + policy.value if up else before - policy.value)
        elif up:
            proposals.append(math.ceil(before * (1 + policy.value / 100)))
        else:
            proposals.append(int(before * (1 - policy.value / 100)))
    widest = max if up else min
    narrowest = min if up else max
    if rules.choice == "Min":
        return narrowest(proposals, default=_HIGHEST if up else _LOWEST)
    return widest(proposals, default=_LOWEST if up else _HIGHEST)


def _changed(events: tuple[tuple[float, int], ...], since: float) -> int:
    return sum(change for at, change in events if at > since)


def remember_change(behavior: Behavior | None, memory: Memory, before: int, after: int, now: float) -> Memory:
    """Note what was done, as long as a policy looks back on it."""
    if behavior is None:
        return memory
    if after > before:
        kept = tuple(each for each in memory.ups if each[0] >= now - behavior.up.longest_period)
        return replace(memory, ups=(*kept, (now, after - before)))
    kept = tuple(each for each in memory.downs if each[0] >= now - behavior.down.longest_period)
    return replace(memory, downs=(*kept, (now, before - after)))
