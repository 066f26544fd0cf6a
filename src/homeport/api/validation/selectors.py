"""Rules of label selectors and node selectors."""

from typing import Any

from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, forbidden, refused, required
from homeport.api.validation.metadata import validate_labels

__all__ = ["validate_label_selector", "validate_node_selector", "validate_node_selector_term"]

Tree = dict[str, Any]


def validate_label_selector(selector: Tree, path: str) -> list[FieldError]:
    errors = validate_labels(selector.get("matchLabels", {}), f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions", ())):
        here = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values", ())
        if operator in ("In", "NotIn"):
            if not values:
                errors.append(required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(forbidden(f"{here}.values", text))
        else:
            errors.append(refused(f"{here}.operator", operator, "not a valid selector operator"))
        key = expression.get("key", "")
        errors += [refused(f"{here}.key", key, problem) for problem in names.qualified_name(key)]
        errors += [
            refused(f"{here}.values[{position}]", value, problem)
            for position, value in enumerate(values)
            for problem in names.label_value(value)
        ]
    return errors


def validate_node_selector(selector: Tree, path: str) -> list[FieldError]:
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    errors: list[FieldError] = []
    for index, term in enumerate(terms):
        errors += validate_node_selector_term(term, f"{path}.nodeSelectorTerms[{index}]")
    return errors


def validate_node_selector_term(term: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, requirement in enumerate(term.get("matchExpressions", ())):
        errors += _requirement(requirement, f"{path}.matchExpressions[{index}]")
        key = requirement.get("key", "")
        here = f"{path}.matchExpressions[{index}].key"
        errors += [refused(here, key, problem) for problem in names.qualified_name(key)]
    for index, requirement in enumerate(term.get("matchFields", ())):
        errors += _field_requirement(requirement, f"{path}.matchFields[{index}]")
    return errors


def _requirement(requirement: Tree, path: str) -> list[FieldError]:
    operator, values = requirement.get("operator", ""), requirement.get("values", ())
    match operator:
        case "In" | "NotIn":
            if not values:
                return [required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")]
        case "Exists" | "DoesNotExist":
            if values:
                text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                return [forbidden(f"{path}.values", text)]
        case "Gt" | "Lt":
            if len(values) != 1:
                return [required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")]
        case _:
            return [refused(f"{path}.operator", operator, "not a valid selector operator")]
    return []


def _field_requirement(requirement: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, values = requirement.get("operator", ""), requirement.get("values", ())
    if operator not in ("In", "NotIn"):
        errors.append(refused(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(required(f"{path}.values", text))
    key = requirement.get("key", "")
    if key != "metadata.name":
        errors.append(refused(f"{path}.key", key, "not a valid field selector key"))
        return errors
    for position, value in enumerate(values):
        here = f"{path}.values[{position}]"
        errors += [refused(here, value, problem) for problem in names.dns1123_subdomain(value)]
    return errors
