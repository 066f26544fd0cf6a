"""What a HorizontalPodAutoscaler does, or waits for: its target, figures, a window, a bound."""

from collections.abc import Iterator, Mapping

from homeport.api.tables.autoscaling import targets
from homeport.explain.model import Evidence, Explanation, Object, Snapshot, near

__all__ = ["explain_autoscaler"]

_KIND = "HorizontalPodAutoscaler"


def explain_autoscaler(seen: Snapshot, name: str) -> Explanation:
    """Explain an autoscaler, whether or not it exists."""
    subject = f"{_KIND} {name}"
    obj = seen.find(_KIND, name)
    if obj is None:
        there = near(name, seen.of(_KIND))
        return Explanation(subject, False, f"{subject} does not exist in namespace {seen.namespace}{there}.")
    conditions = {each["type"]: each for each in (obj.get("status") or {}).get("conditions") or ()}
    fine, clause = _clause(seen, obj, conditions)
    return Explanation(subject, fine, f"{subject} {clause}.", tuple(_evidence(obj, conditions)))


def _clause(seen: Snapshot, obj: Object, conditions: Mapping[str, Object]) -> tuple[bool, str]:
    spec, status = obj["spec"], obj.get("status") or {}
    reference = spec["scaleTargetRef"]
    target = f"{reference['kind']} {reference['name']}"
    able, active, limited = (conditions.get(kind, {}) for kind in ("AbleToScale", "ScalingActive", "ScalingLimited"))
    if not able:
        return False, "waits for its first look at its target, 15 s after it was made"
    if able["status"] == "False":
        if able.get("reason") == "FailedGetScale" and seen.find(reference["kind"], reference["name"]) is None:
            return False, f"waits for {target}, which does not exist"
        return False, f"cannot scale {target}: {_said(able)}"
    if active.get("reason") == "ScalingDisabled":
        return False, f"does nothing while {target} asks for no replicas; scale it to 1 or more, and it goes on"
    if active.get("status") == "False":
        return False, f"waits for figures: {_said(active)}{_remedy(active)}"
    size = f"{status.get('currentReplicas', 0)} replicas of {target}"
    if able.get("reason") == "ScaleDownStabilized":
        window = ((spec.get("behavior") or {}).get("scaleDown") or {}).get("stabilizationWindowSeconds", 300)
        return True, f"keeps {size}: fewer would do, but only once nothing higher was asked for in the last {window} s"
    if limited.get("status") == "True":
        return True, f"keeps {size}: {_LIMITS.get(limited.get('reason', ''), _said(limited))}"
    return True, f"keeps {size} at {targets(dict(obj))}; it waits for nothing"


_LIMITS = {
    "TooManyReplicas": "more are asked for than maxReplicas allows",
    "TooFewReplicas": "fewer are asked for than minReplicas allows",
    "ScaleUpLimit": "more are asked for, as fast as its policies allow",
    "ScaleDownLimit": "fewer are asked for, as fast as its policies allow",
}


def _said(condition: Object) -> str:
    return " ".join(str(condition.get("message", "")).split()).rstrip(".")


def _remedy(condition: Object) -> str:
    message = str(condition.get("message", ""))
    if "missing request for" in message:
        return "; state that request in the pod template"
    if condition.get("reason") == "AmbiguousSelector":
        return "; delete all of them but one"
    return ""


def _evidence(obj: Object, conditions: Mapping[str, Object]) -> Iterator[Evidence]:
    subject, spec = f"{_KIND} {obj['metadata']['name']}", obj["spec"]
    yield Evidence(
        subject, f"between {spec.get('minReplicas', 1)} and {spec['maxReplicas']} replicas, {targets(dict(obj))}"
    )
    for kind, condition in conditions.items():
        reason = condition.get("reason", "")
        yield Evidence(subject, f"condition {kind} is {condition['status']} ({reason}: {_said(condition)})")
