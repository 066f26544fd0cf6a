"""Evictions and disruption budgets: no eviction leaves fewer healthy pods than a budget asks for (workloads 13)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.testing.knowledge import STALE_SECONDS
from homeport.testing.objects import is_ready

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Budgets"]

BUDGETS: Final = find("PodDisruptionBudget", "policy")
PODS: Final = find("Pod")
OWNERS: Final = (find("StatefulSet", "apps"), find("Deployment", "apps"))


class Budgets:
    """Looks at every eviction that was let through.

    The server goes by what the budget's status says. While that is not kept up to date it may be as old as the
    disturbance; from the moment it is right again, it has to stay so.
    """

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants
        self._held_up_at: float | None = None

    def pod_changed(self, old: Any, new: Any) -> None:
        """A pod changed; the mark of the eviction API is what tells an eviction from a deletion."""
        since = self.since()
        if new is None or old is None or not _is_evicted(new) or _is_evicted(old) or not is_ready(old):
            return
        metadata = new["metadata"]
        for budget in self._invariants.simulation.objects(BUDGETS, metadata["namespace"]):
            if _selector(budget) <= (metadata.get("labels") or {}).items():
                self._look_at(budget, metadata, since)

    @property
    def is_held_up(self) -> bool:
        return self._held_up_at is not None

    def since(self) -> float:
        """Return the moment from which on the numbers of budgets may date."""
        invariants = self._invariants
        if invariants.news_is_late():
            if self._held_up_at is None:
                self._held_up_at = invariants.now
        elif self._held_up_at is not None and all(map(self._is_right, invariants.simulation.objects(BUDGETS))):
            self._held_up_at = None
        return (invariants.now if self._held_up_at is None else self._held_up_at) - STALE_SECONDS

    def _is_right(self, budget: Any) -> bool:
        status = budget.get("status") or {}
        pods = list(self._selected(budget))
        healthy = sum(is_ready(pod) and not _is_evicted(pod) for pod in pods)
        wanted = max(0, *self._wanted(budget, self._invariants.now))
        allowed = max(0, healthy - wanted) if pods else 0
        return (status.get("currentHealthy"), status.get("disruptionsAllowed")) == (healthy, allowed)

    def _selected(self, budget: Any) -> Iterator[Any]:
        for pod in self._invariants.simulation.objects(PODS, budget["metadata"]["namespace"]):
            if _selector(budget) <= (pod["metadata"].get("labels") or {}).items():
                yield pod

    def _look_at(self, budget: Any, evicted: Any, since: float) -> None:
        healthy = 0
        for pod in self._selected(budget):
            metadata = pod["metadata"]
            if metadata["uid"] == evicted["uid"] or _is_evicted(pod):
                continue
            healthy += self._invariants.was_ready((metadata["namespace"], metadata["name"]), since)
        wanted = min(self._wanted(budget, since))
        if healthy < wanted:
            self._invariants.broken(
                "budget", f"{evicted['name']} is evicted: {healthy} healthy pods are left, {wanted} are to be"
            )

    def _wanted(self, budget: Any, since: float) -> list[int]:
        """Return how many healthy pods a budget may have been taken to ask for."""
        if (wanted := budget["spec"].get("minAvailable")) is not None:
            return [wanted]
        namespace, name = budget["metadata"]["namespace"], budget["metadata"]["name"]
        sizes = [
            tree["spec"].get("replicas", 1)
            for resource in OWNERS
            for tree in self._invariants.versions(resource, namespace, name, since)
        ]
        return [size - budget["spec"]["maxUnavailable"] for size in sizes] or [0]


def _selector(budget: Any) -> Any:
    return ((budget["spec"].get("selector") or {}).get("matchLabels") or {}).items()


def _is_evicted(pod: Any) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "DisruptionTarget" and one.get("reason") == "EvictionByEvictionAPI" for one in conditions)
