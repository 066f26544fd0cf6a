"""Rules of what steers a pod to a node: affinity, tolerations, topology spread, gates."""

from typing import Any, Final

from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, GoStruct, duplicate, forbidden, not_supported, refused, required
from homeport.api.validation.selectors import (
    validate_label_selector,
    validate_node_selector,
    validate_node_selector_term,
)

__all__ = [
    "validate_affinity",
    "validate_gates",
    "validate_readiness_gates",
    "validate_spread",
    "validate_taints",
    "validate_tolerations",
]

Tree = dict[str, Any]

EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def validate_affinity(affinity: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if node := affinity.get("nodeAffinity"):
        here = f"{path}.nodeAffinity"
        if _REQUIRED in node:
            errors += validate_node_selector(node[_REQUIRED], f"{here}.{_REQUIRED}")
        for index, term in enumerate(node.get(_PREFERRED, ())):
            below = f"{here}.{_PREFERRED}[{index}]"
            errors += _weight(term, below)
            errors += validate_node_selector_term(term.get("preference", {}), f"{below}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        if pods := affinity.get(kind):
            here = f"{path}.{kind}"
            for index, term in enumerate(pods.get(_REQUIRED, ())):
                errors += _pod_term(term, f"{here}.{_REQUIRED}[{index}]")
            for index, term in enumerate(pods.get(_PREFERRED, ())):
                below = f"{here}.{_PREFERRED}[{index}]"
                errors += _weight(term, below)
                errors += _pod_term(term.get("podAffinityTerm", {}), f"{below}.podAffinityTerm")
    return errors


def _weight(term: Tree, path: str) -> list[FieldError]:
    weight = term.get("weight", 0)
    return [] if 1 <= weight <= 100 else [refused(f"{path}.weight", weight, "must be in the range 1-100")]


def _pod_term(term: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("labelSelector", "namespaceSelector"):
        if field in term:
            errors += validate_label_selector(term[field], f"{path}.{field}")
    for name in term.get("namespaces", ()):
        errors += [refused(f"{path}.namespace", name, problem) for problem in names.dns1123_label(name)]
    key = term.get("topologyKey", "")
    if not key:
        errors.append(required(f"{path}.topologyKey", "can not be empty"))
    errors += [refused(f"{path}.topologyKey", key, problem) for problem in names.qualified_name(key)]
    return errors


def validate_tolerations(tolerations: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, toleration in enumerate(tolerations):
        here = f"{path}[{index}]"
        key, value = toleration.get("key", ""), toleration.get("value", "")
        operator, effect = toleration.get("operator", ""), toleration.get("effect", "")
        if key:
            errors += [refused(f"{here}.key", key, problem) for problem in names.qualified_name(key)]
        if not key and operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.append(refused(f"{here}.operator", operator, text))
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errors.append(refused(f"{here}.effect", effect, text))
        if operator in ("", "Equal"):
            if problems := names.label_value(value):
                errors.append(refused(f"{here}.operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                errors.append(refused(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'"))
        elif operator in ("Lt", "Gt"):
            errors.append(not_supported(f"{here}.operator", operator, ("Equal", "Exists", "Lt", "Gt")))
        else:
            errors.append(not_supported(f"{here}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in EFFECTS:
            errors.append(not_supported(f"{here}.effect", effect, EFFECTS))
    return errors


def validate_taints(taints: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        here = f"{path}[{index}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        errors += [refused(f"{here}.key", key, problem) for problem in names.qualified_name(key)]
        if problems := names.label_value(value):
            errors.append(refused(f"{here}.value", value, ";".join(problems)))
        if not effect:
            errors.append(required(f"{here}.effect"))
        elif effect not in EFFECTS:
            errors.append(not_supported(f"{here}.effect", effect, EFFECTS))
        if (key, effect) in seen:
            shown, text = GoStruct("core.v1.Taint", taint), "taints must be unique by key and effect pair"
            errors.append(FieldError("FieldValueDuplicate", here, shown, text))
        seen.add((key, effect))
    return errors


def validate_spread(constraints: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        skew, key = constraint.get("maxSkew", 0), constraint.get("topologyKey", "")
        action = constraint.get("whenUnsatisfiable", "")
        if skew <= 0:
            errors.append(refused(f"{here}.maxSkew", skew, "must be greater than zero"))
        if not key:
            errors.append(required(f"{here}.topologyKey", "can not be empty"))
        else:
            errors += [refused(f"{here}.topologyKey", key, problem) for problem in names.qualified_name(key)]
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            error = not_supported(f"{here}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
            errors.append(error)
        if (key, action) in seen:
            errors.append(duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        seen.add((key, action))
        if (domains := constraint.get("minDomains")) is not None:
            if domains <= 0:
                errors.append(refused(f"{here}.minDomains", domains, "must be greater than zero"))
            if action != "DoNotSchedule":
                text = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                errors.append(refused(f"{here}.minDomains", domains, text))
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if (policy := constraint.get(field)) is not None and policy not in ("Honor", "Ignore"):
                errors.append(not_supported(f"{here}.{field}", policy, ("Honor", "Ignore")))
        if "labelSelector" in constraint:
            errors += validate_label_selector(constraint["labelSelector"], f"{here}.labelSelector")
    return errors


def validate_gates(gates: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        errors += [refused(f"{path}[{index}]", name, problem) for problem in names.qualified_name(name)]
        if name in seen:
            errors.append(duplicate(f"{path}[{index}]", name))
        seen.add(name)
    return errors


def validate_readiness_gates(gates: list[Tree], path: str) -> list[FieldError]:
    return [
        refused(f"{path}[{index}].conditionType", gate.get("conditionType", ""), problem)
        for index, gate in enumerate(gates)
        for problem in names.qualified_name(gate.get("conditionType", ""))
    ]


def gates_forbid_node(path: str) -> FieldError:
    return forbidden(f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared")
