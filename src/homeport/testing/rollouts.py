"""What a Deployment's strategy allows, seen from the sizes its ReplicaSets are given (workloads 9.4 to 9.8)."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.testing.objects import controller_uid, is_ready

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Rollouts"]

DEPLOYMENTS: Final = find("Deployment", "apps")
REPLICA_SETS: Final = find("ReplicaSet", "apps")
PODS: Final = find("Pod")
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
STALE_SECONDS: Final = 1.0
_TERMINAL: Final = ("Succeeded", "Failed")


class Rollouts:
    """Looks at every change of a ReplicaSet's size: in these histories only the Deployment controller makes one."""

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants
        self._available: dict[str, list[tuple[float, int]]] = {}  # uid of a ReplicaSet → until when it had how many

    def changed(self, old: Any, new: Any) -> None:
        """A ReplicaSet changed."""
        if old is not None:
            seen = self._available.setdefault(old["metadata"]["uid"], [])
            seen.append((self._invariants.now, _available(old)))
            del seen[:-20]
        if new is None:
            return
        before, after = _replicas(old) if old is not None else 0, _replicas(new)
        if (before == after and old is not None) or not self._invariants.settled:
            return
        deployment = self._deployment(new)
        if deployment is None:
            return
        if deployment["spec"].get("paused") and old is None:
            self._invariants.broken("pause", f"{new['metadata']['name']} is created while its Deployment is paused")
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            if before == 0 < after and _image(new) == _image(deployment):
                self._look_at_recreation(deployment, new)
        elif after > before:
            self._look_at_growth(deployment, new)
        elif old is not None and (old["metadata"].get("annotations") or {}).get(DESIRED) == str(_replicas(deployment)):
            self._look_at_shrinking(deployment, new)

    def _deployment(self, tree: Any) -> Any | None:
        owner = controller_uid(tree)
        found = self._invariants.simulation.objects(DEPLOYMENTS, tree["metadata"]["namespace"])
        return next((one for one in found if one["metadata"]["uid"] == owner), None)

    def _owned(self, deployment: Any) -> list[Any]:
        uid, namespace = deployment["metadata"]["uid"], deployment["metadata"]["namespace"]
        found = self._invariants.simulation.objects(REPLICA_SETS, namespace)
        return [one for one in found if controller_uid(one) == uid]

    def _look_at_growth(self, deployment: Any, grown: Any) -> None:
        total = _replicas(grown) + sum(
            _replicas(one) for one in self._owned(deployment) if one["metadata"]["uid"] != grown["metadata"]["uid"]
        )
        limit = _replicas(deployment) + _limits(deployment)[0]
        if total > limit:
            self._invariants.broken("surge", f"{grown['metadata']['name']} grows: {total} pods, at most {limit} may be")

    def _look_at_shrinking(self, deployment: Any, shrunk: Any) -> None:
        uid = shrunk["metadata"]["uid"]
        had = self._lately_available(shrunk)
        lost = max(0, had - _replicas(shrunk))
        others = [self._lately_available(one) for one in self._owned(deployment) if one["metadata"]["uid"] != uid]
        left, wanted = had - lost + sum(others), _replicas(deployment) - _limits(deployment)[1]
        if lost and left < wanted:
            name = shrunk["metadata"]["name"]
            self._invariants.broken("unavailable", f"{name} shrinks: {left} available pods are left of {wanted}")

    def _lately_available(self, tree: Any) -> int:
        """Return how many available pods the controller may have taken it to have."""
        since = self._invariants.now - STALE_SECONDS
        seen = self._available.get(tree["metadata"]["uid"], ())
        return max([_available(tree), *(number for until, number in seen if until >= since)])

    def _look_at_recreation(self, deployment: Any, new: Any) -> None:
        olds = {one["metadata"]["uid"] for one in self._owned(deployment)} - {new["metadata"]["uid"]}
        for pod in self._invariants.simulation.objects(PODS, new["metadata"]["namespace"]):
            if controller_uid(pod) in olds and (pod.get("status") or {}).get("phase") not in _TERMINAL:
                name = new["metadata"]["name"]
                self._invariants.broken("recreate", f"{name} gets pods while {pod['metadata']['name']} is there")

    def at_rest(self) -> Iterator[str]:
        """Yield what Deployments lack although nothing moves."""
        for tree in self._invariants.simulation.objects(DEPLOYMENTS):
            name, replicas, status = tree["metadata"]["name"], _replicas(tree), tree.get("status") or {}
            owned = self._owned(tree)
            current = [one for one in owned if _image(one) == _image(tree)]
            uids = {one["metadata"]["uid"] for one in owned}
            pods = [
                pod
                for pod in self._invariants.simulation.objects(PODS, tree["metadata"]["namespace"])
                if controller_uid(pod) in uids and (pod.get("status") or {}).get("phase") not in _TERMINAL
            ]
            ready = sum(is_ready(pod) and _image(pod) == _image(tree) for pod in pods)
            if not len(pods) == ready == replicas:
                yield f"convergence: {name} wants {replicas} pods; there are {len(pods)}, ready and new are {ready}"
            if sum(map(_replicas, owned)) != sum(map(_replicas, current)):
                yield f"convergence: {name} still has old ReplicaSets"
            numbers = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
            if numbers != [replicas] * 3:
                yield f"convergence: {name} says {numbers} and wants {replicas}"
            if status.get("observedGeneration") != tree["metadata"]["generation"]:
                yield f"convergence: {name} has not been looked at since its last change"


def _replicas(tree: Any) -> int:
    return int(tree["spec"].get("replicas", 1))


def _available(tree: Any) -> int:
    return int((tree.get("status") or {}).get("availableReplicas", 0))


def _image(tree: Any) -> str:
    return str((tree["spec"].get("template") or tree)["spec"]["containers"][0]["image"])


def _limits(deployment: Any) -> tuple[int, int]:
    """Return how many pods too many, and how many too few, a rolling update may have (workloads 9.5)."""
    rolling, replicas = deployment["spec"]["strategy"]["rollingUpdate"], _replicas(deployment)
    surge = _resolved(rolling["maxSurge"], replicas, math.ceil)
    unavailable = _resolved(rolling["maxUnavailable"], replicas, math.floor)
    if not surge and not unavailable:
        unavailable = 1
    return surge, min(unavailable, replicas)


def _resolved(value: int | str, replicas: int, rounded: Any) -> int:
    return int(rounded(int(value.rstrip("%")) * replicas / 100)) if isinstance(value, str) else value
