"""How many pods each ReplicaSet of a Deployment may have: rolling on, and scaling in proportion.

Every function takes the ReplicaSets as they are and returns the sizes to give them. Source: `workloads` 9.5 and 9.6.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from homeport.controllers.deployment.model import Deployment, ReplicaSet
from homeport.controllers.deployment.revisions import desired_replicas, max_replicas

__all__ = ["active", "grow_new", "oldest_first", "proportional", "resolve", "shrink_old", "total"]

Sizes = Sequence[tuple[ReplicaSet, int]]


def resolve(replicas: int, surge: int | str, unavailable: int | str) -> tuple[int, int]:
    """Return maximal surge and maximal unavailable pods as numbers: surge rounds up, unavailable down, never both 0."""
    most = _scaled(surge, replicas, math.ceil)
    least = _scaled(unavailable, replicas, math.floor)
    if most == 0 and least == 0:
        least = 1
    return most, min(least, replicas)


def _scaled(value: int | str, base: int, rounded: Callable[[float], int]) -> int:
    if isinstance(value, int):
        return value
    return rounded(int(value.removesuffix("%")) * base / 100)


def active(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return [each for each in replica_sets if each.replicas > 0]


def total(replica_sets: Iterable[ReplicaSet]) -> int:
    return sum(each.replicas for each in replica_sets)


def oldest_first(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    return sorted(replica_sets, key=lambda each: (each.created, each.name))


def grow_new(desired: Deployment, everyone: Iterable[ReplicaSet], new_replicas: int) -> int:
    """Return the size the new ReplicaSet, now `new_replicas`, may have; `everyone` is all of them, it included."""
    if not desired.rolling:
        return desired.replicas
    if new_replicas >= desired.replicas:
        return desired.replicas
    room = desired.most - total(everyone)
    return new_replicas + max(0, min(room, desired.replicas - new_replicas))


def shrink_old(desired: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sequence[Sizes]:
    """Return two rounds of old ReplicaSets' sizes: first unhealthy pods go, then healthy ones that can be spared."""
    everyone = [*old, new]
    shrinking = oldest_first(active(old))
    budget = total(everyone) - desired.fewest - (new.replicas - new.available)
    if not shrinking or budget <= 0:
        return ()
    sizes = {each.name: each.replicas for each in shrinking}
    unhealthy: list[tuple[ReplicaSet, int]] = []
    for each in shrinking:
        if budget <= 0:
            break
        if each.available > each.replicas:
            return (unhealthy,)  # it has not told yet how many are left since it shrank: wait for it
        gone = min(budget, each.replicas - each.available)
        if gone > 0:
            sizes[each.name] -= gone
            budget -= gone
            unhealthy.append((each, sizes[each.name]))
    spare = sum(each.available for each in everyone) - desired.fewest
    healthy = []
    for each in shrinking:
        gone = min(spare, sizes[each.name])
        if gone > 0:
            sizes[each.name] -= gone
            spare -= gone
            healthy.append((each, sizes[each.name]))
    return unhealthy, healthy


def proportional(desired: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> tuple[Sizes, bool]:
    """Return the sizes after the Deployment was scaled, or while it is paused.

    The second value says whether ReplicaSets that keep their size note the Deployment's new one all the same.
    """
    everyone = [*old, *([new] if new is not None else [])]
    running = active(everyone)
    if len(running) <= 1:
        only = running[0] if running else (new or max(old, key=lambda each: (each.created, each.name), default=None))
        return ([(only, desired.replicas)] if only is not None and only.replicas != desired.replicas else []), False
    if new is not None and _saturated(desired, new):
        return [(each, 0) for each in active(old)], False
    if not desired.rolling:
        return [], False
    return _distribute(desired, running), True


def _saturated(desired: Deployment, new: ReplicaSet) -> bool:
    return desired.replicas == new.replicas == new.available == desired_replicas(new)


def _distribute(desired: Deployment, running: Sequence[ReplicaSet]) -> Sizes:
    allowed = desired.most if desired.replicas > 0 else 0
    change = allowed - total(running)
    order = oldest_first(running)
    if change > 0:
        order.reverse()
    if change != 0:
        order.sort(key=lambda each: -each.replicas)
    sizes = []
    given = 0
    for each in order:
        share = _share(desired, each, change - given) if change != given else 0
        sizes.append((each, each.replicas + share))
        given += share
    first, size = sizes[0]
    sizes[0] = (first, max(0, size + change - given))
    return sizes


def _share(desired: Deployment, replica_set: ReplicaSet, left: int) -> int:
    """Return the part of the change one ReplicaSet gets, never more than is left."""
    if desired.replicas == 0:
        share = -replica_set.replicas
    else:
        before = max_replicas(replica_set) or desired.status.replicas
        if before == 0:
            return 0
        exact = replica_set.replicas * desired.most / before
        share = math.floor(exact + 0.5) - replica_set.replicas
    return min(share, left) if left > 0 else max(share, left)
