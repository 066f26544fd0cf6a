"""What becomes of the claims of a StatefulSet's pods when pods, set or claims go."""

from collections.abc import Sequence
from typing import Any

from tests.conformance.statefulset.sets import claims
from tests.conformance.workloads import SELECTOR, headless, saturated, statefulset
from tests.conformance.world import World, owner

SET = "sts/ss"


def _create(world: World, replicas: int, **policy: str) -> Any:
    """Create a set of pods with a claim each; wait for them. `policy` is the claims' retention policy."""
    spec = {"persistentVolumeClaimRetentionPolicy": policy} if policy else {}
    world.create(headless())
    created = world.create(statefulset("ss", world.images[0], replicas, claims=True, **spec))
    saturated(world, SET, replicas)
    assert claims(world) == _names(range(replicas))
    return created


def _names(ordinals: Sequence[int]) -> list[str]:
    return [f"datadir-ss-{ordinal}" for ordinal in ordinals]


def _only(world: World, *ordinals: int) -> None:
    """Wait until the claims of these ordinals are left, and no others; they stay."""
    world.until(lambda: claims(world) == _names(ordinals), f"the claims of {ordinals} are left")
    world.stays(lambda: claims(world) == _names(ordinals), f"the claims of {ordinals} stay", 60)


def _owners(world: World, created: Any) -> None:
    """Wait until every claim is owned by the set."""
    mine = ("StatefulSet", "ss", created["metadata"]["uid"])
    world.until(lambda: all(owner(claim) == mine for claim in world.items("pvc")), "the set owns the claims")


def test_should_delete_pvcs_with_a_whendeleted_policy(world: World) -> None:
    """StatefulSet Non-retain StatefulSetPersistentVolumeClaimPolicy should delete PVCs with a WhenDeleted policy"""
    _owners(world, _create(world, 3, whenDeleted="Delete"))
    world.delete(SET)
    _only(world)


def test_should_delete_pvcs_with_a_onscaledown_policy(world: World) -> None:
    """StatefulSet Non-retain StatefulSetPersistentVolumeClaimPolicy should delete PVCs with a OnScaledown policy"""
    _create(world, 3, whenScaled="Delete")
    world.scale(SET, 1)
    _only(world, 0)


def test_should_not_delete_pvc_with_onscaledown_policy_if_another_controller_owns_the_pvc(world: World) -> None:
    """
    StatefulSet Non-retain StatefulSetPersistentVolumeClaimPolicy should not delete PVC with OnScaledown policy if
    another controller owns the PVC
    """
    _create(world, 3)
    dummy = world.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dummy-controller"}})
    theirs = _reference(dummy, controller=True)
    world.change("pvc/datadir-ss-1", lambda claim: claim["metadata"].update(ownerReferences=[theirs]))
    policy = {"whenScaled": "Delete"}
    world.change(SET, lambda tree: tree["spec"].update(persistentVolumeClaimRetentionPolicy=policy))
    world.scale(SET, 0)
    _only(world, 1)
    assert world.get("pvc/datadir-ss-1")["metadata"]["ownerReferences"] == [theirs]

    world.change("pvc/datadir-ss-1", lambda claim: claim["metadata"].pop("ownerReferences"))
    world.scale(SET, 2)
    saturated(world, SET, 2)
    _only(world, 0, 1)
    world.scale(SET, 1)
    _only(world, 0)


def test_should_delete_pvcs_after_adopting_pod_whendeleted(world: World) -> None:
    """
    StatefulSet Non-retain StatefulSetPersistentVolumeClaimPolicy should delete PVCs after adopting pod (WhenDeleted)
    """
    created = _create(world, 3, whenDeleted="Delete")
    _owners(world, created)
    _adopts_the_third_again(world, created)
    world.delete(SET)
    _only(world)


def test_should_delete_pvcs_after_adopting_pod_whenscaled(world: World) -> None:
    """
    StatefulSet Non-retain StatefulSetPersistentVolumeClaimPolicy should delete PVCs after adopting pod (WhenScaled)
    """
    created = _create(world, 3, whenScaled="Delete")
    _adopts_the_third_again(world, created)
    world.scale(SET, 1)
    _only(world, 0)


