"""Rules of HorizontalPodAutoscalers (workloads 21). A v1 object is checked as the v2 object it stands for."""

from typing import Any, Final

from homeport.api.autoscaling import is_v1, to_v2
from homeport.api.scalars import quantity_value
from homeport.api.validation import names
from homeport.api.validation.common import not_negative
from homeport.api.validation.errors import FieldError, forbidden, not_supported, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.resources import non_negative, resource_name

__all__ = ["validate_autoscaler", "validate_autoscaler_status", "validate_autoscaler_update"]

Tree = dict[str, Any]

_LONGEST_PERIOD: Final = 1800
_LONGEST_WINDOW: Final = 3600
_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_CHECKED: Final = ("object", "external", "pods", "resource", "containerResource")
_BOTH: Final = "may not set both a target raw value and a target utilization"


def validate_autoscaler(tree: Tree) -> list[FieldError]:
    tree = _v2(tree)
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _spec(tree["spec"], None)


def validate_autoscaler_update(new: Tree, old: Tree) -> list[FieldError]:
    new, old = _v2(new), _v2(old)
    return validate_metadata_update(new["metadata"], old["metadata"]) + _spec(new["spec"], old["spec"])


def validate_autoscaler_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    return errors + not_negative(new.get("status") or {}, ("currentReplicas", "desiredReplicas"), "status")


def _v2(tree: Tree) -> Tree:
    return to_v2(tree) if is_v1(tree) else tree


