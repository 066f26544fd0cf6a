"""Claims and volumes in a cluster: who gets what, when, and what becomes of it. Source: workloads 17."""

from typing import Any

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import create, delete, pod, put

DEFAULT = "storageclass.kubernetes.io/is-default-class"


def volume(homeport: SimulatedCluster, name: str, size: str = "1Gi", **spec: Any) -> None:
    body = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/tmp"},
        "persistentVolumeReclaimPolicy": "Retain",
        **spec,
    }
    tree = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": body}
    assert create(homeport, tree)[0] == 201


def claim(homeport: SimulatedCluster, name: str = "c", size: str = "1Gi", **spec: Any) -> None:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    tree = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": body}
    assert create(homeport, tree)[0] == 201
    homeport.settle()


def storage_class(homeport: SimulatedCluster, name: str, provisioner: str, *, default: bool = False) -> None:
    metadata = {"name": name, "annotations": {DEFAULT: str(default).lower()}}
    tree = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata, "provisioner": provisioner}
    assert create(homeport, tree)[0] == 201


def phase(homeport: SimulatedCluster, target: str) -> str:
    return str(homeport.get(target)["status"]["phase"])


def told(homeport: SimulatedCluster, target: str) -> dict[str, str]:
    return {event.reason: event.message for event in homeport.events(target)}


def user(homeport: SimulatedCluster, claim: str = "c") -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    assert create(homeport, pod("p", volumes=volumes))[0] == 201
    homeport.settle()


