"""Ready or not, and what is waited for."""

from typing import Any

import pytest

from homeport.client.readiness import pod_trouble, verdict


def replicated(kind: str, *, replicas: int = 3, generation: int = 2, spec: Any = None, **status: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "web", "generation": generation},
        "spec": {"replicas": replicas, **(spec or {})},
        "status": {"observedGeneration": 2, "replicas": replicas, **status},
    }


def pod(name: str = "web-0", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": status}


READY = [{"type": "Ready", "status": "True"}]
PARTITION = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}
ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}


@pytest.mark.parametrize(
    ("obj", "ready"),
    [
        (replicated("StatefulSet", readyReplicas=3, updatedReplicas=3), True),
        (replicated("StatefulSet", readyReplicas=2, updatedReplicas=3), False),
        (replicated("StatefulSet", readyReplicas=3, updatedReplicas=1), False),
        (replicated("StatefulSet", readyReplicas=3, updatedReplicas=1, spec=PARTITION), True),
        (replicated("StatefulSet", readyReplicas=3, spec=ON_DELETE), True),
        (replicated("StatefulSet", readyReplicas=3, updatedReplicas=3, generation=3), False),
        (replicated("StatefulSet", replicas=0), True),
        (replicated("Deployment", availableReplicas=3, updatedReplicas=3), True),
        (replicated("Deployment", readyReplicas=3, updatedReplicas=3), False),
        (replicated("ReplicaSet", readyReplicas=3), True),
        (replicated("ReplicationController", readyReplicas=2), False),
        (replicated("DaemonSet", desiredNumberScheduled=2, numberAvailable=2, updatedNumberScheduled=2), True),
        (replicated("DaemonSet", desiredNumberScheduled=2, numberAvailable=1, updatedNumberScheduled=2), False),
        (replicated("DaemonSet", desiredNumberScheduled=2, numberAvailable=2, updatedNumberScheduled=1), False),
        (replicated("DaemonSet", desiredNumberScheduled=2, numberAvailable=2, spec=ON_DELETE), True),
        ({"kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}}, False),
        ({"kind": "Service", "spec": {"type": "LoadBalancer"}}, False),
        ({"kind": "Service", "spec": {}}, True),
        ({"kind": "ConfigMap"}, True),
    ],
)
def test_verdicts(obj: dict[str, Any], ready: bool) -> None:
    judged = verdict(obj)
    assert judged.ready is ready
    assert bool(judged.waits_for) is not ready


def test_the_lowest_troubled_ordinal_is_named() -> None:
    waiting = {"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}
    pods = [pod("web-10", phase="Pending"), pod("web-2", containerStatuses=[waiting])]
    obj = replicated("StatefulSet", readyReplicas=1)
    assert verdict(obj, pods).waits_for == "pod web-2: container c: ErrImagePull: no such host"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"conditions": READY}, ""),
        ({"phase": "Succeeded"}, ""),
        ({"phase": "Failed", "reason": "Evicted"}, "failed: Evicted"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]},
            "not scheduled: 0/1 nodes",
        ),
        (
            {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]},
            "container c: ended with exit code 3 (Error)",
        ),
        (
            {"containerStatuses": [{"name": "c", "state": {"running": {}}, "ready": False}]},
            "container c: running, its readiness probe has not succeeded yet",
        ),
        ({}, "starting"),
    ],
)
def test_what_keeps_a_pod(status: dict[str, Any], said: str) -> None:
    assert pod_trouble(pod(**status)) == said
