"""Autoscalers in a simulated cluster: from what pods use to how many there are."""

from collections.abc import Iterator
from typing import Any

import pytest

from homeport.api.resources import METRICS
from homeport.testing.cluster import SimulatedCluster

NODE_METRICS, POD_METRICS = METRICS


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(seed=11)
    yield made
    made.close()


def workload(kind: str = "Deployment", replicas: int = 1, requests: dict[str, str] | None = None) -> dict[str, Any]:
    amounts = {"cpu": "100m"} if requests is None else requests
    container = {"name": "c", "image": "web:1", "resources": {"requests": amounts}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    core = kind == "ReplicationController"
    selector = {"app": "web"} if core else {"matchLabels": {"app": "web"}}
    spec: dict[str, Any] = {"replicas": replicas, "selector": selector, "template": template}
    if kind == "StatefulSet":
        spec |= {"serviceName": "web", "podManagementPolicy": "Parallel"}
    return {"apiVersion": "v1" if core else "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}


def autoscaler(kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    target = {"apiVersion": version, "kind": kind, "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"maxReplicas": 6, "scaleTargetRef": target, **spec},
    }


def everyone_uses(cluster: SimulatedCluster, cpu: str, seconds: int) -> None:
    """Let every pod, those to come included, use so much for a while."""
    for _ in range(seconds // 15):
        for pod in list(cluster.pods):
            pod.use(cpu=cpu, memory="64Mi")
        cluster.advance(seconds=15)


def replicas(cluster: SimulatedCluster, kind: str = "deployment") -> int:
    found: int = cluster.get(f"{kind}/web")["spec"]["replicas"]
    return found


def conditions(cluster: SimulatedCluster) -> dict[str, tuple[str, str]]:
    listed = cluster.get("hpa/web")["status"].get("conditions") or ()
    return {each["type"]: (each["status"], each["reason"]) for each in listed}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"])
def test_load_comes_and_goes(cluster: SimulatedCluster, kind: str) -> None:
    cluster.apply([workload(kind), autoscaler(kind)])
    cluster.wait(f"{kind.lower()}/web", ready=1)
    everyone_uses(cluster, "200m", 120)
    assert replicas(cluster, kind.lower()) == 6
    assert conditions(cluster)["ScalingLimited"] == ("True", "TooManyReplicas")
    everyone_uses(cluster, "10m", 240)
    assert replicas(cluster, kind.lower()) == 6
    assert conditions(cluster)["AbleToScale"] == ("True", "ScaleDownStabilized")
    everyone_uses(cluster, "10m", 240)
    assert replicas(cluster, kind.lower()) == 1
    messages = [event.message for event in cluster.events("hpa/web") if event.reason == "SuccessfulRescale"]
    assert messages[0].endswith("; reason: cpu resource utilization (percentage of request) above target")
    assert messages[-1] == "New size: 1; reason: All metrics below target"


def test_a_policy_paces_the_way_down(cluster: SimulatedCluster) -> None:
    policies = [{"type": "Pods", "value": 1, "periodSeconds": 60}]
    down = {"stabilizationWindowSeconds": 0, "policies": policies}
    cluster.apply([workload(replicas=4), autoscaler(behavior={"scaleDown": down})])
    cluster.wait("deployment/web", ready=4)
    everyone_uses(cluster, "1m", 45)
    assert replicas(cluster) == 3
    assert conditions(cluster)["ScalingLimited"] == ("True", "ScaleDownLimit")
    everyone_uses(cluster, "1m", 60)
    assert replicas(cluster) == 2


def test_bounds_are_restored_without_metrics(cluster: SimulatedCluster) -> None:
    cluster.apply([workload(replicas=9), autoscaler(minReplicas=2)])
    cluster.advance(seconds=20)
    assert replicas(cluster) == 6
    cluster.scale("deployment/web", 1)
    cluster.advance(seconds=20)
    assert replicas(cluster) == 2
    messages = [event.message for event in cluster.events("hpa/web")]
    assert messages == [
        "New size: 6; reason: Current number of replicas above Spec.MaxReplicas",
        "New size: 2; reason: Current number of replicas below Spec.MinReplicas",
    ]


def test_a_target_set_to_nothing_stays_so(cluster: SimulatedCluster) -> None:
    cluster.apply([workload(replicas=0), autoscaler()])
    cluster.advance(seconds=40)
    assert (replicas(cluster), conditions(cluster)["ScalingActive"]) == (0, ("False", "ScalingDisabled"))


def test_without_requests_there_is_no_share(cluster: SimulatedCluster) -> None:
    cluster.apply([workload(requests={}), autoscaler()])
    cluster.wait("deployment/web")
    everyone_uses(cluster, "200m", 60)
    assert (replicas(cluster), conditions(cluster)["ScalingActive"]) == (1, ("False", "FailedGetResourceMetric"))
    reasons = {event.reason for event in cluster.events("hpa/web")}
    assert reasons == {"FailedGetResourceMetric", "FailedComputeMetricsReplicas"}


def test_a_target_that_is_not_there(cluster: SimulatedCluster) -> None:
    cluster.apply(autoscaler())
    cluster.advance(seconds=20)
    assert conditions(cluster) == {"AbleToScale": ("False", "FailedGetScale")}
    (event,) = cluster.events("hpa/web")
    assert (event.reason, event.message) == ("FailedGetScale", 'deployments.apps "web" not found')


def test_two_autoscalers_of_the_same_pods_are_told_so(cluster: SimulatedCluster) -> None:
    other = autoscaler()
    other["metadata"] = {"name": "other"}
    cluster.apply([workload(), autoscaler(), other])
    cluster.wait("deployment/web")
    everyone_uses(cluster, "200m", 60)
    assert conditions(cluster)["ScalingActive"] == ("False", "AmbiguousSelector")
    assert "controlled by multiple HPAs: [default/other default/web]" in cluster.events("hpa/web")[-1].message


def test_a_node_that_is_cut_off_takes_its_figures_along(cluster: SimulatedCluster) -> None:
    cluster.apply([workload(), autoscaler()])
    cluster.wait("deployment/web")
    everyone_uses(cluster, "80m", 60)
    (pod,) = cluster.pods
    cluster.nodes[pod.node].cut()
    cluster.advance(minutes=3)
    assert replicas(cluster) == 1
    assert conditions(cluster)["ScalingActive"] == ("False", "FailedGetResourceMetric")


def test_what_the_metrics_api_tells(cluster: SimulatedCluster) -> None:
    cluster.apply(workload())
    cluster.wait("deployment/web")
    (pod,) = cluster.pods
    pod.use(cpu="250m", memory="64Mi")
    cluster.advance(seconds=30)
    client = cluster.simulation.client("test")
    (found,) = cluster.run(client.list(POD_METRICS, "default", label_selector="app=web")).items
    assert found["containers"] == [{"name": "c", "usage": {"cpu": "250m", "memory": "64Mi"}}]
    assert found["metadata"]["labels"]["app"] == "web"
    assert not cluster.run(client.list(POD_METRICS, "default", label_selector="app=other")).items
    assert not cluster.run(client.list(POD_METRICS, "kube-system")).items
    assert cluster.run(client.get(POD_METRICS, "default", pod.name))["window"] == found["window"]
    nodes = {each["metadata"]["name"]: each["usage"] for each in cluster.run(client.list(NODE_METRICS)).items}
    assert nodes[pod.node] == {"cpu": "250m", "memory": "64Mi"}
