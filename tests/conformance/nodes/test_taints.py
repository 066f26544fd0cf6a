"""Eviction by NoExecute taints: tests named after upstream's."""

from typing import Any

from tests.conformance.programs import RUN, container
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.steps import Tree, condition, eventually, gone, merge, pass_time, reasons
from tests.conformance.world import World, also_on_real_pods

TAINT = {"key": "kubernetes.io/e2e-evict-taint-key", "value": "evictTaintVal", "effect": "NoExecute"}


def pod(name: str, seconds: int | None = None, *, tolerates: bool = True, **spec: Any) -> Tree:
    """Return a pod; it tolerates the taint for so many seconds, for ever, or not at all."""
    toleration = {"key": TAINT["key"], "operator": "Equal", "value": TAINT["value"], "effect": "NoExecute"}
    if seconds is not None:
        toleration["tolerationSeconds"] = seconds
    body = {"terminationGracePeriodSeconds": 1, "containers": [container(RUN)], **spec}
    if tolerates:
        body["tolerations"] = [toleration]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"group": "taint"}}, "spec": body}


def running(world: World, *pods: Tree) -> str:
    """Create pods, the later ones where the first one went; return their node."""
    node = ""
    for tree in pods:
        if node:
            tree["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
        world.create(tree)
        name = tree["metadata"]["name"]
        eventually(world, lambda: world.ready(name))  # noqa: B023  (called at once)
        node = world.get(f"pod/{name}")["spec"]["nodeName"]
    return node


def taint(world: World, node: str) -> None:
    world.change(f"node/{node}", lambda tree: tree["spec"].setdefault("taints", []).append(TAINT))


def untaint(world: World, node: str) -> None:
    def without(tree: Tree) -> None:
        tree["spec"]["taints"] = [one for one in tree["spec"].get("taints", ()) if one["key"] != TAINT["key"]]

    world.change(f"node/{node}", without)


def test_evicts_pods_from_tainted_nodes(world: World) -> None:
    """NoExecuteTaintManager Single Pod evicts pods from tainted nodes"""
    node = running(world, pod("p", tolerates=False))
    taint(world, node)
    gone(world, "pod/p", 5)
    eventually(world, lambda: "TaintManagerEviction" in reasons(world, "pod/p"), 5)


def test_doesn_t_evict_pod_with_tolerations_from_tainted_nodes(world: World) -> None:
    """NoExecuteTaintManager Single Pod doesn't evict pod with tolerations from tainted nodes"""
    node = running(world, pod("p"))
    taint(world, node)
    world.stays(lambda: world.ready("p"), "the pod is left alone", 3600)


def test_eventually_evict_pod_with_finite_tolerations_from_tainted_nodes(world: World) -> None:
    """NoExecuteTaintManager Single Pod eventually evict pod with finite tolerations from tainted nodes"""
    node = running(world, pod("p", 60))
    taint(world, node)
    world.stays(lambda: world.ready("p"), "the pod has a minute", 59)
    gone(world, "pod/p", 5)


@also_on_real_pods
def test_removing_taint_cancels_eviction(world: World) -> None:
    """NoExecuteTaintManager Single Pod removing taint cancels eviction"""
    patience = 60 if isinstance(world, SimulatedWorld) else 2
    node = running(world, pod("p", patience))
    uid = world.get("pod/p")["metadata"]["uid"]
    taint(world, node)
    try:
        pass_time(world, patience / 2)
    finally:
        untaint(world, node)
    world.stays(lambda: world.get("pod/p")["metadata"]["uid"] == uid and world.ready("p"), "the pod stays", patience)
    eventually(world, lambda: "TaintManagerEviction" in reasons(world, "pod/p"), 5)


def test_pods_evicted_from_tainted_nodes_have_pod_disruption_condition(world: World) -> None:
    """NoExecuteTaintManager Single Pod pods evicted from tainted nodes have pod disruption condition"""
    node = running(world, pod("p", tolerates=False))
    merge(world, "pod/p", {"metadata": {"finalizers": ["example.com/hold"]}})
    taint(world, node)
    eventually(world, lambda: "deletionTimestamp" in world.get("pod/p")["metadata"], 5)
    told = condition(world.get("pod/p"), "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "DeletionByTaintManager")
    merge(world, "pod/p", {"metadata": {"finalizers": None}})


def test_only_evicts_pods_without_tolerations_from_tainted_nodes(world: World) -> None:
    """NoExecuteTaintManager Multiple Pods only evicts pods without tolerations from tainted nodes"""
    node = running(world, pod("p1", tolerates=False), pod("p2"))
    taint(world, node)
    gone(world, "pod/p1", 5)
    world.stays(lambda: world.ready("p2"), "who tolerates it stays", 600)


def test_evicts_pods_with_mintolerationseconds(world: World) -> None:
    """NoExecuteTaintManager Multiple Pods evicts pods with minTolerationSeconds"""
    node = running(world, pod("p1", 30), pod("p2", 60))
    taint(world, node)
    world.stays(lambda: world.ready("p1") and world.ready("p2"), "both are tolerated", 29)
    gone(world, "pod/p1", 5)
    world.stays(lambda: world.ready("p2"), "the second one has longer", 20)
    gone(world, "pod/p2", 15)
