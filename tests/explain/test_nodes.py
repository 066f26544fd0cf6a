"""What a node waits for."""

from typing import Any

import pytest

from homeport.explain.nodes import explain_node


def node(
    status: str = "True", name: str = "node-1", *, reason: str = "", spec: Any = None, **more: Any
) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": reason, "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
    pressure = {"type": "DiskPressure", "status": more.pop("disk", "False")}
    return {
        "metadata": {"name": name, **more},
        "spec": spec or {},
        "status": {"conditions": [] if status == "none" else [ready, pressure]},
    }


@pytest.mark.parametrize(
    ("obj", "fine", "sentence"),
    [
        (node(), True, "is ready; it waits for nothing."),
        (node("none"), False, "is not ready (its agent has not reported yet)."),
        (node("False", reason="KubeletNotReady"), False, "is not ready (KubeletNotReady)."),
        (node("Unknown"), False, "is not heard of since 2026-01-01T00:00:00Z: what its pods do is not known"),
        (node(spec={"unschedulable": True}), False, "is ready and cordoned: its pods run on"),
        (node(disk="True"), False, "is ready, and short: DiskPressure."),
        (node(deletionTimestamp="2026-01-01T00:00:00Z"), False, "is being deleted."),
        (node(name="node-2"), False, "does not exist (there is 'node-2')."),
    ],
)
def test_nodes(obj: dict[str, Any], fine: bool, sentence: str) -> None:
    found = explain_node((obj,), "node-1")
    assert found.fine is fine
    assert found.sentence.startswith(f"Node node-1 {sentence}")


def test_taints_are_told() -> None:
    taint = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    (told,) = explain_node((node(spec={"taints": [taint]}),), "node-1").evidence
    assert told.says == "taint dedicated=db:NoSchedule: for pods that tolerate it alone"