def _spec(spec: Tree, old: Tree | None) -> list[FieldError]:
    errors: list[FieldError] = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    lowest = 0 if old is not None and old.get("minReplicas") == 0 else 1
    if low is not None and low < lowest:
        errors.append(refused("spec.minReplicas", low, f"must be greater than or equal to {lowest}"))
    if high == 0:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif high < 0:
        errors.append(refused("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if low is not None and high < low:
        errors.append(refused("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    before = (old or {}).get("scaleTargetRef") or {}
    same = old is not None and all(target.get(field) == before.get(field) for field in ("apiVersion", "kind"))
    core = target.get("kind") == "ReplicationController"
    errors += _reference(target, "spec.scaleTargetRef", any_version=same, any_group=core)
    metrics = spec.get("metrics") or ()
    lenient = old is not None and _has_bad_object(old)
    for index, metric in enumerate(metrics):
        errors += _metric(metric, f"spec.metrics[{index}]", lenient)
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(forbidden("spec.metrics", text))
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if behavior.get(direction) is not None:
            errors += _rules(behavior[direction], f"spec.behavior.{direction}")
    return errors


def _reference(reference: Tree, path: str, *, any_version: bool, any_group: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("kind", "name"):
        value = reference.get(field, "")
        if not value:
            errors.append(required(f"{path}.{field}"))
        errors += [refused(f"{path}.{field}", value, problem) for problem in names.path_segment(value)]
    version = reference.get("apiVersion", "")
    if not any_version and (why := _bad_version(version, any_group=any_group)):
        errors.append(refused(f"{path}.apiVersion", version, why))
    return errors


def _bad_version(version: str, *, any_group: bool) -> str:
    """Return what is wrong with an apiVersion, "" when nothing is."""
    if version.count("/") > 1:
        return f"unexpected GroupVersion string: {version}"
    has_group = "/" in version and not version.startswith("/")
    return "" if any_group or has_group else "apiVersion must specify API group"


def _has_bad_object(spec: Tree) -> bool:
    described = (
        metric["object"].get("describedObject") or {}
        for metric in spec.get("metrics") or ()
        if metric.get("type") == "Object" and metric.get("object") is not None
    )
    return any(_bad_version(each.get("apiVersion", ""), any_group=True) for each in described)


def _metric(metric: Tree, path: str, lenient: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    kind = metric.get("type", "")
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        errors.append(not_supported(f"{path}.type", kind, _SOURCES))
    present = [source for source in _CHECKED if metric.get(source) is not None]
    if present:
        errors += _source(present[0], metric[present[0]], f"{path}.{present[0]}", lenient)
    expected = _SOURCES.get(kind, "")
    if not expected:
        errors.append(not_supported(f"{path}.type", kind, _SOURCES))
    elif expected not in present:
        errors.append(required(f"{path}.{expected}", "must populate information for the given metric source"))
    if len(present) != 1:
        text = "must populate the given metric source only"
        errors += [forbidden(f"{path}.{source}", text) for source in sorted(present) if source != expected]
    return errors


def _source(source: str, wanted: Tree, path: str, lenient: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    target = wanted.get("target") or {}
    value, average, share = (target.get(field) for field in ("value", "averageValue", "averageUtilization"))
    match source:
        case "object":
            described = wanted.get("describedObject") or {}
            errors += _reference(described, f"{path}.describedObject", any_version=lenient, any_group=True)
            errors += _identifier(wanted, path) + _target(target, f"{path}.target")
            if value is None and average is None:
                text = "must set either a target value or averageValue"
                errors.append(required(f"{path}.target.averageValue", text))
        case "external":
            errors += _identifier(wanted, path) + _target(target, f"{path}.target")
            if value is None and average is None:
                text = "must set either a target value for metric or a per-pod target"
                errors.append(required(f"{path}.target.averageValue", text))
            if value is not None and average is not None:
                text = "may not set both a target value for metric and a per-pod target"
                errors.append(forbidden(f"{path}.target.value", text))
        case "pods":
            errors += _identifier(wanted, path) + _target(target, f"{path}.target")
            if average is None:
                errors.append(required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
        case _:
            errors += _resource(source, wanted, path) + _target(target, f"{path}.target")
            if share is None and average is None:
                text = "must set either a target raw value or a target utilization"
                errors.append(required(f"{path}.target.averageUtilization", text))
            if share is not None and average is not None:
                errors.append(forbidden(f"{path}.target.averageValue", _BOTH))
    return errors


def _resource(source: str, wanted: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = wanted.get("name", "")
    if not name:
        errors.append(required(f"{path}.name", "must specify a resource name"))
    if source == "resource":
        return errors
    if name:
        errors += resource_name(name, f"{path}.name")
    container = wanted.get("container", "")
    if not container:
        errors.append(required(f"{path}.container", "must specify a container"))
    else:
        errors += [refused(f"{path}.container", container, problem) for problem in names.dns1123_label(container)]
    return errors


def _identifier(wanted: Tree, path: str) -> list[FieldError]:
    name = (wanted.get("metric") or {}).get("name", "")
    if not name:
        return [required(f"{path}.metric.name", "must specify a metric name")]
    return [refused(f"{path}.metric.name", name, problem) for problem in names.path_segment(name)]


def _target(target: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind = target.get("type", "")
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in ("Utilization", "Value", "AverageValue"):
        errors.append(refused(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    errors += [
        refused(f"{path}.{field}", amount, "must be positive")
        for field in ("value", "averageValue")
        if (amount := target.get(field)) is not None and quantity_value(amount) <= 0
    ]
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        errors.append(refused(f"{path}.averageUtilization", share, "must be greater than 0"))
    return errors


def _rules(rules: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        errors.append(refused(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > _LONGEST_WINDOW:
        text = f"must be less than or equal to {_LONGEST_WINDOW}"
        errors.append(refused(f"{path}.stabilizationWindowSeconds", window, text))
    choice = rules.get("selectPolicy")
    if choice is not None and choice not in ("Disabled", "Max", "Min"):
        errors.append(not_supported(f"{path}.selectPolicy", choice, ("Disabled", "Max", "Min")))
    policies = rules.get("policies") or ()
    if not policies:
        errors.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        errors += _policy(policy, f"{path}.policies[{index}]")
    if rules.get("tolerance") is not None:
        errors += non_negative(rules["tolerance"], f"{path}.tolerance")
    return errors


def _policy(policy: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, value, period = policy.get("type", ""), policy.get("value") or 0, policy.get("periodSeconds") or 0
    if kind not in ("Percent", "Pods"):
        errors.append(not_supported(f"{path}.type", kind, ("Percent", "Pods")))
    if value <= 0:
        errors.append(refused(f"{path}.value", value, "must be greater than zero"))
    if period <= 0:
        errors.append(refused(f"{path}.periodSeconds", period, "must be greater than zero"))
    if period > _LONGEST_PERIOD:
        errors.append(refused(f"{path}.periodSeconds", period, f"must be less than or equal to {_LONGEST_PERIOD}"))
    return errors
