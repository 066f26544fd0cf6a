"""Namespaces: tests named after upstream's."""

from typing import Any

import pytest

from homeport.client.manifests import resource_of
from homeport.client.rest import collection_path, object_path
from homeport.errors import ApiError
from tests.conformance.programs import RUN, container
from tests.conformance.steps import Tree, condition, gone, merge, settle, wait
from tests.conformance.world import World, also_on_real_pods, is_ready


def other(world: World) -> str:
    """Make one more namespace, in which pods can be made; return its name."""
    name = f"{world.namespace}-2"
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    world.until(lambda: there(world, name, "serviceaccount"), "the namespace has its account")
    return name


def there(world: World, namespace: str, kind: str) -> list[Any]:
    return list(world.request("GET", collection_path(resource_of(kind), namespace))["items"])


def put_there(world: World, namespace: str, tree: Tree) -> Any:
    return world.request("POST", collection_path(resource_of(tree["kind"]), namespace), tree)


def pod(name: str = "test-pod") -> Tree:
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container(RUN)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@also_on_real_pods
def test_should_ensure_that_all_pods_are_removed_when_a_namespace_is_deleted(world: World) -> None:
    """Namespaces should ensure that all pods are removed when a namespace is deleted"""
    name = other(world)
    put_there(world, name, pod())
    world.until(lambda: is_ready(there(world, name, "pod")[0]), "the pod is ready")
    world.delete(f"namespace/{name}")
    gone(world, f"namespace/{name}")
    other(world)
    assert there(world, name, "pod") == []
    world.delete(f"namespace/{name}")


def test_should_ensure_that_all_services_are_removed_when_a_namespace_is_deleted(world: World) -> None:
    """Namespaces should ensure that all services are removed when a namespace is deleted"""
    name = other(world)
    spec = {"selector": {"foo": "bar"}, "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "test-service"}, "spec": spec}
    put_there(world, name, service)
    settle(world)
    world.delete(f"namespace/{name}")
    gone(world, f"namespace/{name}")
    other(world)
    for kind in ("service", "endpoints", "endpointslice"):
        assert there(world, name, kind) == []


def test_should_patch_a_namespace(world: World) -> None:
    """Namespaces should patch a Namespace"""
    target = f"namespace/{other(world)}"
    world.patch(target, {"metadata": {"labels": {"testLabel": "testValue"}}})
    assert world.get(target)["metadata"]["labels"]["testLabel"] == "testValue"


def test_should_apply_changes_to_a_namespace_status(world: World) -> None:
    """Namespaces should apply changes to a namespace status"""
    target = f"namespace/{other(world)}"
    assert world.get(target, "status")["status"] == {"phase": "Active"}
    told = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by an e2e test"}
    patched = merge(world, target, {"status": {"conditions": [told]}}, "status")
    assert condition(patched, "StatusPatch")["reason"] == "E2E"
    more = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by an e2e test"}
    updated = world.change(target, lambda tree: tree["status"]["conditions"].append(more), "status")
    assert condition(updated, "StatusUpdate")["message"] == "Updated by an e2e test"
    assert updated["status"]["phase"] == "Active"


def test_should_apply_an_update_to_a_namespace(world: World) -> None:
    """Namespaces should apply an update to a Namespace"""
    name = other(world)
    updated = world.change(f"namespace/{name}", lambda tree: tree["metadata"]["labels"].update({name: "updated"}))
    assert updated["metadata"]["labels"][name] == "updated"


def test_should_apply_a_finalizer_to_a_namespace(world: World) -> None:
    """Namespaces should apply a finalizer to a Namespace"""
    target, fake = f"namespace/{other(world)}", "e2e.example.com/fakeFinalizer"
    added = world.change(target, lambda tree: tree["spec"]["finalizers"].append(fake), "finalize")
    assert added["spec"]["finalizers"] == ["kubernetes", fake]
    world.delete(target)
    settle(world)
    assert world.get(target)["spec"]["finalizers"] == [fake]  # the controller has done its part
    world.change(target, lambda tree: tree["spec"]["finalizers"].remove(fake), "finalize")
    gone(world, target, 5)


def test_namespace_deletion_should_delete_pod_first(world: World) -> None:
    """OrderedNamespaceDeletion namespace deletion should delete pod first"""
    name = other(world)
    target, place = f"namespace/{name}", object_path(resource_of("pod"), name, "test-pod")
    held = pod()
    held["metadata"]["finalizers"] = ["e2e.example.com/finalizer"]
    put_there(world, name, held)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "test-configmap"}, "data": {"key": "value"}}
    put_there(world, name, config)
    world.until(lambda: is_ready(there(world, name, "pod")[0]), "the pod is ready")
    world.delete(target)
    wait(world, target, lambda tree: condition(tree, "NamespaceDeletionContentFailure"))
    settle(world)
    assert "deletionTimestamp" in world.request("GET", place)["metadata"]
    kept = there(world, name, "configmap")
    assert "test-configmap" in [one["metadata"]["name"] for one in kept]
    assert not any("deletionTimestamp" in one["metadata"] for one in kept)
    tree = world.get(target)
    assert condition(tree, "NamespaceContentRemaining")["reason"] == "ContentRemoved"  # while pods go, nothing is told
    with pytest.raises(ApiError, match="because it is being terminated"):
        put_there(world, name, pod("another"))
    freed = {**world.request("GET", place)}
    freed["metadata"] = {**freed["metadata"], "finalizers": []}
    world.request("PUT", place, freed)
    gone(world, target)
