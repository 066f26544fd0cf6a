"""Lost nodes and tainted ones in a simulated cluster (workloads 15)."""

from collections.abc import Iterator
from typing import Any

import pytest

from homeport.testing.cluster import SimulatedCluster


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(seed=4, nodes=2)
    yield made
    made.close()


def workload(kind: str, tolerations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": "web:1"}], "tolerations": tolerations or []}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = "x"
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def taint(cluster: SimulatedCluster, node: str, *taints: dict[str, str]) -> None:
    cluster.patch(f"node/{node}", {"spec": {"taints": list(taints)}})


def test_a_lost_node_is_told_and_its_pods_turn_unready(cluster: SimulatedCluster) -> None:
    cluster.apply(workload("StatefulSet"))
    cluster.wait("statefulset/x", ready=1)
    node = cluster.pods["x-0"].node
    cluster.nodes[node].lose()
    cluster.advance(seconds=70)
    assert not cluster.nodes[node].ready
    assert not cluster.pods["x-0"].ready
    assert [event.reason for event in cluster.events("pod/x-0")][-1] == "NodeNotReady"
    assert "NodeNotReady" in [event.reason for event in cluster.events(f"node/{node}")]


def test_an_out_of_service_node_gives_its_pods_up(cluster: SimulatedCluster) -> None:
    cluster.apply(workload("StatefulSet"))
    cluster.wait("statefulset/x", ready=1)
    node, uid = cluster.pods["x-0"].node, cluster.pods["x-0"].uid
    cluster.nodes[node].lose()
    cluster.advance(minutes=15)
    assert cluster.pods["x-0"].uid == uid
    assert "deletionTimestamp" in cluster.pods["x-0"].object["metadata"]
    present = cluster.get(f"node/{node}")["spec"].get("taints") or ()
    out = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
    taint(cluster, node, *present, out)
    cluster.advance(seconds=60)
    assert cluster.pods["x-0"].uid != uid
    assert cluster.pods["x-0"].node != node
    assert cluster.pods["x-0"].ready


def test_pods_of_a_node_that_is_gone_are_collected(cluster: SimulatedCluster) -> None:
    cluster.apply(workload("StatefulSet"))
    cluster.wait("statefulset/x", ready=1)
    node, uid = cluster.pods["x-0"].node, cluster.pods["x-0"].uid
    cluster.nodes[node].lose()
    cluster.delete(f"node/{node}")
    cluster.advance(seconds=100)
    assert cluster.pods["x-0"].uid != uid


@pytest.mark.parametrize(
    ("tolerations", "stays_seconds"),
    [
        ([], 0),
        ([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}], 30),
        (
            [
                {"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute", "tolerationSeconds": 20},
                {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 90},
            ],
            20,
        ),
    ],
)
def test_how_long_a_taint_is_borne(
    cluster: SimulatedCluster, tolerations: list[dict[str, Any]], stays_seconds: int
) -> None:
    cluster.apply(workload("Deployment", tolerations))
    cluster.wait("deployment/x")
    (pod,) = cluster.pods
    taint(cluster, pod.node, {"key": "k", "value": "v", "effect": "NoExecute"})
    if stays_seconds:
        cluster.advance(seconds=stays_seconds - 5)
        assert "deletionTimestamp" not in pod.object["metadata"]
        cluster.advance(seconds=10)
    else:
        cluster.advance(seconds=5)
    assert not pod.exists or "deletionTimestamp" in pod.object["metadata"]
    messages = [event.message for event in cluster.events(f"pod/{pod.name}") if event.reason == "TaintManagerEviction"]
    assert messages == [f"Marking for deletion Pod default/{pod.name}"]


def test_a_second_taint_that_is_not_borne_ends_the_patience(cluster: SimulatedCluster) -> None:
    patient = {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    cluster.apply(workload("Deployment", [patient]))
    cluster.wait("deployment/x")
    (pod,) = cluster.pods
    taint(cluster, pod.node, {"key": "k", "effect": "NoExecute"})
    cluster.advance(seconds=10)
    taint(cluster, pod.node, {"key": "k", "effect": "NoExecute"}, {"key": "l", "effect": "NoExecute"})
    cluster.advance(seconds=5)
    told = [event.message for event in cluster.events(f"pod/{pod.name}") if event.reason == "TaintManagerEviction"]
    assert told == [
        f"Cancelling deletion of Pod default/{pod.name}",
        f"Marking for deletion Pod default/{pod.name}",
    ]


def test_nodes_are_registered_and_removed(cluster: SimulatedCluster) -> None:
    cluster.settle()
    (node, *_) = sorted(node["metadata"]["name"] for node in cluster.list("node"))
    cluster.nodes[node].lose()
    cluster.delete(f"node/{node}")
    cluster.settle()
    told = {event.reason: event.message for event in cluster.events(f"node/{node}")}
    assert told["RegisteredNode"] == f"Node {node} event: Registered Node {node} in Controller"
    assert told["RemovingNode"] == f"Node {node} event: Removing Node {node} from Controller"


def test_a_taint_taken_away_in_time_cancels(cluster: SimulatedCluster) -> None:
    patient = {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    cluster.apply(workload("Deployment", [patient]))
    cluster.wait("deployment/x")
    (pod,) = cluster.pods
    taint(cluster, pod.node, {"key": "k", "effect": "NoExecute"})
    cluster.advance(seconds=30)
    taint(cluster, pod.node)
    cluster.advance(minutes=5)
    assert pod.exists
    assert pod.ready
    assert cluster.events(f"pod/{pod.name}")[-1].message == f"Cancelling deletion of Pod default/{pod.name}"


def test_nothing_is_evicted_when_no_node_is_well(cluster: SimulatedCluster) -> None:
    cluster.apply(workload("Deployment"))
    cluster.wait("deployment/x")
    (pod,) = cluster.pods
    for node in cluster.nodes:
        node.lose()
    cluster.advance(minutes=30)
    effects = {
        (each["key"], each["effect"]) for node in cluster.list("node") for each in node["spec"].get("taints") or ()
    }
    assert effects == {("node.kubernetes.io/unreachable", "NoSchedule")}
    assert "deletionTimestamp" not in pod.object["metadata"]
