"""What tests of Deployments wait for and look at."""

from typing import Any

from tests.conformance.world import World, owner

__all__ = ["complete", "replica_sets", "revision_of", "template_image"]


def replica_sets(world: World, target: str) -> list[Any]:
    """Return the ReplicaSets a Deployment owns, oldest revision first."""
    uid = world.get(target)["metadata"]["uid"]
    mine = [one for one in world.items("rs") if (owner(one) or ("", "", ""))[2] == uid]
    return sorted(mine, key=lambda one: int(revision_of(one)))


def revision_of(tree: Any) -> str:
    """Return the revision number of a Deployment or ReplicaSet; "0" before it has one."""
    return str((tree["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", "0"))


def template_image(tree: Any) -> str:
    """Return the image of the template's first container."""
    return str(tree["spec"]["template"]["spec"]["containers"][0]["image"])


def complete(world: World, target: str) -> Any:
    """Wait until every replica of a Deployment is updated and available and none is left over; return it."""

    def done() -> Any:
        tree = world.get(target)
        status, wanted = tree.get("status") or {}, tree["spec"]["replicas"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        seen = status.get("observedGeneration", 0) >= tree["metadata"]["generation"]
        return tree if seen and counts == [wanted] * 3 else None

    return world.until(done, f"{target} is complete", 600)
