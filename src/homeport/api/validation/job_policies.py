"""Rules of what a Job makes of pods that fail, and of when it is content (workloads 11)."""

from typing import Any, Final

from homeport.api.job_indexes import BadIndexes, parse_indexes
from homeport.api.validation import names
from homeport.api.validation.common import not_negative
from homeport.api.validation.errors import (
    OMITTED,
    FieldError,
    duplicate,
    not_supported,
    refused,
    required,
    too_long,
    too_many,
)

__all__ = ["validate_failure_policy", "validate_success_policy"]

Tree = dict[str, Any]

MOST_RULES: Final = 20
MOST_PATTERNS: Final = 20
MOST_EXIT_CODES: Final = 255
INDEXES_LIMIT: Final = 64 * 1024
_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS: Final = ("In", "NotIn")
_STATUSES: Final = ("False", "True", "Unknown")


def validate_failure_policy(spec: Tree, policy: Tree, path: str) -> list[FieldError]:
    """Check `podFailurePolicy` of a Job's spec."""
    rules = policy.get("rules") or []
    errors = [too_many(f"{path}.rules", len(rules), MOST_RULES)] if len(rules) > MOST_RULES else []
    inner = spec["template"]["spec"]
    containers = {each.get("name") for group in ("containers", "initContainers") for each in inner.get(group) or ()}
    for index, rule in enumerate(rules):
        errors += _rule(rule, f"{path}.rules[{index}]", containers, per_index="backoffLimitPerIndex" in spec)
    return errors


def _rule(rule: Tree, path: str, containers: set[str | None], *, per_index: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    action = rule.get("action", "")
    if action == "FailIndex":
        if not per_index:
            errors.append(refused(f"{path}.action", action, "requires the backoffLimitPerIndex to be set"))
    else:
        errors += _one_of(action, _ACTIONS, f"{path}.action")
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        errors += _exit_codes(codes, f"{path}.onExitCodes", containers)
    if len(conditions) > MOST_PATTERNS:
        errors.append(too_many(f"{path}.onPodConditions", len(conditions), MOST_PATTERNS))
    for index, pattern in enumerate(conditions):
        here = f"{path}.onPodConditions[{index}]"
        kind = pattern.get("type", "")
        errors += [refused(f"{here}.type", kind, problem) for problem in names.qualified_name(kind)]
        errors += _one_of(pattern.get("status", ""), _STATUSES, f"{here}.status")
    if codes is not None and conditions:
        errors.append(refused(path, OMITTED, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        errors.append(refused(path, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required"))
    return errors


def _exit_codes(codes: Tree, path: str, containers: set[str | None]) -> list[FieldError]:
    operator, values = codes.get("operator", ""), codes.get("values") or []
    errors = _one_of(operator, _OPERATORS, f"{path}.operator")
    name = codes.get("containerName")
    if name is not None and name not in containers:
        text = "must be one of the container or initContainer names in the pod template"
        errors.append(refused(f"{path}.containerName", name, text))
    if not values:
        errors.append(refused(f"{path}.values", codes.get("values"), "at least one value is required"))
    elif len(values) > MOST_EXIT_CODES:
        errors.append(too_many(f"{path}.values", len(values), MOST_EXIT_CODES))
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(refused(f"{path}.values[{index}]", value, "must not be 0 for the In operator"))
        if value in values[:index]:
            errors.append(duplicate(f"{path}.values[{index}]", value))
    if values != sorted(values):
        errors.append(refused(f"{path}.values", values, "must be ordered"))
    return errors


def _one_of(value: str, allowed: tuple[str, ...], path: str) -> list[FieldError]:
    if not value:
        listed = " ".join(f'"{each}"' for each in allowed)
        return [required(path, f"valid values: [{listed}]")]
    return [] if value in allowed else [not_supported(path, value, allowed)]


def validate_success_policy(policy: Tree, completions: int, path: str) -> list[FieldError]:
    """Check `successPolicy` of an indexed Job."""
    rules = policy.get("rules") or []
    errors: list[FieldError] = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", text))
    if len(rules) > MOST_RULES:
        errors.append(too_many(f"{path}.rules", len(rules), MOST_RULES))
    for index, rule in enumerate(rules):
        errors += _success_rule(rule, completions, f"{path}.rules[{index}]")
    return errors


def _success_rule(rule: Tree, completions: int, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    indexes, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if indexes is None and count is None:
        errors.append(required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    total = 0
    if indexes is not None:
        here = f"{path}.succeededIndexes"
        if len(indexes) > INDEXES_LIMIT:
            errors.append(too_long(here, INDEXES_LIMIT))
        try:
            total = len(parse_indexes(indexes, completions))
        except BadIndexes as error:
            errors.append(refused(here, indexes, f"error parsing succeededIndexes: {error}"))
    if count is not None:
        here = f"{path}.succeededCount"
        errors += not_negative(rule, ("succeededCount",), path)
        if count > completions:
            text = f"must be less than or equal to {completions} (the number of specified completions)"
            errors.append(refused(here, count, text))
        if indexes is not None and count > total:
            where = "the number of indexes in the specified succeededIndexes field"
            errors.append(refused(here, count, f"must be less than or equal to {total} ({where})"))
    return errors