def _adopts_the_third_again(world: World, created: Any) -> None:
    mine = ("StatefulSet", "ss", created["metadata"]["uid"])
    uid = world.get("pod/ss-2")["metadata"]["uid"]
    world.change("pod/ss-2", lambda pod: pod["metadata"].pop("ownerReferences"))
    world.until(lambda: owner(world.get("pod/ss-2")) == mine, "the orphan is adopted")
    assert world.get("pod/ss-2")["metadata"]["uid"] == uid


def test_should_not_delete_pvcs_when_there_is_another_controller(world: World) -> None:
    """
    StatefulSet Non-retain StatefulSetPersistentVolumeClaimPolicy should not delete PVCs when there is another
    controller
    """
    created = _create(world, 4)
    names = _names(range(4))
    bystander = world.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "random-owner"}})
    theirs = _reference(bystander)
    stale = {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "unknown", "controller": True,
        "blockOwnerDeletion": True, "uid": "9d86d6ae-4e06-4ff1-bc55-f77f52e272e9",
    }  # fmt: skip
    kept = {"ownerReferences": [stale], "finalizers": ["keep-with/stale-ref"]}
    world.change(f"pvc/{names[1]}", lambda claim: claim["metadata"].update(ownerReferences=[theirs]))
    world.change(f"pvc/{names[3]}", lambda claim: claim["metadata"].update(kept))

    def references(ordinal: int) -> Any:
        return world.get(f"pvc/{names[ordinal]}")["metadata"].get("ownerReferences")

    world.stays(lambda: (references(1), references(3)) == ([theirs], [stale]), "foreign references stay", 5)

    policy = {"whenDeleted": "Delete"}
    world.change(SET, lambda tree: tree["spec"].update(persistentVolumeClaimRetentionPolicy=policy))
    ours = {**_reference(created, controller=True), "blockOwnerDeletion": True}
    expected = [[ours], [theirs, ours], [ours], [stale]]
    world.until(lambda: [references(ordinal) for ordinal in range(4)] == expected, "the set owns what it may")

    loose = {**ours, "controller": False}
    world.change(f"pvc/{names[0]}", lambda claim: claim["metadata"].update(ownerReferences=[loose]))
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    world.change(SET, lambda tree: tree["spec"].update(persistentVolumeClaimRetentionPolicy=policy))
    world.until(lambda: references(0) == [ours], "our reference is the controller's again")

    world.delete(SET)
    _only(world, 1, 3)
    world.change(f"pvc/{names[3]}", lambda claim: claim["metadata"].pop("finalizers"))
    _only(world, 1)


def _reference(tree: Any, *, controller: bool = False) -> dict[str, Any]:
    """Return an owner reference to an object."""
    metadata = tree["metadata"]
    made = {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {**made, "controller": True} if controller else made


def test_pvc_should_be_recreated_when_pod_is_pending_due_to_missing_pvc(world: World) -> None:
    """
    StatefulSet Automatically recreate PVC for pending pod when PVC is missing PVC should be recreated when pod is
    pending due to missing PVC
    """
    node = world.items("nodes")[0]["metadata"]["name"]
    place = {"nodeSelector": {"kubernetes.io/hostname": node}}
    world.create(statefulset("ss", world.images[0], 1, claims=True, pod=place))
    (pod,) = saturated(world, SET, 1)
    assert pod["spec"]["nodeName"] == node

    world.patch(f"node/{node}", {"spec": {"unschedulable": True}})
    world.delete("pod/ss-0")
    world.until(lambda: world.get("pod/ss-0")["metadata"]["uid"] != pod["metadata"]["uid"], "a new pod comes")
    world.until(lambda: world.status(SET).get("currentReplicas") == 1, "it is counted")
    (claim,) = world.items("pvc")
    world.delete(f"pvc/{claim['metadata']['name']}")
    world.patch(f"node/{node}", {"spec": {"unschedulable": None}})

    (name,) = _names([0])
    world.until(lambda: world.get(f"pvc/{name}")["metadata"]["uid"] != claim["metadata"]["uid"], "a new claim comes")
    (again,) = saturated(world, SET, 1)
    assert again["spec"]["nodeName"] == node
    assert world.pod_names(SELECTOR) == ["ss-0"]
