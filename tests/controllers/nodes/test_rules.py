"""Nodes that fall silent, and the pods on them. Source: workloads 15."""

from typing import Any

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import condition, create, pod

LABELS = {"app": "web"}


def workload(homeport: SimulatedCluster, kind: str, replicas: int = 2) -> None:
    template = {"metadata": {"labels": LABELS}, "spec": pod("x", terminationGracePeriodSeconds=30)["spec"]}
    spec: dict[str, Any] = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = "web"
    assert (
        create(homeport, {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec})[0] == 201
    )
    homeport.settle()


def taints(homeport: SimulatedCluster, node: str) -> set[tuple[str, str]]:
    found = homeport.get(f"node/{node}")["spec"].get("taints") or ()
    return {(one["key"].removeprefix("node.kubernetes.io/"), one["effect"]) for one in found}


def test_a_silent_node_is_given_fifty_seconds_and_its_pods_stop_being_ready(homeport: SimulatedCluster) -> None:
    workload(homeport, "Deployment")
    here = [one.name for one in homeport.pods if one.node == "node-1"]
    homeport.nodes["node-1"].lose()
    homeport.advance(seconds=38)
    assert homeport.nodes["node-1"].ready
    homeport.advance(seconds=22)
    told = condition(homeport.get("node/node-1"), "Ready")
    assert (told["status"], told["reason"], told["message"]) == (
        "Unknown",
        "NodeStatusUnknown",
        "Kubelet stopped posting node status.",
    )
    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure"):
        assert condition(homeport.get("node/node-1"), kind)["status"] == "Unknown"
    assert taints(homeport, "node-1") == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    for name in here:
        assert (homeport.pods[name].phase, homeport.pods[name].ready) == ("Running", False)
        assert "NodeNotReady" in {event.reason for event in homeport.events(f"pod/{name}")}
    assert "NodeNotReady" in {event.reason for event in homeport.events("node/node-1")}


def test_a_deployment_replaces_what_a_statefulset_waits_for(homeport: SimulatedCluster) -> None:
    workload(homeport, "Deployment")
    homeport.nodes["node-1"].lose()
    homeport.advance(minutes=7)
    pods = list(homeport.pods)
    assert sum(one.ready for one in pods) == 2
    assert {one.node for one in pods if one.ready} == {"node-2"}
    assert [one.node for one in pods if "deletionTimestamp" in one.object["metadata"]] == ["node-1"]


@pytest.mark.parametrize("way", ["return", "force", "forget"])
def test_a_statefulset_waits_until_somebody_knows(homeport: SimulatedCluster, way: str) -> None:
    workload(homeport, "StatefulSet")
    (name,) = [one.name for one in homeport.pods if one.node == "node-1"]
    before = homeport.pods[name].uid
    homeport.nodes["node-1"].lose()
    homeport.advance(hours=2)
    assert "deletionTimestamp" in homeport.pods[name].object["metadata"]
    assert homeport.pods[name].uid == before
    match way:
        case "return":
            homeport.nodes["node-1"].start()
        case "force":
            homeport.delete(f"pod/{name}", grace=0)
        case "forget":
            homeport.delete("node/node-1")
    homeport.wait("sts/web", ready=2)
    assert homeport.pods[name].uid != before


def test_nobody_is_evicted_where_every_node_is_silent(homeport: SimulatedCluster) -> None:
    workload(homeport, "Deployment")
    before = {one.uid for one in homeport.pods}
    for name in ("node-1", "node-2"):
        homeport.nodes[name].lose()
    homeport.advance(hours=1)
    assert {one.uid for one in homeport.pods} == before
    assert not any("deletionTimestamp" in one.object["metadata"] for one in homeport.pods)
    for name in ("node-1", "node-2"):
        assert ("unreachable", "NoExecute") not in taints(homeport, name)


@pytest.mark.homeport(nodes=1)
def test_the_only_node_does_not_evict_its_pods(homeport: SimulatedCluster) -> None:
    workload(homeport, "StatefulSet")
    before = {one.uid for one in homeport.pods}
    homeport.nodes["node-1"].cut()
    homeport.advance(hours=1)
    homeport.nodes["node-1"].join()
    homeport.wait("sts/web", ready=2)
    assert {one.uid for one in homeport.pods} == before


def test_a_cordoned_node_is_tainted(homeport: SimulatedCluster) -> None:
    homeport.patch("node/node-1", {"spec": {"unschedulable": True}})
    homeport.settle()
    assert taints(homeport, "node-1") == {("unschedulable", "NoSchedule")}
    homeport.patch("node/node-1", {"spec": {"unschedulable": None}})
    homeport.settle()
    assert taints(homeport, "node-1") == set()


def test_pods_bear_a_lost_node_for_five_minutes_unless_they_say_otherwise(homeport: SimulatedCluster) -> None:
    create(homeport, pod("usual"))
    patient = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    create(homeport, pod("patient", tolerations=[patient]))
    tolerations = homeport.get("pod/usual")["spec"]["tolerations"]
    assert {(one["key"].removeprefix("node.kubernetes.io/"), one["tolerationSeconds"]) for one in tolerations} == {
        ("not-ready", 300),
        ("unreachable", 300),
    }
    kept = [one for one in homeport.get("pod/patient")["spec"]["tolerations"] if "unreachable" in one["key"]]
    assert kept == [patient]


def test_pods_of_a_node_that_is_no_more_fail_and_go(homeport: SimulatedCluster) -> None:
    create(homeport, pod("p"))
    homeport.settle()
    node = homeport.pods["p"].node
    homeport.patch("pod/p", {"metadata": {"finalizers": ["example.com/hold"]}})
    homeport.nodes[node].lose()
    homeport.delete(f"node/{node}")
    homeport.advance(seconds=30)
    assert "deletionTimestamp" not in homeport.get("pod/p")["metadata"]
    homeport.advance(seconds=40)
    tree = homeport.get("pod/p")
    told = condition(tree, "DisruptionTarget")
    assert (tree["status"]["phase"], "deletionTimestamp" in tree["metadata"]) == ("Failed", True)
    assert (told["reason"], told["message"]) == ("DeletionByPodGC", "PodGC: node no longer exists")


def test_a_pod_that_never_had_a_place_goes_when_deleted(homeport: SimulatedCluster) -> None:
    create(homeport, pod("p", nodeSelector={"disk": "none"}, terminationGracePeriodSeconds=30))
    homeport.settle()
    homeport.delete("pod/p")
    homeport.wait("pod/p", gone=True, timeout=30)
