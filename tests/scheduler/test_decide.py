"""Where a pod goes, and the exact words when it goes nowhere."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from homeport.scheduler.claims import ClaimView, decode_claim, decode_storage_class, decode_volume
from homeport.scheduler.codec import decode_node, decode_pod
from homeport.scheduler.decide import Placement, Unschedulable, decide
from homeport.scheduler.model import NodeState, Snapshot

NOTHING = ClaimView((), {}, {})
UNHELPFUL = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
NO_VICTIMS = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."


def node(name: str = "n1", *, taints: Any = (), unschedulable: bool = False, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "3"}},
    }


def pod(name: str = "p", *, cpu: str = "", labels: Mapping[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "a"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    if "ports" in spec:
        container["ports"] = spec.pop("ports")
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": dict(labels or {})},
        "spec": {"containers": [container], **spec},
    }


def snapshot(*nodes: Mapping[str, Any], pods: Mapping[str, list[dict[str, Any]]] | None = None) -> Snapshot:
    states = {}
    for raw in nodes:
        state = NodeState(decode_node(raw))
        for other in (pods or {}).get(state.node.name, ()):
            state = state.with_pod(decode_pod(other))
        states[state.node.name] = state
    return Snapshot(states, {"ns": {}})


def outcome(raw: dict[str, Any], cluster: Snapshot, claims: ClaimView = NOTHING) -> Placement | Unschedulable:
    return decide(decode_pod(raw), cluster, claims, random.Random(1))


def spread(**more: Any) -> dict[str, Any]:
    return {
        "topologyKey": "zone",
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "x"}},
        **more,
    }


def apart(selector: Mapping[str, str]) -> dict[str, Any]:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def near(selector: Mapping[str, str]) -> dict[str, Any]:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": selector}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("raw", "cluster", "message"),
    [
        (pod(cpu="3"), snapshot(node()), f"0/1 nodes are available: 1 Insufficient cpu. {UNHELPFUL}"),
        (
            pod(cpu="1500m"),
            snapshot(node(), pods={"n1": [pod("a", cpu="1")]}),
            f"0/1 nodes are available: 1 Insufficient cpu. {NO_VICTIMS}",
        ),
        (
            pod(cpu="1500m"),
            snapshot(node(), pods={"n1": [pod("a", cpu="1"), pod("b"), pod("c")]}),
            f"0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. {NO_VICTIMS}",
        ),
        (
            pod(nodeSelector={"disk": "ssd"}),
            snapshot(node()),
            f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {UNHELPFUL}",
        ),
        (
            pod(),
            snapshot(node(taints=[TAINT])),
            f"0/1 nodes are available: 1 node(s) had untolerated taint(s). {UNHELPFUL}",
        ),
        (
            pod(),
            snapshot(node(unschedulable=True)),
            f"0/1 nodes are available: 1 node(s) were unschedulable. {UNHELPFUL}",
        ),
        (
            pod(ports=[{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}]),
            snapshot(node(), pods={"n1": [pod("a", ports=[{"containerPort": 80, "hostPort": 80}])]}),
            f"0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {NO_VICTIMS}",
        ),
        (
            pod(labels={"app": "x"}, affinity=apart({"app": "x"})),
            snapshot(node(), pods={"n1": [pod("a", labels={"app": "x"})]}),
            f"0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. {NO_VICTIMS}",
        ),
        (
            pod(labels={"app": "x"}),
            snapshot(node(), pods={"n1": [pod("a", affinity=apart({"app": "x"}))]}),
            f"0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules. {NO_VICTIMS}",
        ),
        (
            pod(affinity=near({"app": "x"})),
            snapshot(node()),
            f"0/1 nodes are available: 1 node(s) didn't match pod affinity rules. {UNHELPFUL}",
        ),
        (
            pod(topologySpreadConstraints=[spread()]),
            snapshot(node()),
            "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label). "
            + UNHELPFUL,
        ),
        (pod(), snapshot(), "no nodes available to schedule pods"),
        (
            pod(cpu="3", preemptionPolicy="Never"),
            snapshot(node()),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
        ),
        (
            pod(),
            snapshot(node("n1", taints=[TAINT]), node("n2", taints=[TAINT]), node("n3", unschedulable=True)),
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s). "
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
    ],
)
def test_why_a_pod_goes_nowhere(raw: dict[str, Any], cluster: Snapshot, message: str) -> None:
    found = outcome(raw, cluster)
    assert isinstance(found, Unschedulable)
    assert found.message == message


@pytest.mark.parametrize(
    ("raw", "cluster", "expected"),
    [
        (pod(), snapshot(node()), "n1"),
        (pod(tolerations=[{"key": "k", "operator": "Exists"}]), snapshot(node(taints=[TAINT])), "n1"),
        (pod(), snapshot(node("n1"), node("n2"), pods={"n1": [pod("a", cpu="1")]}), "n2"),
        (pod(nodeSelector={"disk": "ssd"}), snapshot(node("n1"), node("n2", disk="ssd")), "n2"),
        (pod(labels={"app": "x"}, affinity=near({"app": "x"})), snapshot(node()), "n1"),
        (
            pod(affinity=near({"app": "x"})),
            snapshot(node("n1"), node("n2"), pods={"n2": [pod("a", labels={"app": "x"}, cpu="1900m")]}),
            "n2",
        ),
        (
            pod(labels={"app": "x"}, topologySpreadConstraints=[spread()]),
            snapshot(node("n1", zone="a"), node("n2", zone="b"), pods={"n1": [pod("a", labels={"app": "x"})]}),
            "n2",
        ),
        (
            pod(
                affinity={
                    "nodeAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {
                                "weight": 10,
                                "preference": {
                                    "matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]
                                },
                            }
                        ]
                    }
                }
            ),
            snapshot(node("n1"), node("n2", disk="ssd")),
            "n2",
        ),
        (
            pod(),
            snapshot(node("n1", taints=[{"key": "k", "effect": "PreferNoSchedule"}]), node("n2")),
            "n2",
        ),
    ],
)
def test_where_a_pod_goes(raw: dict[str, Any], cluster: Snapshot, expected: str) -> None:
    found = outcome(raw, cluster)
    assert isinstance(found, Placement)
    assert found.node == expected


def test_equal_nodes_are_chosen_by_lot() -> None:
    cluster = snapshot(node("n1"), node("n2"))
    chosen = {
        found.node
        for seed in range(20)
        if isinstance(found := decide(decode_pod(pod()), cluster, NOTHING, random.Random(seed)), Placement)
    }
    assert chosen == {"n1", "n2"}


def test_the_least_important_pods_yield() -> None:
    running = [pod("low", cpu="1", priority=1), pod("lower", cpu="1", priority=0)]
    found = outcome(pod(cpu="1", priority=10), snapshot(node(), pods={"n1": running}))
    assert isinstance(found, Unschedulable)
    assert found.eviction is not None
    assert [victim.name for victim in found.eviction.victims] == ["lower"]
    assert found.message == "0/1 nodes are available: 1 Insufficient cpu."


def claim(name: str = "data", **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ns", "uid": "claim-uid", **changes.pop("metadata", {})},
        "spec": {
            "storageClassName": "wait",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **changes.pop("spec", {}),
        },
        "status": {"phase": "Pending", **changes},
    }


def volume(on: str, **metadata: Any) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}
    return {
        "metadata": {"name": "v", **metadata},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "wait",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
        "status": {"phase": "Available"},
    }


def view(raw: dict[str, Any] | None, *volumes: dict[str, Any], provisioner: str = "example.com/p") -> ClaimView:
    wait = {"metadata": {"name": "wait"}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}
    return ClaimView(
        (("data", decode_claim(raw) if raw else None),),
        {v["metadata"]["name"]: decode_volume(v) for v in volumes},
        {"wait": decode_storage_class(wait)},
    )


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (view(None), 'persistentvolumeclaim "data" not found'),
        (view(claim(metadata={"deletionTimestamp": "t"})), 'persistentvolumeclaim "data" is being deleted'),
        (view(claim(spec={"storageClassName": "now"})), "pod has unbound immediate PersistentVolumeClaims"),
        (
            view(claim(), provisioner="kubernetes.io/no-provisioner"),
            "1 node(s) didn't find available persistent volumes to bind",
        ),
        (
            view(
                claim(metadata={"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, spec={"volumeName": "v"}),
                volume("elsewhere"),
            ),
            "1 node(s) didn't match PersistentVolume's node affinity",
        ),
    ],
)
def test_claims_in_the_way(claims: ClaimView, reason: str) -> None:
    found = outcome(pod(), snapshot(node()), claims)
    assert isinstance(found, Unschedulable)
    assert found.message == f"0/1 nodes are available: {reason}. {UNHELPFUL}"


def test_a_claim_is_provisioned_or_bound_to_a_volume_of_the_node() -> None:
    static = view(claim(), volume("n2"), provisioner="kubernetes.io/no-provisioner")
    found = outcome(pod(), snapshot(node("n1"), node("n2")), static)
    assert isinstance(found, Placement)
    (binding,) = found.bindings
    assert found.node == "n2"
    assert binding.volume is not None
    found = outcome(pod(), snapshot(node("n1")), view(claim()))
    assert isinstance(found, Placement)
    assert [binding.volume for binding in found.bindings] == [None]