def test_the_smallest_volume_that_fits_is_bound_both_ways(homeport: SimulatedCluster) -> None:
    volume(homeport, "small", "1Gi")
    volume(homeport, "big", "5Gi")
    volume(homeport, "middle", "3Gi")
    claim(homeport, size="2Gi", storageClassName="")
    bound, owned = homeport.get("pvc/c"), homeport.get("pv/middle")
    assert (bound["spec"]["volumeName"], bound["status"]["phase"]) == ("middle", "Bound")
    assert bound["status"]["capacity"] == {"storage": "3Gi"}
    assert bound["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    assert owned["metadata"]["annotations"] == {"pv.kubernetes.io/bound-by-controller": "yes"}
    reference = owned["spec"]["claimRef"]
    assert (reference["namespace"], reference["name"], reference["uid"]) == ("default", "c", bound["metadata"]["uid"])
    assert (phase(homeport, "pv/small"), phase(homeport, "pv/big")) == ("Available", "Available")


def test_a_volume_named_by_hand_is_the_only_one(homeport: SimulatedCluster) -> None:
    volume(homeport, "small", "1Gi")
    volume(homeport, "other", "9Gi")
    claim(homeport, "wants-more", "2Gi", storageClassName="", volumeName="small")
    assert told(homeport, "pvc/wants-more")["VolumeMismatch"] == (
        'Cannot bind to requested volume "small": requested PV is too small'
    )
    claim(homeport, "first", storageClassName="", volumeName="small")
    claim(homeport, "second", storageClassName="", volumeName="small")
    assert told(homeport, "pvc/second")["FailedBinding"] == 'volume "small" already bound to a different claim.'
    claim(homeport, "ghost", storageClassName="", volumeName="nowhere")
    assert [phase(homeport, f"pvc/{name}") for name in ("first", "second", "ghost")] == ["Bound", "Pending", "Pending"]


def test_no_class_is_no_default_class(homeport: SimulatedCluster) -> None:
    claim(homeport, storageClassName="")
    assert homeport.get("pvc/c")["spec"]["storageClassName"] == ""
    assert told(homeport, "pvc/c")["FailedBinding"] == (
        "no persistent volumes available for this claim and no storage class is set"
    )


def test_of_several_default_classes_the_newest_is_taken(homeport: SimulatedCluster) -> None:
    homeport.advance(seconds=5)
    storage_class(homeport, "newer", "example.com/p", default=True)
    claim(homeport)
    assert homeport.get("pvc/c")["spec"]["storageClassName"] == "newer"


def test_a_class_without_provisioner_says_so_each_time(homeport: SimulatedCluster) -> None:
    storage_class(homeport, "by-hand", "kubernetes.io/no-provisioner")
    claim(homeport, storageClassName="by-hand")
    assert told(homeport, "pvc/c")["ProvisioningFailed"] == (
        "no volume plugin matched name: kubernetes.io/no-provisioner"
    )


def test_a_claim_waits_for_its_first_user_and_is_made_where_that_is(homeport: SimulatedCluster) -> None:
    claim(homeport)
    assert told(homeport, "pvc/c")["WaitForFirstConsumer"] == "waiting for first consumer to be created before binding"
    user(homeport)
    bound = homeport.get("pvc/c")
    node = homeport.pods["p"].node
    assert bound["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == node
    made = homeport.get(f"pv/{bound['spec']['volumeName']}")
    assert made["metadata"]["name"] == f"pvc-{bound['metadata']['uid']}"
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert made["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == "homeport.local/directory"
    (term,) = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_what_becomes_of_a_volume_whose_claim_is_gone(homeport: SimulatedCluster, policy: str) -> None:
    claim(homeport)
    user(homeport)
    name = homeport.get("pvc/c")["spec"]["volumeName"]
    homeport.patch(f"pv/{name}", {"spec": {"persistentVolumeReclaimPolicy": policy}})
    delete(homeport, "pod/p")
    homeport.wait("pod/p", gone=True)
    delete(homeport, "pvc/c")
    homeport.settle()
    if policy == "Delete":
        assert homeport.find(f"pv/{name}") is None
        return
    assert phase(homeport, f"pv/{name}") == "Released"
    claim(homeport, storageClassName="homeport-local", volumeName=name)
    assert phase(homeport, "pvc/c") != "Bound"  # what is kept still belongs to the claim that is gone
    homeport.patch(f"pv/{name}", {"spec": {"claimRef": None}})
    homeport.wait("pvc/c", until=lambda tree: tree["status"]["phase"] == "Bound")
    assert homeport.get("pvc/c")["spec"]["volumeName"] == name


def test_a_claim_that_lost_its_volume_stays_lost(homeport: SimulatedCluster) -> None:
    volume(homeport, "v")
    claim(homeport, storageClassName="")
    delete(homeport, "pv/v")
    homeport.patch("pv/v", {"metadata": {"finalizers": None}})
    homeport.settle()
    assert phase(homeport, "pvc/c") == "Lost"
    assert "ClaimLost" in told(homeport, "pvc/c")
    volume(homeport, "w")
    homeport.settle()
    assert phase(homeport, "pvc/c") == "Lost"


def test_a_pod_that_has_ended_still_holds_its_claim_and_one_without_a_place_does_not(
    homeport: SimulatedCluster,
) -> None:
    claim(homeport)
    user(homeport)
    homeport.pods["p"].crash(code=0)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    create(homeport, pod("waits", volumes=volumes, nodeSelector={"disk": "none"}))
    delete(homeport, "pvc/c")
    homeport.settle()
    assert "deletionTimestamp" in homeport.get("pvc/c")["metadata"]
    delete(homeport, "pod/p")
    homeport.wait("pvc/c", gone=True, timeout=30)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"resources": {"requests": {"storage": "2Gi"}}}, 200),
        ({"resources": {"requests": {"storage": "1Mi"}}}, 422),
        ({"accessModes": ["ReadWriteMany"]}, 422),
        ({"storageClassName": "other"}, 422),
        ({"volumeName": "other"}, 422),
    ],
)
def test_what_may_change_in_a_bound_claim(homeport: SimulatedCluster, change: dict[str, Any], code: int) -> None:
    claim(homeport)
    user(homeport)
    tree = homeport.get("pvc/c")
    seen, answer = put(homeport, {**tree, "spec": {**tree["spec"], **change}})
    assert seen == code, answer
    if code == 200:
        homeport.settle()
        assert homeport.get("pvc/c")["status"]["capacity"] == {"storage": "2Gi"}


def test_a_pod_of_a_claim_that_is_not_there_waits_and_says_why(homeport: SimulatedCluster) -> None:
    user(homeport, "ghost")
    (message,) = {event.message for event in homeport.events("pod/p") if event.reason == "FailedScheduling"}
    assert 'persistentvolumeclaim "ghost" not found' in message
    claim(homeport, "ghost")
    homeport.wait("pod/p")


def test_more_room_is_the_provisioner_s_to_make(homeport: SimulatedCluster) -> None:
    storage_class(homeport, "s", "example.com/p")
    homeport.patch("storageclass/s", {"allowVolumeExpansion": True})
    volume(homeport, "v", storageClassName="s")
    claim(homeport, storageClassName="s")
    homeport.patch("pvc/c", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})
    homeport.settle()
    (event,) = [event for event in homeport.events("pvc/c") if event.reason == "ExternalExpanding"]
    assert (event.type, event.message) == ("Normal", "waiting for an external controller to expand this PVC")
    assert homeport.get("pvc/c")["status"]["capacity"] == {"storage": "1Gi"}
