"""What DELETE does with dependents, and which objects are collected. Source: workloads 14."""

from typing import Any

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import create, delete, put, reference

HOLD = "example.com/hold"
FOREGROUND = "foregroundDeletion"


def config(name: str, *owners: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    more = {"ownerReferences": list(owners), **metadata} if owners else metadata
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}}


def made(homeport: SimulatedCluster, tree: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    code, answer = create(homeport, tree, namespace)
    assert code == 201, answer
    return answer


@pytest.mark.parametrize(
    ("options", "finalizers", "left"),
    [
        ({"propagationPolicy": "Background"}, [], None),
        ({"propagationPolicy": "Background"}, [HOLD, "orphan"], [HOLD]),
        ({"propagationPolicy": "Foreground"}, [], [FOREGROUND]),
        ({"propagationPolicy": "Foreground"}, ["orphan"], [FOREGROUND]),
        ({"propagationPolicy": "Orphan"}, [], ["orphan"]),
        ({"propagationPolicy": "Orphan"}, [FOREGROUND], ["orphan"]),
        ({}, [], None),
        ({}, ["orphan"], ["orphan"]),
        ({}, [FOREGROUND], [FOREGROUND]),
        ({}, [HOLD], [HOLD]),
        ({"orphanDependents": True}, [], ["orphan"]),
        ({"orphanDependents": False}, [], None),
    ],
)
def test_what_a_deletion_leaves(
    homeport: SimulatedCluster, options: dict[str, Any], finalizers: list[str], left: list[str] | None
) -> None:
    made(homeport, config("a", finalizers=finalizers))
    homeport.cut_control()
    code, answer = delete(homeport, "configmap/a", **options)
    after = homeport.find("configmap/a")
    assert code == 200
    assert (answer["kind"], after is None) == (("Status", True) if left is None else ("ConfigMap", False))
    if after is not None:
        assert after["metadata"]["finalizers"] == left
        assert "deletionTimestamp" in after["metadata"]


@pytest.mark.parametrize(
    ("kind", "version", "orphans"),
    [("Job", "batch/v1", True), ("ReplicationController", "v1", True), ("ReplicaSet", "apps/v1", False)],
)
def test_without_a_word_the_kind_decides(homeport: SimulatedCluster, kind: str, version: str, orphans: bool) -> None:
    labels = {"app": "web"}
    restart = {"restartPolicy": "Never"} if kind == "Job" else {}
    template = {"metadata": {"labels": labels}, "spec": {**restart, "containers": [{"name": "c", "image": "a"}]}}
    selector = {"Job": {}, "ReplicationController": {"selector": labels}}.get(
        kind, {"selector": {"matchLabels": labels}}
    )
    made(
        homeport,
        {"apiVersion": version, "kind": kind, "metadata": {"name": "o"}, "spec": {**selector, "template": template}},
    )
    homeport.settle()
    (name,) = [one.name for one in homeport.pods]
    delete(homeport, f"{kind.lower()}/o")
    homeport.settle()
    assert homeport.find(f"{kind.lower()}/o") is None
    assert (homeport.find(f"pod/{name}") is not None) == orphans


def test_two_ways_to_say_it_are_one_too_many(homeport: SimulatedCluster) -> None:
    made(homeport, config("a"))
    code, refusal = delete(homeport, "configmap/a", orphanDependents=True, propagationPolicy="Orphan")
    assert (code, refusal["reason"]) == (422, "Invalid")


def test_who_goes_gets_no_new_finalizers_and_is_gone_with_the_last(homeport: SimulatedCluster) -> None:
    made(homeport, config("a", finalizers=[HOLD]))
    delete(homeport, "configmap/a")
    going = homeport.get("configmap/a")
    code, refusal = put(homeport, {**going, "metadata": {**going["metadata"], "finalizers": [HOLD, "example.com/x"]}})
    assert code == 422
    assert "no new finalizers can be added if the object is being deleted" in refusal["message"]
    assert put(homeport, {**going, "metadata": {**going["metadata"], "finalizers": []}})[0] == 200
    assert homeport.find("configmap/a") is None


def test_dangling_owners_are_dropped_beside_a_solid_one(homeport: SimulatedCluster) -> None:
    solid, other = made(homeport, config("solid")), made(homeport, config("other"))
    lost = {**reference(solid), "name": "lost", "uid": "11111111-1111-1111-1111-111111111111"}
    stale = {**reference(other), "uid": "22222222-2222-2222-2222-222222222222"}
    made(homeport, config("child", reference(solid), lost, stale))
    homeport.settle()
    (kept,) = homeport.get("configmap/child")["metadata"]["ownerReferences"]
    assert kept["name"] == "solid"


def test_an_owner_that_goes_for_another_reason_is_solid(homeport: SimulatedCluster) -> None:
    owner = made(homeport, config("owner", finalizers=[HOLD]))
    made(homeport, config("child", reference(owner)))
    delete(homeport, "configmap/owner", propagationPolicy="Background")
    homeport.settle()
    assert homeport.find("configmap/child") is not None
    homeport.patch("configmap/owner", {"metadata": {"finalizers": None}})
    homeport.settle()
    assert homeport.find("configmap/child") is None


def test_an_object_made_for_an_owner_that_never_was_is_collected(homeport: SimulatedCluster) -> None:
    owner = made(homeport, config("owner"))
    made(homeport, config("child", {**reference(owner), "uid": "33333333-3333-3333-3333-333333333333"}))
    homeport.settle()
    assert homeport.find("configmap/child") is None


def test_an_owner_of_another_namespace_counts_as_absent_and_is_told(homeport: SimulatedCluster) -> None:
    made(homeport, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    owner = made(homeport, config("owner"), "other")
    made(homeport, config("child", reference(owner)))
    homeport.settle()
    assert homeport.find("configmap/child") is None
    (told,) = {event.message for event in homeport.events() if event.reason == "OwnerRefInvalidNamespace"}
    assert told == (
        f"ownerRef [v1/ConfigMap, namespace: default, name: owner, uid: {owner['metadata']['uid']}] "
        'does not exist in namespace "default"'
    )


def test_a_namespaced_owner_of_a_cluster_wide_object_is_ignored(homeport: SimulatedCluster) -> None:
    owner = made(homeport, config("owner"))
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    made(homeport, {**role, "metadata": {"name": "r", "ownerReferences": [reference(owner)]}})
    homeport.settle()
    (told,) = {event.message for event in homeport.events() if event.reason == "OwnerRefInvalidNamespace"}
    assert told.endswith(f'uid: {owner["metadata"]["uid"]}] does not exist in namespace ""')
    delete(homeport, "configmap/owner")
    homeport.settle()
    assert homeport.find("clusterrole/r") is not None


def test_a_waiting_owner_takes_whole_trees_along_and_dependents_that_do_not_block_too(
    homeport: SimulatedCluster,
) -> None:
    root = made(homeport, config("root"))
    child = made(homeport, config("child", reference(root)))
    made(homeport, config("loose", reference(root, blocks=False)))
    made(homeport, config("grandchild", reference(child), finalizers=[HOLD]))
    delete(homeport, "configmap/root", propagationPolicy="Foreground")
    homeport.settle()
    left = {tree["metadata"]["name"]: tree["metadata"].get("finalizers") for tree in homeport.list("configmap")}
    left.pop("kube-root-ca.crt", None)
    assert left == {"root": [FOREGROUND], "child": [FOREGROUND], "grandchild": [HOLD]}
    homeport.patch("configmap/grandchild", {"metadata": {"finalizers": None}})
    homeport.settle()
    assert [one["metadata"]["name"] for one in homeport.list("configmap", namespace="default")] == ["kube-root-ca.crt"]
