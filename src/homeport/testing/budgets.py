"""Evictions and disruption budgets: no eviction leaves fewer healthy pods than a budget asks for (workloads 13)."""

from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.testing.objects import controller_uid, is_ready

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Budgets"]

BUDGETS: Final = find("PodDisruptionBudget", "policy")
PODS: Final = find("Pod")
OWNERS: Final = (find("StatefulSet", "apps"), find("ReplicaSet", "apps"))


class Budgets:
    """Looks at every eviction that was let through."""

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants

    def pod_changed(self, old: Any, new: Any) -> None:
        """A pod changed; the mark of the eviction API is what tells an eviction from a deletion."""
        if new is None or old is None or not _is_evicted(new) or _is_evicted(old) or not is_ready(old):
            return
        metadata = new["metadata"]
        if not self._invariants.settled:
            return
        labels = (metadata.get("labels") or {}).items()
        for budget in self._invariants.simulation.objects(BUDGETS, metadata["namespace"]):
            selector = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
            if selector.items() <= labels:
                self._look_at(budget, selector, metadata)

    def _look_at(self, budget: Any, selector: Any, evicted: Any) -> None:
        healthy, owners = 0, set[str]()
        for pod in self._invariants.simulation.objects(PODS, evicted["namespace"]):
            metadata = pod["metadata"]
            if not selector.items() <= (metadata.get("labels") or {}).items():
                continue
            owners.add(controller_uid(pod))
            if metadata["uid"] == evicted["uid"] or _is_evicted(pod) or metadata.get("deletionTimestamp"):
                continue
            healthy += self._invariants.was_ready((metadata["namespace"], metadata["name"]))
        wanted = budget["spec"].get("minAvailable")
        if wanted is None:
            wanted = self._replicas(evicted["namespace"], owners) - budget["spec"]["maxUnavailable"]
        if healthy < wanted:
            self._invariants.broken(
                "budget", f"{evicted['name']} is evicted: {healthy} healthy pods are left, {wanted} are to be"
            )

    def _replicas(self, namespace: str, owners: set[str]) -> int:
        simulation = self._invariants.simulation
        found = [tree for resource in OWNERS for tree in simulation.objects(resource, namespace)]
        return min((tree["spec"].get("replicas", 1) for tree in found if tree["metadata"]["uid"] in owners), default=0)


def _is_evicted(pod: Any) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "DisruptionTarget" and one.get("reason") == "EvictionByEvictionAPI" for one in conditions)
