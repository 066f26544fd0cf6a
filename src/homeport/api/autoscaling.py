"""The two written forms of a HorizontalPodAutoscaler: `autoscaling/v2` says all, `v1` some of it in annotations.

Both conversions keep everything: v1 has fields for one CPU target alone, so other metrics, what was measured,
conditions and behaviour travel as JSON in annotations that only exist in that form. Source: workloads 21; the API
reference of Kubernetes 1.36.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["SPEC_ANNOTATIONS", "STATUS_ANNOTATIONS", "default_metric", "is_v1", "to_v1", "to_v2"]

Tree = dict[str, Any]

_DEFAULT_SHARE: Final = 80

_PREFIX: Final = "autoscaling.alpha.kubernetes.io/"
_METRICS: Final = _PREFIX + "metrics"
_BEHAVIOR: Final = _PREFIX + "behavior"
_CURRENT: Final = _PREFIX + "current-metrics"
_CONDITIONS: Final = _PREFIX + "conditions"
SPEC_ANNOTATIONS: Final = (_METRICS, _BEHAVIOR)
"""Annotations that stand for parts of a v1 object's spec."""
STATUS_ANNOTATIONS: Final = (_CURRENT, _CONDITIONS)
"""Annotations that stand for parts of a v1 object's status."""

_RULES: Final = (
    ("StabilizationWindowSeconds", "stabilizationWindowSeconds"),
    ("SelectPolicy", "selectPolicy"),
    ("Policies", "policies"),
    ("Tolerance", "tolerance"),
)
_POLICY: Final = (("Type", "type"), ("Value", "value"), ("PeriodSeconds", "periodSeconds"))
_SOURCES: Final = ("object", "pods", "resource", "containerResource", "external")


def is_v1(tree: Mapping[str, Any]) -> bool:
    return tree.get("apiVersion") == "autoscaling/v1"


def default_metric() -> Tree:
    """Return the metric of an autoscaler that names none."""
    return _cpu_metric(_DEFAULT_SHARE)


