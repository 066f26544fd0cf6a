"""Rules of PodDisruptionBudgets and PriorityClasses (workloads 13.1, api-machinery 21.9)."""

from typing import Any, Final

from homeport.api.validation import names
from homeport.api.validation.common import at_most_all, int_or_percent, not_negative, shown_selector
from homeport.api.validation.errors import FieldError, forbidden, not_supported, refused
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.selectors import validate_label_selector

__all__ = [
    "SYSTEM_CLASSES",
    "validate_budget",
    "validate_budget_status",
    "validate_budget_update",
    "validate_priority_class",
    "validate_priority_class_update",
]

Tree = dict[str, Any]

SYSTEM_CLASSES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The values of the classes every cluster has."""

HIGHEST_OF_USERS: Final = 1_000_000_000


def validate_budget(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _budget_spec(tree["spec"])


def validate_budget_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + _budget_spec(new["spec"])


def _budget_spec(spec: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    if low is not None and high is not None:
        shown = {
            "MinAvailable": low,
            "Selector": shown_selector(spec.get("selector")),
            "MaxUnavailable": high,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        errors.append(refused("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for field, value in (("minAvailable", low), ("maxUnavailable", high)):
        if value is not None:
            errors += int_or_percent(value, f"spec.{field}") + at_most_all(value, f"spec.{field}")
    if selector := spec.get("selector"):
        errors += validate_label_selector(selector, "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        errors.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget")))
    return errors


def validate_budget_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    counters = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    return errors + not_negative(new.get("status", {}), counters, "status")


def validate_priority_class(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    name, value = tree["metadata"].get("name", ""), tree.get("value", 0)
    if name.startswith("system-"):
        if why := _not_of_the_system(name, value, tree.get("globalDefault", False)):
            text = f"priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            errors.append(forbidden("metadata.name", text))
    elif value > HIGHEST_OF_USERS:
        text = f"maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}"
        errors.append(forbidden("value", text))
    policy = tree.get("preemptionPolicy")
    if policy is not None and policy not in ("PreemptLowerPriority", "Never"):
        errors.append(not_supported("preemptionPolicy", policy, ("PreemptLowerPriority", "Never")))
    return errors


def _not_of_the_system(name: str, value: int, by_default: bool) -> str:
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if by_default else ""


def validate_priority_class_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    if new.get("value", 0) != old.get("value", 0):
        errors.append(forbidden("value", "may not be changed in an update."))
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        errors.append(refused("preemptionPolicy", new.get("preemptionPolicy"), "field is immutable"))
    return errors
