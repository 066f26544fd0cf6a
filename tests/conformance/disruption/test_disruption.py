"""Disruption budgets and evictions: tests named after upstream's."""

from typing import Any

import pytest

from homeport.client.manifests import resource_of
from homeport.client.rest import collection_path
from homeport.errors import Invalid, TooManyRequests
from tests.conformance.programs import RUN, container
from tests.conformance.steps import Tree, condition, eventually, evict, gone, settle, wait
from tests.conformance.world import World, also_on_real_pods

LABELS = {"foo": "bar"}


def budget(name: str = "b", **spec: Any) -> Tree:
    metadata = {"name": name, "labels": {"special": "b"}}
    spec = {"selector": {"matchLabels": LABELS}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def pod(name: str) -> Tree:
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container(RUN)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": LABELS}, "spec": spec}


def replica_set(replicas: int) -> Tree:
    template = {"metadata": {"labels": LABELS}, "spec": pod("x")["spec"]}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"}, "spec": spec}


def with_pods(world: World, count: int) -> None:
    for number in range(count):
        world.create(pod(f"p{number}"))
    eventually(world, lambda: all(world.ready(f"p{number}") for number in range(count)))


def processed(world: World) -> Tree:
    """Wait until the controller has seen the budget as it is."""

    def seen(tree: Tree) -> bool:
        return bool((tree.get("status") or {}).get("observedGeneration") == tree["metadata"]["generation"])

    return wait(world, "pdb/b", seen)


def test_should_create_a_poddisruptionbudget(world: World) -> None:
    """DisruptionController should create a PodDisruptionBudget"""
    world.create(budget(minAvailable=1))
    processed(world)
    world.change("pdb/b", lambda tree: tree["spec"].update(minAvailable=2))
    assert processed(world)["spec"]["minAvailable"] == 2
    with pytest.raises(Invalid):
        world.patch("pdb/b", {"spec": {"minAvailable": "3"}})
    world.patch("pdb/b", {"spec": {"minAvailable": "30%"}})
    assert processed(world)["spec"]["minAvailable"] == "30%"
    world.delete("pdb/b")
    assert world.find("pdb/b") is None


def test_should_observe_poddisruptionbudget_status_updated(world: World) -> None:
    """DisruptionController should observe PodDisruptionBudget status updated"""
    world.create(budget(minAvailable=1))
    assert condition(processed(world), "DisruptionAllowed")["reason"] == "InsufficientPods"
    with_pods(world, 3)
    tree = wait(world, "pdb/b", lambda tree: tree["status"]["disruptionsAllowed"] > 0)
    settle(world)
    tree = world.get("pdb/b")
    counts = ("currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed")
    assert [tree["status"][name] for name in counts] == [3, 1, 3, 2]
    assert condition(tree, "DisruptionAllowed")["reason"] == "SufficientPods"


def test_should_update_patch_poddisruptionbudget_status(world: World) -> None:
    """DisruptionController should update/patch PodDisruptionBudget status"""
    with_pods(world, 1)
    world.create(budget(minAvailable=1))
    processed(world)
    now = world.get("pod/p0")["metadata"]["creationTimestamp"]
    updated = world.change("pdb/b", lambda tree: tree["status"].update(disruptedPods={"p0": now}), "status")
    assert updated["status"]["disruptedPods"] == {"p0": now}
    patched = world.patch("pdb/b", {"status": {"disruptedPods": {"p0": None}}}, subresource="status")
    assert not patched["status"].get("disruptedPods")


@also_on_real_pods
def test_should_block_an_eviction_until_the_pdb_is_updated_to_allow_it(world: World) -> None:
    """DisruptionController should block an eviction until the PDB is updated to allow it"""
    with_pods(world, 3)
    world.create(budget(minAvailable=3))
    wait(world, "pdb/b", lambda tree: (tree.get("status") or {}).get("currentHealthy") == 3)
    refused = evict(world, "p0")
    assert isinstance(refused, TooManyRequests)
    assert "violate the pod's disruption budget" in str(refused)
    world.change("pdb/b", lambda tree: tree["spec"].update(minAvailable=2))
    wait(world, "pdb/b", lambda tree: tree["status"]["disruptionsAllowed"] == 1)
    assert evict(world, "p0") is None
    gone(world, "pod/p0")
    wait(world, "pdb/b", lambda tree: tree["status"]["currentHealthy"] == 2)
    assert isinstance(evict(world, "p1"), TooManyRequests)
    world.delete("pdb/b")
    assert evict(world, "p1") is None


def test_should_list_and_delete_a_collection_of_poddisruptionbudgets(world: World) -> None:
    """DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of
    PodDisruptionBudgets"""
    other = f"{world.namespace}-2"
    world.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    for name in ("b", "b2"):
        world.create(budget(name, minAvailable=1))
    elsewhere = budget(minAvailable="1%")
    world.request("POST", collection_path(resource_of("pdb"), other), elsewhere)
    everywhere = world.items("pdb", "special=b", everywhere=True)
    assert [tree["metadata"]["namespace"] for tree in everywhere] == [other, world.namespace, world.namespace]
    world.delete_collection("pdb", "special=b")
    left = world.items("pdb", "special=b", everywhere=True)
    assert [tree["metadata"]["namespace"] for tree in left] == [other]


def judged(world: World, spec: Tree | None, *, pods: int = 0, replicas: int = 0, allowed: bool) -> None:
    """Evict one of these pods under a budget and see whether it goes."""
    with_pods(world, pods)
    if replicas:
        world.create(replica_set(replicas))
        wait(world, "rs/r", lambda tree: (tree.get("status") or {}).get("readyReplicas") == replicas)
    if spec is not None:
        world.create(budget(**spec))
        eventually(world, lambda: processed(world)["status"]["currentHealthy"] == pods + replicas)
    name = world.items("pod", "foo=bar")[0]["metadata"]["name"]
    refused = evict(world, name)
    assert refused is None if allowed else isinstance(refused, TooManyRequests)
    settle(world)
    assert (world.find(f"pod/{name}") is None) == allowed


def test_evictions_no_pdb_should_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: no PDB => should allow an eviction"""
    judged(world, None, pods=1, allowed=True)


def test_evictions_too_few_pods_absolute_should_not_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: too few pods, absolute => should not allow an eviction"""
    judged(world, {"minAvailable": 2}, pods=2, allowed=False)


def test_evictions_enough_pods_absolute_should_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: enough pods, absolute => should allow an eviction"""
    judged(world, {"minAvailable": 2}, pods=3, allowed=True)


def test_evictions_enough_pods_replicaset_percentage_should_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: enough pods, replicaSet, percentage => should allow an eviction"""
    judged(world, {"minAvailable": "90%"}, replicas=10, allowed=True)


def test_evictions_too_few_pods_replicaset_percentage_should_not_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: too few pods, replicaSet, percentage => should not allow an eviction"""
    judged(world, {"minAvailable": "90%"}, replicas=9, allowed=False)


def test_evictions_maxunavailable_allow_single_eviction_percentage_should_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: maxUnavailable allow single eviction, percentage => should allow an eviction"""
    judged(world, {"maxUnavailable": "10%"}, replicas=10, allowed=True)


def test_evictions_maxunavailable_deny_evictions_integer_should_not_allow_an_eviction(world: World) -> None:
    """DisruptionController evictions: maxUnavailable deny evictions, integer => should not allow an eviction"""
    judged(world, {"maxUnavailable": 0}, replicas=10, allowed=False)


def evicted(world: World, policy: str | None, *, ready: bool) -> int:
    """Evict three pods, of which two are to be available, one after another; return how many went."""
    for number in range(3):
        tree = pod(f"p{number}")
        tree["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["true"]}, "periodSeconds": 1}
        if not ready:
            world.break_http_probe(f"p{number}")
        world.create(tree)
    world.create(budget(minAvailable=2, **({"unhealthyPodEvictionPolicy": policy} if policy else {})))
    settle(world)
    assert world.status("pdb/b")["currentHealthy"] == (3 if ready else 0)
    return [evict(world, f"p{number}") for number in range(3)].count(None)


def test_should_evict_ready_pods_with_default_unhealthypodevictionpolicy(world: World) -> None:
    """DisruptionController should evict ready pods with Default UnhealthyPodEvictionPolicy"""
    assert evicted(world, None, ready=True) == 1


def test_should_evict_ready_pods_with_ifhealthybudget_unhealthypodevictionpolicy(world: World) -> None:
    """DisruptionController should evict ready pods with IfHealthyBudget UnhealthyPodEvictionPolicy"""
    assert evicted(world, "IfHealthyBudget", ready=True) == 1


def test_should_evict_ready_pods_with_alwaysallow_unhealthypodevictionpolicy(world: World) -> None:
    """DisruptionController should evict ready pods with AlwaysAllow UnhealthyPodEvictionPolicy"""
    assert evicted(world, "AlwaysAllow", ready=True) == 1


def test_should_not_evict_unready_pods_with_default_unhealthypodevictionpolicy(world: World) -> None:
    """DisruptionController should not evict unready pods with Default UnhealthyPodEvictionPolicy"""
    assert evicted(world, None, ready=False) == 0


def test_should_not_evict_unready_pods_with_ifhealthybudget_unhealthypodevictionpolicy(world: World) -> None:
    """DisruptionController should not evict unready pods with IfHealthyBudget UnhealthyPodEvictionPolicy"""
    assert evicted(world, "IfHealthyBudget", ready=False) == 0


def test_should_evict_unready_pods_with_alwaysallow_unhealthypodevictionpolicy(world: World) -> None:
    """DisruptionController should evict unready pods with AlwaysAllow UnhealthyPodEvictionPolicy"""
    assert evicted(world, "AlwaysAllow", ready=False) == 3
