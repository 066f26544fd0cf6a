"""What tests of Jobs, daemons, budgets and the like do over and over, on either side."""

from collections.abc import Callable, Mapping
from typing import Any

from homeport.client.contract import PatchType
from homeport.client.manifests import resource_of
from homeport.client.rest import collection_path, object_path
from homeport.errors import ApiError
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.world import World

__all__ = [
    "Tree",
    "condition",
    "delete_collection",
    "eventually",
    "evict",
    "gone",
    "merge",
    "pass_time",
    "reasons",
    "reference",
    "set_image",
    "settle",
    "wait",
]

Tree = dict[str, Any]


def wait(world: World, target: str, holds: Callable[[Any], object], seconds: float = 600.0) -> Any:
    """Let time pass until an object exists and is as wanted; return it."""

    def look() -> Any:
        tree = world.get(target)
        return tree if holds(tree) else None

    return world.until(look, f"{target} as wanted", seconds)


def gone(world: World, target: str, seconds: float = 600.0) -> None:
    """Let time pass until an object does not exist."""
    world.until(lambda: world.find(target) is None, f"{target} goes", seconds)


def eventually(world: World, holds: Callable[[], object], seconds: float = 600.0) -> None:
    """Let time pass until something holds."""
    world.until(holds, "what the test says", seconds)


def settle(world: World) -> None:
    """Let time pass until nothing changes any more; on real pods, for as long as things usually take."""
    if isinstance(world, SimulatedWorld):
        world.cluster.settle()
    else:
        pass_time(world, 2.0)


def pass_time(world: World, seconds: float) -> None:
    """Let time pass."""
    world.stays(lambda: True, "time passes", seconds)


def merge(world: World, target: str, body: Mapping[str, Any], subresource: str = "") -> Any:
    """Send a merge patch; lists are replaced whole."""
    return world.patch(target, body, kind=PatchType.MERGE, subresource=subresource)


def set_image(world: World, target: str, image: str) -> Any:
    """Give the first container of a workload's template another image."""
    name = world.get(target)["spec"]["template"]["spec"]["containers"][0]["name"]
    return world.patch(target, {"spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}})


def delete_collection(world: World, kind: str, selector: str, propagation: str = "Background") -> None:
    """Delete the objects of a kind with these labels, and what becomes of their dependents."""
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
    path = collection_path(resource_of(kind), world.namespace)
    world.request("DELETE", path, body, (("labelSelector", selector),))


def evict(world: World, pod: str, version: str = "policy/v1") -> ApiError | None:
    """Ask for the eviction of a pod; return the refusal, None when it goes."""
    body = {"apiVersion": version, "kind": "Eviction", "metadata": {"name": pod, "namespace": world.namespace}}
    try:
        world.request("POST", object_path(resource_of("pod"), world.namespace, pod, "eviction"), body)
    except ApiError as refusal:
        return refusal
    return None


def condition(tree: Mapping[str, Any], kind: str) -> Tree:
    """Return an object's condition of a kind; an empty one when it has none."""
    found = (tree.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})


def reasons(world: World, target: str) -> set[str]:
    """Return the reasons of the events about an object."""
    return {event["reason"] for event in world.events(target)}


def reference(tree: Mapping[str, Any], *, controller: bool = True, blocks: bool = True) -> Tree:
    """Return the reference a dependent of an object carries."""
    base = {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "name": tree["metadata"]["name"]}
    return {**base, "uid": tree["metadata"]["uid"], "controller": controller, "blockOwnerDeletion": blocks}
