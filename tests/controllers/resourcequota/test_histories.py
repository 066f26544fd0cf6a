"""Quotas in a simulated cluster: charged at creation, given back when things go, told to those who are refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.errors import AlreadyExists, Forbidden
from homeport.testing.behaviour import Ending
from homeport.testing.cluster import SimulatedCluster


@pytest.fixture
def cluster() -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(seed=5, nodes=1)
    yield made
    made.close()


def quota(**hard: str) -> dict[str, Any]:
    named = {name.replace("__", "/").replace("_", "."): amount for name, amount in hard.items()}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": named}}


def workload(kind: str, replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}
    group = "v1" if kind == "ReplicationController" else "apps/v1"
    selector = {"app": "x"} if kind == "ReplicationController" else {"matchLabels": {"app": "x"}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "w"}, "spec": spec}


def used(cluster: SimulatedCluster) -> dict[str, str]:
    found: dict[str, str] = cluster.get("resourcequota/q")["status"]["used"]
    return found


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_a_failure_condition_surfaces_and_goes(cluster: SimulatedCluster, kind: str) -> None:
    cluster.apply(quota(pods="2"))
    cluster.advance(seconds=2)
    cluster.apply(workload(kind, 3))
    cluster.advance(seconds=10)
    (condition,) = cluster.get(f"{kind.lower()}/w")["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
    assert condition["message"].endswith(
        "is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    )
    cluster.patch(f"{kind.lower()}/w", {"spec": {"replicas": 2}})
    cluster.advance(minutes=20)
    assert not cluster.get(f"{kind.lower()}/w")["status"].get("conditions")


def test_a_deployment_tells_of_its_quota(cluster: SimulatedCluster) -> None:
    cluster.apply(quota(pods="1"))
    cluster.advance(seconds=2)
    cluster.apply(workload("Deployment", 2))
    cluster.advance(seconds=10)
    conditions = {each["type"]: each for each in cluster.get("deployment/w")["status"]["conditions"]}
    assert conditions["ReplicaFailure"]["reason"] == "FailedCreate"
    assert "exceeded quota: q" in conditions["ReplicaFailure"]["message"]


def test_what_is_gone_is_given_back(cluster: SimulatedCluster) -> None:
    cluster.apply(quota(pods="5", count__replicasets_apps="1"))
    cluster.advance(seconds=2)
    cluster.apply(workload("ReplicaSet", 3))
    cluster.advance(seconds=10)
    assert used(cluster) == {"count/replicasets.apps": "1", "pods": "3"}
    cluster.delete("replicaset/w")
    cluster.advance(minutes=2)
    assert used(cluster) == {"count/replicasets.apps": "0", "pods": "0"}


def test_a_stateful_set_waits_for_room(cluster: SimulatedCluster) -> None:
    cluster.apply(quota(pods="1"))
    cluster.advance(seconds=2)
    spec = workload("StatefulSet", 2)
    spec["spec"]["serviceName"] = "w"
    cluster.apply(spec)
    cluster.advance(minutes=2)
    assert [pod.name for pod in cluster.pods] == ["w-0"]
    assert any("exceeded quota" in event.message for event in cluster.events("statefulset/w"))
    cluster.patch("resourcequota/q", {"spec": {"hard": {"pods": "2"}}})
    cluster.wait("statefulset/w", ready=2, timeout=1200.0)


def test_a_charge_for_what_never_came_is_corrected(cluster: SimulatedCluster) -> None:
    cluster.apply(quota(configmaps="9"))
    cluster.advance(seconds=2)
    before = used(cluster)
    taken = {"metadata": {"name": "kube-root-ca.crt", "namespace": "default"}}
    with pytest.raises(AlreadyExists):
        cluster.run(cluster.simulation.client("test").create(find("ConfigMap"), taken))
    assert used(cluster) != before
    cluster.advance(minutes=6)
    assert used(cluster) == before


def test_the_last_place_is_given_once(cluster: SimulatedCluster) -> None:
    cluster.apply(quota(secrets="1"))
    cluster.advance(seconds=2)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    cluster.apply(secret)
    with pytest.raises(Forbidden, match="exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"):
        cluster.apply({**secret, "metadata": {"name": "b"}})


def test_a_pod_that_was_there_before_its_quota_may_be_changed(cluster: SimulatedCluster) -> None:
    cluster.program("task:1", Ending(5))
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "task:1"}]}
    spec = {"completions": 1, "template": {"spec": pod}}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": spec})
    cluster.advance(seconds=1)
    cluster.apply(quota(requests_cpu="1"))
    cluster.advance(seconds=2)
    cluster.wait("job/j", until=lambda tree: tree["status"].get("succeeded") == 1)
    (ended,) = cluster.list("pod")
    assert "finalizers" not in ended["metadata"]
