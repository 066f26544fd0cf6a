"""Silent nodes, their taints, the patience of pods, and pods nobody will finish."""

from typing import Any

import pytest

from homeport.controllers.nodes.eviction import patience
from homeport.controllers.nodes.health import (
    NOT_READY,
    Condition,
    Node,
    Taint,
    deadline,
    eviction_interval,
    silenced,
    taints_for,
)
from homeport.controllers.nodes.podgc import doomed


def node(ready: str = "True", *taints: Taint, unschedulable: bool = False, **more: str) -> Node:
    conditions = [Condition("Ready", ready, since="t0")] if ready else []
    conditions += [Condition(kind, status) for kind, status in more.items()]
    return Node("n", "u", "created", unschedulable, taints, tuple(conditions))


def test_a_node_that_never_spoke_is_given_longer() -> None:
    assert deadline(100.0, node()) == 150.0
    assert deadline(100.0, node("")) == 160.0


def test_silence_makes_everything_unknown_once() -> None:
    changed = {c.type: c for c in silenced(node("True", MemoryPressure="False"), "now")}
    assert set(changed) == {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}
    assert (changed["Ready"].reason, changed["Ready"].since) == ("NodeStatusUnknown", "now")
    assert changed["DiskPressure"].reason == "NodeStatusNeverUpdated"
    unknown = dict.fromkeys(("MemoryPressure", "DiskPressure", "PIDPressure"), "Unknown")
    assert silenced(node("Unknown", **unknown), "now") == ()


@pytest.mark.parametrize(
    ("given", "may_evict", "expected"),
    [
        (node(), False, None),
        (node("False"), False, {(NOT_READY, "NoSchedule")}),
        (
            node("Unknown"),
            True,
            {("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")},
        ),
        (node("True", DiskPressure="True"), False, {("node.kubernetes.io/disk-pressure", "NoSchedule")}),
        (node(unschedulable=True), False, {("node.kubernetes.io/unschedulable", "NoSchedule")}),
        (
            node("True", Taint(NOT_READY, "NoSchedule"), Taint("a", "NoSchedule")),
            False,
            {("a", "NoSchedule")},
        ),
    ],
)
def test_taints_say_what_conditions_say(given: Node, may_evict: bool, expected: set[tuple[str, str]] | None) -> None:
    taints = taints_for(given, may_evict=may_evict, now="now")
    assert (None if taints is None else {(taint.key, taint.effect) for taint in taints}) == expected


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], 0.0),
        ([{"operator": "Exists"}], None),
        ([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}], 300.0),
        ([{"operator": "Exists", "tolerationSeconds": 300}, {"operator": "Exists", "tolerationSeconds": 5}], 300.0),
        ([{"operator": "Exists"}, {"operator": "Exists", "tolerationSeconds": 5}], None),
        ([{"key": "l", "operator": "Exists", "tolerationSeconds": 5}, {"key": "k", "operator": "Exists"}], 5.0),
        ([{"key": "l", "operator": "Exists", "tolerationSeconds": 5}], 0.0),
        ([{"key": "k", "value": "other"}], 0.0),
        ([{"operator": "Exists", "tolerationSeconds": -7}], 0.0),
    ],
)
def test_the_first_toleration_of_each_taint_counts_and_the_least_patient_of_them_decides(
    tolerations: list[dict[str, Any]], expected: float | None
) -> None:
    taints = [Taint("k", "NoExecute"), Taint("z", "NoSchedule")]
    if any(toleration.get("key") == "l" for toleration in tolerations):
        taints.append(Taint("l", "NoExecute"))
    assert patience(tolerations, taints) == expected


@pytest.mark.parametrize(
    ("ready", "unready", "interval"),
    [
        (1, 1, 10.0),
        (1, 2, 10.0),  # two are few
        (3, 3, 10.0),
        (2, 3, None),
        (1, 9, None),
        (0, 9, 10.0),  # its zone is gone: others go on
        (20, 31, 100.0),
        (30, 31, 10.0),
    ],
)
def test_where_most_of_a_zone_is_unready_evictions_stop(ready: int, unready: int, interval: float | None) -> None:
    assert eviction_interval([True] * ready + [False] * unready) == interval


def pod(name: str, node_name: str = "", phase: str = "Running", **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ns", **metadata},
        "spec": {"nodeName": node_name},
        "status": {"phase": phase},
    }


def test_pods_nobody_will_finish() -> None:
    well = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    out = {
        "metadata": {"name": "out"},
        "spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]},
        "status": {"conditions": [{"type": "Ready", "status": "False"}]},
    }
    pods = [
        pod("runs", "n"),
        pod("going", "n", deletionTimestamp="t"),
        pod("lost", "gone"),
        pod("never", "", deletionTimestamp="t"),
        pod("stuck", "out", deletionTimestamp="t"),
        pod("old", "n", "Failed", creationTimestamp="1"),
        pod("new", "n", "Succeeded", creationTimestamp="2"),
    ]
    found = doomed(pods, {"n": well, "out": out}, ["gone"], limit=1)
    assert [entry.pod["metadata"]["name"] for entry in found] == ["lost", "never", "stuck", "old"]
