"""The two forms of a HorizontalPodAutoscaler hold the same, and v1's annotations read as upstream writes them."""

import json
from typing import Any

import pytest

from homeport.api.autoscaling import default_metric, to_v1, to_v2
from homeport.api.tables.autoscaling import targets


def autoscaler(*metrics: dict[str, Any], status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 3, "metrics": list(metrics), **spec},
        "status": status or {"desiredReplicas": 0, "currentMetrics": None},
    }


def resource(name: str, **target: Any) -> dict[str, Any]:
    kind = "Utilization" if "averageUtilization" in target else "AverageValue"
    return {"type": "Resource", "resource": {"name": name, "target": {"type": kind, **target}}}


OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Service", "name": "s", "apiVersion": "v1"},
        "target": {"type": "Value", "value": "10"},
        "metric": {"name": "hits", "selector": {"matchLabels": {"a": "<b>"}}},
    },
}
PODS = {
    "type": "Pods",
    "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1k"}},
}
EXTERNAL = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "30"}},
}
CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory",
        "container": "app",
        "target": {"type": "Utilization", "averageUtilization": 60},
    },
}
BEHAVIOR = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
        "tolerance": "50m",
    },
    "scaleDown": {"selectPolicy": "Disabled", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
}
STATUS = {
    "currentReplicas": 2,
    "desiredReplicas": 3,
    "currentMetrics": [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "90m", "averageUtilization": 45}}},
    ],
    "conditions": [
        {
            "type": "AbleToScale",
            "status": "True",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "ReadyForNewScale",
            "message": "recommended size matches current size",
        }
    ],
}


@pytest.mark.parametrize(
    "tree",
    [
        autoscaler(resource("cpu", averageUtilization=70)),
        autoscaler(resource("memory", averageValue="100Mi"), resource("cpu", averageUtilization=70)),
        autoscaler(OBJECT, PODS, EXTERNAL, CONTAINER, status=STATUS),
        autoscaler(default_metric(), behavior=BEHAVIOR, status=STATUS),
    ],
    ids=["cpu", "others", "every-source", "behavior"],
)
def test_there_and_back(tree: dict[str, Any]) -> None:
    assert to_v2(to_v1(tree)) == tree


def test_v1_as_upstream_writes_it() -> None:
    tree = to_v1(autoscaler(OBJECT, default_metric(), behavior=BEHAVIOR, status=STATUS))
    annotations = tree["metadata"]["annotations"]
    prefix = "autoscaling.alpha.kubernetes.io/"
    assert tree["spec"]["targetCPUUtilizationPercentage"] == 80
    assert tree["status"] == {"currentReplicas": 2, "desiredReplicas": 3, "currentCPUUtilizationPercentage": 45}
    assert annotations[prefix + "metrics"] == (
        r'[{"type":"Object","object":{"target":{"kind":"Service","name":"s","apiVersion":"v1"},"metricName":"hits",'
        r'"targetValue":"10","selector":{"matchLabels":{"a":"\u003cb\u003e"}}}}]'
    )
    assert annotations[prefix + "current-metrics"] == (
        '[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":45,"currentAverageValue":"90m"}}]'
    )
    assert annotations[prefix + "conditions"].startswith('[{"type":"AbleToScale","status":"True","lastTransitionTime":')
    assert json.loads(annotations[prefix + "behavior"])["ScaleDown"] == {
        "StabilizationWindowSeconds": None,
        "SelectPolicy": "Disabled",
        "Policies": [{"Type": "Percent", "Value": 100, "PeriodSeconds": 15}],
        "Tolerance": None,
    }


def test_v1_without_a_target_means_80_percent() -> None:
    tree = to_v1(autoscaler(default_metric()))
    del tree["spec"]["targetCPUUtilizationPercentage"]
    assert to_v2(tree)["spec"]["metrics"] == [default_metric()]


def test_annotations_that_are_no_json_are_dropped() -> None:
    tree = to_v1(autoscaler(default_metric()))
    tree["metadata"]["annotations"] = {"autoscaling.alpha.kubernetes.io/metrics": "{", "mine": "stays"}
    assert to_v2(tree)["metadata"]["annotations"] == {"mine": "stays"}


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (autoscaler(), "<none>"),
        (autoscaler(default_metric()), "cpu: <unknown>/80%"),
        (autoscaler(default_metric(), status=STATUS), "cpu: 45%/80%"),
        (autoscaler(resource("memory", averageValue="1Mi"), PODS, EXTERNAL),
         "memory: <unknown>/1Mi, <unknown>/1k + 1 more..."),
        (autoscaler(OBJECT, CONTAINER), "<unknown>/10, memory: <unknown>/60%"),
        (autoscaler(EXTERNAL), "<unknown>/30 (avg)"),
    ],
)  # fmt: skip
def test_targets_column(tree: dict[str, Any], text: str) -> None:
    assert targets(tree) == text
