"""Volumes, claims and storage classes: tests named after upstream's."""

from typing import Any

from homeport.client.manifests import resource_of
from homeport.client.rest import collection_path
from tests.conformance.programs import RUN, container
from tests.conformance.steps import Tree, condition, delete_collection, eventually, gone, merge, settle, wait
from tests.conformance.world import World, also_on_real_pods

DEFAULT = "storageclass.kubernetes.io/is-default-class"


def volume(world: World, name: str = "pv", **spec: Any) -> Tree:
    """Return a volume by hand, of a class of its own that nobody provisions."""
    body = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/tmp"},
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": world.namespace,
        **spec,
    }
    metadata = {"name": f"{world.namespace}-{name}", "labels": {"e2e-pv-pool": world.namespace}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": body}


def claim(name: str = "pvc", size: str = "1Gi", **spec: Any) -> Tree:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    metadata = {"name": name, "labels": {"e2e": "pvc"}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": body}


def pod(name: str = "p") -> Tree:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "pvc"}}]
    spec = {"terminationGracePeriodSeconds": 1, "volumes": volumes, "containers": [container(RUN)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def bound(world: World, target: str) -> Any:
    return wait(world, target, lambda tree: (tree.get("status") or {}).get("phase") == "Bound", 60)


def deleting(world: World, target: str) -> bool:
    return "deletionTimestamp" in world.get(target)["metadata"]


def test_should_run_through_the_lifecycle_of_a_pv_and_a_pvc(world: World) -> None:
    """PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC"""
    made = world.create(volume(world))
    target = f"pv/{made['metadata']['name']}"
    world.create(claim(storageClassName=world.namespace))
    bound(world, "pvc/pvc")
    bound(world, target)
    assert [one["metadata"]["name"] for one in world.items("pvc")] == ["pvc"]
    patched = world.patch(target, {"metadata": {"labels": {"patched": "true"}}})
    assert patched["metadata"]["labels"]["patched"] == "true"
    patched = world.patch("pvc/pvc", {"metadata": {"labels": {"patched": "true"}}})
    assert patched["metadata"]["labels"]["patched"] == "true"
    assert world.get(target)["spec"]["claimRef"]["uid"] == world.get("pvc/pvc")["metadata"]["uid"]
    world.delete("pvc/pvc")
    gone(world, "pvc/pvc", 60)
    wait(world, target, lambda tree: tree["status"]["phase"] == "Released")
    world.delete(target)
    gone(world, target, 60)

    world.create(volume(world, "again"))
    world.create(claim("again", storageClassName=world.namespace))
    target = f"pv/{world.namespace}-again"
    bound(world, "pvc/again")
    updated = world.change(target, lambda tree: tree["metadata"]["labels"].update(updated="true"))
    assert updated["metadata"]["labels"]["updated"] == "true"
    updated = world.change("pvc/again", lambda tree: tree["metadata"]["labels"].update(updated="true"))
    assert updated["metadata"]["labels"]["updated"] == "true"
    assert len(world.items("pvc", "updated=true", everywhere=True)) == 1
    delete_collection(world, "pvc", "updated=true")
    gone(world, "pvc/again", 60)
    delete_collection(world, "pv", "updated=true")
    gone(world, target, 60)


def test_should_apply_changes_to_a_pv_pvc_status(world: World) -> None:
    """PersistentVolumes CSI Conformance should apply changes to a pv/pvc status"""
    made = world.create(volume(world))
    target = f"pv/{made['metadata']['name']}"
    world.create(claim(storageClassName=world.namespace))
    bound(world, "pvc/pvc")
    told = {"type": "StatusPatched", "status": "True", "reason": "E2E patchedStatus", "message": "by a test"}
    patched = merge(world, "pvc/pvc", {"status": {"conditions": [told]}}, "status")
    assert condition(patched, "StatusPatched")["message"] == "by a test"
    more = {"type": "StatusUpdated", "status": "True", "reason": "E2E updateStatus"}
    updated = world.change("pvc/pvc", lambda tree: tree["status"]["conditions"].append(more), "status")
    assert condition(updated, "StatusUpdated")["status"] == "True"
    patched = merge(world, target, {"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}}, "status")
    assert (patched["status"]["message"], patched["status"]["phase"]) == ("StatusPatched", "Bound")
    updated = world.change(target, lambda tree: tree["status"].update(reason="E2E updateStatus"), "status")
    assert updated["status"]["reason"] == "E2E updateStatus"
    assert world.get("pvc/pvc", "status")["status"]["phase"] == "Bound"


def test_should_run_through_the_lifecycle_of_a_storageclass(world: World) -> None:
    """StorageClasses CSI Conformance should run through the lifecycle of a StorageClass"""
    label = f"e2e-{world.namespace}"
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"generateName": "e2e-", "labels": {label: "made"}},
        "provisioner": "e2e-fake-provisioner",
    }
    created = world.create(made)
    target = f"storageclass/{created['metadata']['name']}"
    assert (created["reclaimPolicy"], created["volumeBindingMode"]) == ("Delete", "Immediate")
    assert world.get(target)["provisioner"] == "e2e-fake-provisioner"
    patched = world.patch(target, {"metadata": {"labels": {"patched": "true"}}})
    assert patched["metadata"]["labels"]["patched"] == "true"
    updated = world.change(target, lambda tree: tree["metadata"]["labels"].update(updated="true"))
    assert updated["metadata"]["labels"]["updated"] == "true"
    assert len(world.items("storageclass", f"{label}=made")) == 1
    world.delete(target)
    assert world.find(target) is None
    world.create(made)
    world.request(
        "DELETE",
        collection_path(resource_of("storageclass"), None),
        query=(("labelSelector", f"{label}=made"),),
    )
    assert world.items("storageclass", f"{label}=made") == []


def in_use(world: World) -> str:
    """Let a pod use a claim of the default class; return the claim's volume."""
    world.create(claim())
    world.create(pod())
    eventually(world, lambda: world.ready("p"))
    made = bound(world, "pvc/pvc")
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    return str(made["spec"]["volumeName"])


def test_verify_immediate_deletion_of_a_pvc_that_is_not_in_active_use_by_a_pod(world: World) -> None:
    """PVC Protection Verify "immediate" deletion of a PVC that is not in active use by a pod"""
    in_use(world)
    world.delete("pod/p")
    gone(world, "pod/p", 60)
    world.delete("pvc/pvc")
    gone(world, "pvc/pvc", 5)


@also_on_real_pods
def test_verify_that_pvc_in_active_use_by_a_pod_is_not_removed_immediately(world: World) -> None:
    """PVC Protection Verify that PVC in active use by a pod is not removed immediately"""
    in_use(world)
    world.delete("pvc/pvc")
    assert deleting(world, "pvc/pvc")
    settle(world)
    assert world.get("pvc/pvc")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert world.ready("p")
    world.delete("pod/p")
    gone(world, "pod/p", 60)
    gone(world, "pvc/pvc", 5)


def test_verify_that_scheduling_of_a_pod_that_uses_pvc_that_is_being_deleted_fails_and_the_pod_becomes_unschedulable(
    world: World,
) -> None:
    """PVC Protection Verify that scheduling of a pod that uses PVC that is being deleted fails and the pod becomes
    Unschedulable"""
    in_use(world)
    world.delete("pvc/pvc")
    assert deleting(world, "pvc/pvc")
    world.create(pod("second"))
    told = wait(world, "pod/second", lambda tree: condition(tree, "PodScheduled").get("status") == "False", 60)
    assert condition(told, "PodScheduled")["reason"] == "Unschedulable"
    assert 'persistentvolumeclaim "pvc" is being deleted' in condition(told, "PodScheduled")["message"]
    world.delete("pod/second")  # not bound to a node: it does not hold the claim
    world.delete("pod/p")
    gone(world, "pvc/pvc", 60)


def test_verify_immediate_deletion_of_a_pv_that_is_not_bound_to_a_pvc(world: World) -> None:
    """PV Protection Verify "immediate" deletion of a PV that is not bound to a PVC"""
    made = world.create(volume(world))
    target = f"pv/{made['metadata']['name']}"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    wait(world, target, lambda tree: tree["status"]["phase"] == "Available")
    world.delete(target)
    gone(world, target, 5)


def test_verify_that_pv_bound_to_a_pvc_is_not_removed_immediately(world: World) -> None:
    """PV Protection Verify that PV bound to a PVC is not removed immediately"""
    made = world.create(volume(world))
    target = f"pv/{made['metadata']['name']}"
    world.create(claim(storageClassName=world.namespace))
    bound(world, "pvc/pvc")
    bound(world, target)
    world.delete(target)
    assert deleting(world, target)
    settle(world)
    assert world.get(target)["status"]["phase"] == "Bound"
    world.delete("pvc/pvc")
    gone(world, "pvc/pvc", 60)
    gone(world, target, 5)


def test_should_assign_default_storageclass_to_pvcs_retroactively(world: World) -> None:
    """Persistent Volume Claim and StorageClass should assign default StorageClass to PVCs retroactively"""
    (old,) = world.items("storageclass")
    target = f"storageclass/{old['metadata']['name']}"
    world.patch(target, {"metadata": {"annotations": {DEFAULT: "false"}}})
    made = world.create(claim())
    assert "storageClassName" not in made["spec"]
    world.create(claim("none", storageClassName=""))
    settle(world)
    assert "storageClassName" not in world.get("pvc/pvc")["spec"]
    world.patch(target, {"metadata": {"annotations": {DEFAULT: "true"}}})
    given = wait(world, "pvc/pvc", lambda tree: "storageClassName" in tree["spec"], 60)
    assert given["spec"]["storageClassName"] == old["metadata"]["name"]
    assert world.get("pvc/none")["spec"]["storageClassName"] == ""  # that it wants no class was said
