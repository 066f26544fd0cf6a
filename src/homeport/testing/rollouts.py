"""What a Deployment's strategy allows, seen from the sizes its ReplicaSets are given (workloads 9.4 to 9.8)."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.testing.knowledge import Past
from homeport.testing.objects import controller_uid, image_of, is_ready

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Rollouts"]

DEPLOYMENTS: Final = find("Deployment", "apps")
REPLICA_SETS: Final = find("ReplicaSet", "apps")
PODS: Final = find("Pod")
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
_TERMINAL: Final = ("Succeeded", "Failed")


class Rollouts:
    """Looks at every change of a ReplicaSet's size: in these histories only the Deployment controller makes one.

    It is judged by the most that any Deployment and sizes allow that the controller may have known.
    """

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants
        self._past: Past[str, Any] = Past()  # by uid, what ReplicaSets were

    def changed(self, old: Any, new: Any) -> None:
        """A ReplicaSet changed."""
        if old is not None:
            self._past.end(old["metadata"]["uid"], old, self._invariants.now)
        if new is None:
            return
        before, after = _replicas(old) if old is not None else 0, _replicas(new)
        owner = next((one for one in new["metadata"].get("ownerReferences") or () if one.get("controller")), None)
        if (before == after and old is not None) or owner is None:
            return
        found = self._invariants.versions(DEPLOYMENTS, new["metadata"]["namespace"], owner["name"])
        versions = [one for one in found if one["metadata"]["uid"] == owner["uid"]]
        if not versions:
            return
        if old is None and all(one["spec"].get("paused") for one in versions):
            self._invariants.broken("pause", f"{new['metadata']['name']} is created while its Deployment is paused")
        if all((one["spec"].get("strategy") or {}).get("type") == "Recreate" for one in versions):
            if before == 0 < after and any(image_of(new) == image_of(one) for one in versions):
                self._look_at_recreation(versions[0], new)
        elif after > before:
            self._look_at_growth(versions, new)
        elif old is not None and all(_noted_size(old) == str(_replicas(one)) for one in versions):
            self._look_at_shrinking(versions, new)

    def _owned(self, deployment: Any) -> list[Any]:
        uid, namespace = deployment["metadata"]["uid"], deployment["metadata"]["namespace"]
        found = self._invariants.simulation.objects(REPLICA_SETS, namespace)
        return [one for one in found if controller_uid(one) == uid]

    def _versions(self, tree: Any) -> list[Any]:
        """Return a ReplicaSet as the controller may have taken it to be."""
        return [tree, *self._past.since(tree["metadata"]["uid"], self._invariants.since)]

    def _look_at_growth(self, versions: list[Any], grown: Any) -> None:
        uid = grown["metadata"]["uid"]
        others = [one for one in self._owned(versions[0]) if one["metadata"]["uid"] != uid]
        total = _replicas(grown) + sum(min(map(_replicas, self._versions(one))) for one in others)
        limit = max(_replicas(one) + _limits(one)[0] for one in versions)
        if total > limit:
            self._invariants.broken("surge", f"{grown['metadata']['name']} grows: {total} pods, at most {limit} may be")

    def _look_at_shrinking(self, versions: list[Any], shrunk: Any) -> None:
        uid = shrunk["metadata"]["uid"]
        had = self._lately_available(shrunk)
        lost = max(0, had - _replicas(shrunk))
        others = [self._lately_available(one) for one in self._owned(versions[0]) if one["metadata"]["uid"] != uid]
        left, wanted = had - lost + sum(others), min(_replicas(one) - _limits(one)[1] for one in versions)
        if lost and left < wanted:
            name = shrunk["metadata"]["name"]
            self._invariants.broken("unavailable", f"{name} shrinks: {left} available pods are left of {wanted}")

    def _lately_available(self, tree: Any) -> int:
        """Return how many available pods the controller may have taken it to have."""
        return max(map(_available, self._versions(tree)))

    def _look_at_recreation(self, deployment: Any, new: Any) -> None:
        olds = {one["metadata"]["uid"] for one in self._owned(deployment)} - {new["metadata"]["uid"]}
        for pod in self._invariants.simulation.objects(PODS, new["metadata"]["namespace"]):
            runs = controller_uid(pod) in olds and (pod.get("status") or {}).get("phase") not in _TERMINAL
            if runs and self._invariants.is_known(pod):
                name = new["metadata"]["name"]
                self._invariants.broken("recreate", f"{name} gets pods while {pod['metadata']['name']} is there")

    def at_rest(self) -> Iterator[str]:
        """Yield what Deployments lack although nothing moves."""
        for tree in self._invariants.simulation.objects(DEPLOYMENTS):
            name, replicas, status = tree["metadata"]["name"], _replicas(tree), tree.get("status") or {}
            owned = self._owned(tree)
            current = [one for one in owned if image_of(one) == image_of(tree)]
            uids = {one["metadata"]["uid"] for one in owned}
            pods = [
                pod
                for pod in self._invariants.simulation.objects(PODS, tree["metadata"]["namespace"])
                if controller_uid(pod) in uids and (pod.get("status") or {}).get("phase") not in _TERMINAL
            ]
            ready = sum(is_ready(pod) and image_of(pod) == image_of(tree) for pod in pods)
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


def _noted_size(tree: Any) -> str | None:
    """Return how many replicas its Deployment wanted when it last gave a ReplicaSet its size."""
    return (tree["metadata"].get("annotations") or {}).get(DESIRED)


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
