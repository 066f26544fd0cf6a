"""Ready or not, and what is waited for."""

from typing import Any

import pytest

from homeport.client.readiness import Verdict, pod_trouble, verdict


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
        ({"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}}, False),
        ({"kind": "Service", "metadata": {"name": "web"}, "spec": {}}, True),
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


def service(**spec: Any) -> dict[str, Any]:
    spec = {"selector": {"app": "web"}, "ipFamilies": ["IPv4"], **spec}
    return {"kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def member(number: int, *, ready: bool = True, addresses: int = 1, phase: str = "Running", **metadata: Any) -> Any:
    """A pod `web-N` of the Service, with its first, or both, of the addresses 10.0.0.N and fd00::N."""
    known = [{"ip": f"10.0.0.{number}"}, {"ip": f"fd00::{number}"}][:addresses]
    status = {"phase": phase, "podIPs": known, "conditions": READY if ready else []}
    if known:
        status["podIP"] = known[0]["ip"]
    return {
        "metadata": {
            "name": f"web-{number}", "namespace": "default", "uid": f"u{number}", "labels": {"app": "web", "x": "y"},
            **metadata,
        },
        "status": status,
    }  # fmt: skip


def slice_of(*numbers: int, ready: bool | None = True, family: int = 4) -> dict[str, Any]:
    entries = [
        {
            "addresses": [f"10.0.0.{number}" if family == 4 else f"fd00::{number}"],
            "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "name": f"web-{number}", "uid": f"u{number}"},
        }
        for number in numbers
    ]
    return {"addressType": f"IPv{family}", "endpoints": entries}


BOTH = ["IPv4", "IPv6"]


@pytest.mark.parametrize(
    ("judged", "pods", "slices", "waits_for", "progress"),
    [
        (service(), [], [], "", ""),
        (service(), [member(1), member(2)], [slice_of(1)], "web-2 in its EndpointSlices", "1/2"),
        (service(), [member(1), member(2)], [slice_of(1), slice_of(2)], "", "2/2"),
        (service(), [member(1)], [slice_of(1, ready=None)], "", "1/1"),
        (service(), [member(1)], [slice_of(1, ready=False)], "web-1 in its EndpointSlices", "0/1"),
        (service(), [member(1, ready=False)], [], "", ""),
        (service(publishNotReadyAddresses=True), [member(1, ready=False)], [], "web-1 in its EndpointSlices", "0/1"),
        (service(publishNotReadyAddresses=True), [member(1, ready=False, addresses=0)], [], "", ""),
        (service(clusterIP="None"), [member(1)], [], "web-1 in its EndpointSlices", "0/1"),
        (service(selector=None), [member(1)], [], "", ""),
        (service(selector={"app": "other"}), [member(1)], [], "", ""),
        (service(type="ExternalName"), [member(1)], [], "", ""),
        (service(), [member(1, deletionTimestamp="2026-01-01T00:00:00Z"), member(2, phase="Failed")], [], "", ""),
        (service(), [member(1, namespace="other")], [], "", ""),
        (service(ipFamilies=BOTH), [member(1, addresses=2)], [slice_of(1)], "web-1 in its EndpointSlices", "0/1"),
        (service(ipFamilies=BOTH), [member(1, addresses=2)], [slice_of(1), slice_of(1, family=6)], "", "1/1"),
        (service(ipFamilies=BOTH), [member(1)], [slice_of(1)], "", "1/1"),
        (service(ipFamilies=["IPv6"]), [member(1, addresses=2)], [slice_of(1, family=6)], "", "1/1"),
        (service(), [member(1, uid="anew")], [slice_of(1)], "web-1 in its EndpointSlices", "0/1"),
        (service(type="LoadBalancer"), [member(1)], [slice_of(1)], "an address from a load balancer", "1/1"),
    ],
)
def test_a_service_waits_for_its_ready_pods_to_be_listed(
    judged: dict[str, Any], pods: list[Any], slices: list[Any], waits_for: str, progress: str
) -> None:
    assert verdict(judged, pods, slices) == Verdict(not waits_for, waits_for, progress)
