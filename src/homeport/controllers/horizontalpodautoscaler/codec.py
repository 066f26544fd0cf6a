"""JSON trees to the values of autoscalers, and the status they report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.quantity import Format, Quantity, parse_quantity
from homeport.client.contract import Object
from homeport.clock import parse_time, rfc3339
from homeport.controllers.horizontalpodautoscaler.model import (
    Autoscaler,
    Behavior,
    Condition,
    Metric,
    Pod,
    PodUsage,
    Policy,
    Rules,
    Scale,
    Tolerances,
)
from homeport.controllers.horizontalpodautoscaler.pace import DOWNSCALE_WINDOW_SECONDS
from homeport.controllers.horizontalpodautoscaler.replicas import Proposal
from homeport.durations import parse_duration

__all__ = [
    "decode_autoscaler",
    "decode_pod",
    "decode_scale",
    "decode_usage",
    "encode_metrics",
    "status_of",
    "with_conditions",
]

Tree = Mapping[str, Any]

_SOURCES: Final = {"Resource": "resource", "ContainerResource": "containerResource"}


def decode_autoscaler(obj: Object) -> Autoscaler:
    spec = obj["spec"]
    behavior = spec.get("behavior")
    up, down = ((behavior or {}).get(direction) or {} for direction in ("scaleUp", "scaleDown"))
    standard = Tolerances()
    return Autoscaler(
        low=spec.get("minReplicas", 1),
        high=spec["maxReplicas"],
        metrics=tuple(_metric(each) for each in spec.get("metrics") or ()),
        tolerances=Tolerances(_share(down, standard.down), _share(up, standard.up)),
        behavior=None if behavior is None else Behavior(_rules(up, 0), _rules(down, DOWNSCALE_WINDOW_SECONDS)),
    )


def _share(rules: Tree, standard: float) -> float:
    text = rules.get("tolerance")
    return standard if text is None else parse_quantity(text).nanos / 10**9


def _rules(rules: Tree, window: int) -> Rules:
    policies = (Policy(each["type"], each["value"], each["periodSeconds"]) for each in rules.get("policies") or ())
    return Rules(rules.get("stabilizationWindowSeconds", window), rules.get("selectPolicy", "Max"), tuple(policies))


def _metric(tree: Tree) -> Metric:
    kind = tree.get("type", "")
    source = tree.get(_SOURCES.get(kind, "")) or {}
    target = source.get("target") or {}
    average = target.get("averageValue")
    return Metric(
        kind,
        source.get("name", ""),
        source.get("container", ""),
        target.get("averageUtilization"),
        None if average is None else parse_quantity(average).milli,
        tree,
    )


def decode_scale(scale: Object) -> Scale:
    return Scale(scale["spec"].get("replicas", 0), (scale.get("status") or {}).get("replicas", 0))


def decode_pod(pod: Object) -> Pod:
    spec, status = pod["spec"], pod.get("status") or {}
    ready, started = pod_rules.condition(pod, "Ready"), status.get("startTime")
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    level = (spec.get("resources") or {}).get("requests")
    since = (ready or {}).get("lastTransitionTime")
    return Pod(
        pod["metadata"]["name"],
        pod_rules.phase(pod),
        pod_rules.is_terminating(pod),
        None if ready is None else ready.get("status") != "False",
        parse_time(since) if since else 0.0,
        parse_time(started) if started else None,
        {each["name"]: _requests(each.get("resources")) for each in (*spec["containers"], *sidecars)},
        _amounts(level) if level else None,
    )


def _requests(resources: Tree | None) -> dict[str, int]:
    return _amounts((resources or {}).get("requests"))


def _amounts(amounts: Tree | None) -> dict[str, int]:
    return {name: parse_quantity(str(text)).milli for name, text in (amounts or {}).items()}


def decode_usage(metrics: Iterable[Object]) -> dict[str, PodUsage]:
    """Return PodMetrics objects by the pod's name."""
    return {
        each["metadata"]["name"]: PodUsage(
            parse_time(each["timestamp"]),
            parse_duration(each["window"]),
            {container["name"]: _amounts(container.get("usage")) for container in each.get("containers") or ()},
        )
        for each in metrics
    }


def encode_metrics(scaler: Autoscaler, measured: Sequence[Proposal | None]) -> list[dict[str, Any]] | None:
    """Return `currentMetrics`; None when nothing was to be measured."""
    if not measured:
        return None
    return [_current(metric, seen) for metric, seen in zip(scaler.metrics, measured, strict=True)]


def _current(metric: Metric, seen: Proposal | None) -> dict[str, Any]:
    if seen is None:
        return {"type": ""}
    notation = Format.BINARY if metric.resource == "memory" else Format.DECIMAL
    current: dict[str, Any] = {"averageValue": str(Quantity(seen.average * 10**6, notation))}
    if seen.utilization is not None:
        current["averageUtilization"] = seen.utilization
    body: dict[str, Any] = {"name": metric.resource, "current": current}
    if metric.kind == "ContainerResource":
        body["container"] = metric.container
    return {"type": metric.kind, _SOURCES[metric.kind]: body}


def with_conditions(status: Tree, conditions: Iterable[Condition], now: float) -> dict[str, Any]:
    """Return the status with these conditions set, in place where they are known and at the end where not."""
    listed = [dict(each) for each in status.get("conditions") or ()]
    for condition in conditions:
        found = next((each for each in listed if each["type"] == condition.type), None)
        if found is None:
            found = {"type": condition.type, "status": "", "lastTransitionTime": None}
            listed.append(found)
        value = "True" if condition.status else "False"
        if found["status"] != value:
            found["lastTransitionTime"] = rfc3339(now)
        found |= {"status": value, "reason": condition.reason, "message": condition.message}
    return {**status, "conditions": listed} if listed else dict(status)


def status_of(
    status: Tree, current: int, desired: int, metrics: list[dict[str, Any]] | None, scaled_at: float | None
) -> dict[str, Any]:
    """Return the whole `status`; conditions stay, and so does the time of the last change unless there was one now."""
    out: dict[str, Any] = {"desiredReplicas": desired, "currentMetrics": metrics}
    if current:
        out["currentReplicas"] = current
    last = rfc3339(scaled_at) if scaled_at is not None else status.get("lastScaleTime")
    if last:
        out["lastScaleTime"] = last
    if status.get("conditions"):
        out["conditions"] = status["conditions"]
    return out