def to_v2(tree: Tree) -> Tree:
    """Return a v1 object as v2. Annotations that cannot be read are dropped, as upstream does."""
    metadata = dict(tree["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    kept = {name: annotations.pop(name, None) for name in (*SPEC_ANNOTATIONS, *STATUS_ANNOTATIONS)}
    _put(metadata, "annotations", annotations)
    spec = dict(tree["spec"])
    target = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = [_metric_v2(each) for each in _read_list(kept[_METRICS])]
    if target is not None:
        metrics.append(_cpu_metric(target))
    spec["metrics"] = metrics or [default_metric()]
    behavior = _read(kept[_BEHAVIOR])
    if isinstance(behavior, dict) and (read := _behavior_v2(behavior)):
        spec["behavior"] = read
    old = dict(tree.get("status") or {})
    utilization = old.pop("currentCPUUtilizationPercentage", None)
    if not old.get("currentReplicas"):
        old.pop("currentReplicas", None)
    status = {"desiredReplicas": 0, **old, "currentMetrics": None}
    if utilization is not None:
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": utilization}}}
        ]
    if current := _read_list(kept[_CURRENT]):
        status["currentMetrics"] = [_current_v2(each) for each in current]
    if conditions := _read_list(kept[_CONDITIONS]):
        status["conditions"] = conditions
    return {**tree, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def to_v1(tree: Tree) -> Tree:
    """Return a v2 object as v1."""
    metadata, spec, status = dict(tree["metadata"]), dict(tree["spec"]), dict(tree.get("status") or {})
    carried = (*SPEC_ANNOTATIONS, *STATUS_ANNOTATIONS)
    annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name not in carried}
    metrics = spec.pop("metrics", None) or ()
    targets = [each["resource"]["target"]["averageUtilization"] for each in metrics if _is_cpu_share(each)]
    if others := [_metric_v1(each) for each in metrics if not _is_cpu_share(each)]:
        annotations[_METRICS] = _go_json(others)
    if (behavior := spec.pop("behavior", None)) is not None:
        annotations[_BEHAVIOR] = _go_json(_behavior_v1(behavior))
    if targets:
        spec["targetCPUUtilizationPercentage"] = targets[0]
    current = status.pop("currentMetrics", None) or ()
    if current:
        annotations[_CURRENT] = _go_json([_current_v1(each) for each in current])
    for each in current:
        share = (each.get("resource") or {}).get("current", {}).get("averageUtilization")
        if each["type"] == "Resource" and each["resource"]["name"] == "cpu" and share is not None:
            status["currentCPUUtilizationPercentage"] = share
    if conditions := status.pop("conditions", None):
        order = ("type", "status", "lastTransitionTime", "reason", "message")
        annotations[_CONDITIONS] = _go_json([{name: c[name] for name in order if name in c} for c in conditions])
    _put(metadata, "annotations", annotations)
    status = {"currentReplicas": 0, "desiredReplicas": 0, **status}
    return {**tree, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _is_cpu_share(metric: Tree) -> bool:
    resource = metric.get("resource") or {}
    return (
        metric.get("type") == "Resource"
        and resource.get("name") == "cpu"
        and (resource.get("target") or {}).get("averageUtilization") is not None
    )


def _cpu_metric(share: int) -> Tree:
    target = {"type": "Utilization", "averageUtilization": share}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


# Metrics: what is wanted


def _metric_v1(metric: Tree) -> Tree:
    out: Tree = {"type": metric.get("type", "")}
    for source in _SOURCES:
        if metric.get(source) is not None:
            out[source] = _source_v1(source, metric[source])
    return out


def _source_v1(source: str, wanted: Tree) -> Tree:
    target, metric = wanted.get("target") or {}, wanted.get("metric") or {}
    name, selector = metric.get("name", ""), metric.get("selector")
    match source:
        case "object":
            return _present(
                target=_reference(wanted.get("describedObject") or {}),
                metricName=name,
                targetValue=target.get("value", "0"),
                selector=selector,
                averageValue=target.get("averageValue"),
            )
        case "pods":
            return _present(metricName=name, targetAverageValue=target.get("averageValue", "0"), selector=selector)
        case "external":
            return _present(
                metricName=name,
                metricSelector=selector,
                targetValue=target.get("value"),
                targetAverageValue=target.get("averageValue"),
            )
        case _:
            return _present(
                name=wanted.get("name", ""),
                targetAverageUtilization=target.get("averageUtilization"),
                targetAverageValue=target.get("averageValue"),
                container=wanted.get("container") if source == "containerResource" else None,
            )


def _metric_v2(metric: Tree) -> Tree:
    out: Tree = {"type": metric.get("type", "")}
    for source in _SOURCES:
        if isinstance(metric.get(source), dict):
            out[source] = _source_v2(source, metric[source])
    return out


def _source_v2(source: str, wanted: Tree) -> Tree:
    match source:
        case "object":
            average, value = wanted.get("averageValue"), wanted.get("targetValue", "0")
            if average is None:
                target = _present(type="Value", value=value)
            else:
                target = _present(type="AverageValue", value=None if value == "0" else value, averageValue=average)
            described = _reference(wanted.get("target") or {})
            return {"describedObject": described, "target": target, "metric": _identifier(wanted, "selector")}
        case "pods":
            target = {"type": "AverageValue", "averageValue": wanted.get("targetAverageValue", "0")}
            return {"metric": _identifier(wanted, "selector"), "target": target}
        case "external":
            value, average = wanted.get("targetValue"), wanted.get("targetAverageValue")
            target = _present(type="AverageValue" if value is None else "Value", value=value, averageValue=average)
            return {"metric": _identifier(wanted, "metricSelector"), "target": target}
        case _:
            share, average = wanted.get("targetAverageUtilization"), wanted.get("targetAverageValue")
            kind = "AverageValue" if share is None else "Utilization"
            target = _present(type=kind, averageValue=average, averageUtilization=share)
            container = wanted.get("container", "") if source == "containerResource" else None
            return _present(name=wanted.get("name", ""), target=target, container=container)


# Metrics: what was measured


def _current_v1(metric: Tree) -> Tree:
    out: Tree = {"type": metric.get("type", "")}
    for source in _SOURCES:
        if (seen := metric.get(source)) is None:
            continue
        current, named = seen.get("current") or {}, seen.get("metric") or {}
        name, selector = named.get("name", ""), named.get("selector")
        value, average = current.get("value", "0"), current.get("averageValue")
        match source:
            case "object":
                target = _reference(seen.get("describedObject") or {})
                out[source] = _present(
                    target=target, metricName=name, currentValue=value, selector=selector, averageValue=average
                )
            case "pods":
                out[source] = _present(metricName=name, currentAverageValue=average or "0", selector=selector)
            case "external":
                out[source] = _present(
                    metricName=name, metricSelector=selector, currentValue=value, currentAverageValue=average
                )
            case _:
                out[source] = _present(
                    name=seen.get("name", ""),
                    currentAverageUtilization=current.get("averageUtilization"),
                    currentAverageValue=average or "0",
                    container=seen.get("container") if source == "containerResource" else None,
                )
    return out


def _current_v2(metric: Tree) -> Tree:
    out: Tree = {"type": metric.get("type", "")}
    for source in _SOURCES:
        if not isinstance(seen := metric.get(source), dict):
            continue
        match source:
            case "object":
                current = _present(value=seen.get("currentValue", "0"), averageValue=seen.get("averageValue"))
                described = _reference(seen.get("target") or {})
                out[source] = {
                    "metric": _identifier(seen, "selector"), "current": current, "describedObject": described,
                }  # fmt: skip
            case "pods":
                current = {"averageValue": seen.get("currentAverageValue", "0")}
                out[source] = {"metric": _identifier(seen, "selector"), "current": current}
            case "external":
                current = _present(value=seen.get("currentValue", "0"), averageValue=seen.get("currentAverageValue"))
                out[source] = {"metric": _identifier(seen, "metricSelector"), "current": current}
            case _:
                current = _present(
                    averageValue=seen.get("currentAverageValue", "0"),
                    averageUtilization=seen.get("currentAverageUtilization"),
                )
                container = seen.get("container", "") if source == "containerResource" else None
                out[source] = _present(name=seen.get("name", ""), current=current, container=container)
    return out


# Behaviour: the annotation holds the server's own form, names capitalised and nothing left out


def _behavior_v1(behavior: Tree) -> Tree:
    return {name: _rules_v1(behavior.get(key)) for name, key in (("ScaleUp", "scaleUp"), ("ScaleDown", "scaleDown"))}


def _rules_v1(rules: Tree | None) -> Tree | None:
    if rules is None:
        return None
    out = {name: rules.get(key) for name, key in _RULES}
    if out["Policies"] is not None:
        out["Policies"] = [{name: policy.get(key) for name, key in _POLICY} for policy in out["Policies"]]
    return out


def _behavior_v2(behavior: Tree) -> Tree:
    folded = {name.lower(): value for name, value in behavior.items()}
    rules = ((key, folded.get(key.lower())) for key in ("scaleUp", "scaleDown"))
    return {key: _rules_v2(value) for key, value in rules if isinstance(value, dict)}


def _rules_v2(rules: Tree) -> Tree:
    folded = {name.lower(): value for name, value in rules.items()}
    out = {key: folded[key.lower()] for _, key in _RULES if folded.get(key.lower()) is not None}
    if "policies" in out:
        out["policies"] = [_policy_v2(policy) for policy in out["policies"]]
    return out


def _policy_v2(policy: Tree) -> Tree:
    folded = {name.lower(): value for name, value in policy.items()}
    return {key: folded.get(key.lower(), "" if key == "type" else 0) for _, key in _POLICY}


# Small parts


def _identifier(source: Tree, selector: str) -> Tree:
    return _present(name=source.get("metricName", ""), selector=source.get(selector))


def _reference(reference: Tree) -> Tree:
    return _present(
        kind=reference.get("kind", ""), name=reference.get("name", ""), apiVersion=reference.get("apiVersion") or None
    )


def _present(**fields: Any) -> Tree:
    return {name: value for name, value in fields.items() if value is not None}


def _put(tree: Tree, field: str, value: Any) -> None:
    if value:
        tree[field] = value
    else:
        tree.pop(field, None)


def _read(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _read_list(text: str | None) -> list[Tree]:
    read = _read(text)
    return [each for each in read if isinstance(each, dict)] if isinstance(read, list) else []


def _go_json(value: Any) -> str:
    """Encode as Go's encoding/json does, which escapes what HTML minds."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
