"""Rows of HorizontalPodAutoscalers and of what they go by (workloads 21, api-machinery 15)."""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api.autoscaling import is_v1, to_v2
from homeport.api.quantity import Quantity, parse_quantity
from homeport.api.tables.cells import AGE, NAME, NONE, Cells, Printer, Tree, age, narrow

__all__ = ["AUTOSCALER", "NODE_METRICS", "POD_METRICS", "targets"]

_SHOWN: Final = 2
_UNKNOWN: Final = "<unknown>"
_SOURCES: Final = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _autoscaler(tree: Tree, now: float) -> Cells:
    tree = to_v2(dict(tree)) if is_v1(tree) else tree
    spec, status = tree["spec"], tree.get("status") or {}
    reference = spec.get("scaleTargetRef") or {}
    low = spec.get("minReplicas")
    return [
        tree["metadata"].get("name", ""),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        targets(tree),
        "<unset>" if low is None else str(low),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(tree, now),
    ]


def targets(tree: Tree) -> str:
    """Return what a v2 object has measured, and what it aims at: `cpu: 40%/80%`."""
    metrics = tree["spec"].get("metrics") or ()
    if not metrics:
        return NONE
    current = (tree.get("status") or {}).get("currentMetrics") or ()
    texts = [_target(metric, current[i] if i < len(current) else {}) for i, metric in enumerate(metrics)]
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" + {more} more..." if more > 0 else "")


def _target(metric: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    source = _SOURCES.get(metric.get("type", ""))
    if source is None:
        return "<unknown type>"
    wanted = metric.get(source) or {}
    target, seen = wanted.get("target") or {}, (current.get(source) or {}).get("current") or {}
    average = target.get("averageValue")
    if source in ("resource", "containerResource"):
        name = wanted.get("name", "")
        if average is not None:
            return f"{name}: {seen.get('averageValue', _UNKNOWN)}/{average}"
        share, goal = seen.get("averageUtilization"), target.get("averageUtilization")
        return f"{name}: {_percent(share, _UNKNOWN)}/{_percent(goal, '<auto>')}"
    if source == "pods":
        return f"{seen.get('averageValue', _UNKNOWN)}/{average}"
    if average is not None:
        return f"{seen.get('averageValue', _UNKNOWN)}/{average} (avg)"
    return f"{seen.get('value', _UNKNOWN)}/{target.get('value', '0')}"


def _node_metrics(tree: Tree, now: float) -> Cells:
    return _metrics(tree, [tree.get("usage") or {}])


def _pod_metrics(tree: Tree, now: float) -> Cells:
    return _metrics(tree, [each.get("usage") or {} for each in tree.get("containers") or ()])


def _metrics(tree: Tree, usages: list[Mapping[str, str]]) -> Cells:
    totals = []
    for name in ("cpu", "memory"):
        amounts = [parse_quantity(usage[name]) for usage in usages if name in usage]
        totals.append(str(sum(amounts, start=Quantity(0))))
    return [tree["metadata"].get("name", ""), *totals, tree.get("window", "")]


def _percent(value: int | None, unknown: str) -> str:
    return unknown if value is None else f"{value}%"


AUTOSCALER: Final = Printer(
    (
        NAME,
        narrow("Reference"),
        narrow("Targets"),
        narrow("MinPods"),
        narrow("MaxPods"),
        narrow("Replicas"),
        AGE,
    ),
    _autoscaler,
)
_METRICS: Final = (NAME, narrow("cpu"), narrow("memory"), narrow("Window"))
NODE_METRICS: Final = Printer(_METRICS, _node_metrics)
POD_METRICS: Final = Printer(_METRICS, _pod_metrics)
