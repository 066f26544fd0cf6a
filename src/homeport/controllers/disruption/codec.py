"""JSON trees to the values of budgets, and the status they report."""

from collections.abc import Mapping
from typing import Any

from homeport.api import budgets
from homeport.api import pods as pod_rules
from homeport.client.contract import Object
from homeport.clock import parse_time, rfc3339
from homeport.controllers.disruption.reconcile import Budget, Count, Pod

__all__ = ["decode_budget", "decode_pod", "failed_status", "selector_text", "status_of"]


def decode_budget(obj: Object) -> Budget:
    spec, status = obj["spec"], obj.get("status") or {}
    disrupted = {name: parse_time(when) for name, when in (status.get("disruptedPods") or {}).items()}
    return Budget(spec.get("minAvailable"), spec.get("maxUnavailable"), disrupted)


def decode_pod(pod: Object, controller: str) -> Pod:
    """Return a pod as budgets see it; `controller` is the uid of what scales it."""
    return Pod(pod["metadata"]["name"], pod_rules.is_ready(pod), pod_rules.is_terminating(pod), controller)


def status_of(obj: Object, count: Count, now: float) -> dict[str, Any]:
    """Return the whole `status` object."""
    status: dict[str, Any] = {
        "observedGeneration": obj["metadata"].get("generation", 0),
        "disruptionsAllowed": count.allowed,
        "currentHealthy": count.healthy,
        "desiredHealthy": count.desired,
        "expectedPods": count.expected,
    }
    if count.disrupted:
        status["disruptedPods"] = {name: rfc3339(when) for name, when in count.disrupted.items()}
    if conditions := (obj.get("status") or {}).get("conditions"):
        status["conditions"] = conditions
    return budgets.with_condition(status, rfc3339(now))


def failed_status(obj: Object, why: str, now: float) -> dict[str, Any]:
    """Return the status that lets nothing go, because nobody knows what would be right."""
    status = {**(obj.get("status") or {}), "disruptionsAllowed": 0}
    return budgets.with_condition(status, rfc3339(now), failure=why)


def selector_text(selector: Mapping[str, Any]) -> str:
    """Return a label selector the way upstream's events print one."""
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{each['key']},Operator:{each['operator']},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
