"""Rules of LimitRanges and ResourceQuotas (api-machinery 21.4, 21.5)."""

from typing import Any, Final

from homeport.api.scalars import quantity_value
from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, duplicate, forbidden, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.resources import is_standard, is_whole, non_negative, overcommits, resource_name

__all__ = [
    "QUOTA_SCOPES",
    "validate_limit_range",
    "validate_limit_range_update",
    "validate_quota",
    "validate_quota_status",
    "validate_quota_update",
]

Tree = dict[str, Any]

_TYPES: Final = ("Pod", "Container", "PersistentVolumeClaim")
_POD_COUNT: Final = frozenset({"pods"})
_POD: Final = _POD_COUNT | {"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
QUOTA_SCOPES: Final = {
    "Terminating": _POD,
    "NotTerminating": _POD,
    "BestEffort": _POD_COUNT,
    "NotBestEffort": _POD,
    "PriorityClass": _POD,
    "CrossNamespacePodAffinity": _POD,
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}
"""Every scope, and the resources a quota of it may count."""
_WITHOUT_VALUES: Final = frozenset(
    {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"}
)
_CONFLICTS: Final = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_NEEDS_EXISTS: Final = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


# Limit ranges


def validate_limit_range(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    seen: set[str] = set()
    for index, limit in enumerate(tree["spec"].get("limits") or ()):
        path, kind = f"spec.limits[{index}]", limit.get("type", "")
        errors += _limit_type(kind, f"{path}.type")
        if kind in seen:
            errors.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
        errors += _limit(kind, limit, path)
    return errors


def validate_limit_range_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_limit_range(new)


def _limit_type(kind: str, path: str) -> list[FieldError]:
    errors = [refused(path, kind, problem) for problem in names.qualified_name(kind)]
    if not errors and "/" not in kind and kind not in _TYPES:
        errors.append(refused(path, kind, "must be a standard limit type or fully qualified"))
    return errors


def _limit(kind: str, limit: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("max", "min"):
        errors += _names(kind, limit, field, path)
    defaults: Tree = {}
    requests: Tree = {}
    if kind == "Pod":
        for field in ("default", "defaultRequest"):
            if limit.get(field):
                errors.append(forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
    else:
        defaults, requests = limit.get("default") or {}, limit.get("defaultRequest") or {}
        errors += _names(kind, limit, "default", path) + _names(kind, limit, "defaultRequest", path)
    low, high, ratios = (limit.get(field) or {} for field in ("min", "max", "maxLimitRequestRatio"))
    if kind == "PersistentVolumeClaim" and "storage" not in low and "storage" not in high:
        text = "either minimum or maximum storage value is required, but neither was provided"
        errors.append(required(f"{path}.limits", text))
    errors += _names(kind, limit, "maxLimitRequestRatio", path)
    for name in sorted({*low, *high, *defaults, *requests, *ratios}):
        errors += _order(name, path, *(each.get(name) for each in (low, high, defaults, requests)))
        if name in ratios:
            errors += _ratio(ratios[name], low.get(name), high.get(name), f"{path}.maxLimitRequestRatio[{name}]")
        both = name in defaults and name in requests
        if both and not overcommits(name) and quantity_value(defaults[name]) != quantity_value(requests[name]):
            text = f"default value {defaults[name]} must equal to defaultRequest value {requests[name]} in {name}"
            errors.append(refused(f"{path}.defaultRequest[{name}]", requests[name], text))
    return errors


def _names(kind: str, limit: Tree, field: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in limit.get(field) or {}:
        here = f"{path}.{field}[{name}]"
        errors += resource_name(name, here) if kind in ("Pod", "Container") else _any_resource(name, here)
    return errors


def _any_resource(name: str, path: str) -> list[FieldError]:
    errors = [refused(path, name, problem) for problem in names.qualified_name(name)]
    if not errors and "/" not in name and not is_standard(name):
        errors.append(refused(path, name, "must be a standard resource type or fully qualified"))
    return errors


def _order(
    name: str, path: str, low: str | None, high: str | None, default: str | None, request: str | None
) -> list[FieldError]:
    """Check that minimum, default request, default and maximum do not pass each other."""
    errors: list[FieldError] = []

    def check(less: str | None, more: str | None, field: str, shown: str | None, words: tuple[str, str]) -> None:
        if less is not None and more is not None and quantity_value(less) > quantity_value(more):
            text = f"{words[0]} value {less} is greater than {words[1]} value {more}"
            errors.append(refused(f"{path}.{field}[{name}]", shown, text))

    check(low, high, "min", low, ("min", "max"))
    check(low, request, "defaultRequest", request, ("min", "default request"))
    check(request, high, "defaultRequest", request, ("default request", "max"))
    check(request, default, "defaultRequest", request, ("default request", "default limit"))
    check(low, default, "default", low, ("min", "default"))
    check(default, high, "default", high, ("default", "max"))
    return errors


def _ratio(ratio: str, low: str | None, high: str | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if quantity_value(ratio) < 1:
        errors.append(refused(path, ratio, f"ratio {ratio} is less than 1"))
    if low is not None and high is not None and (least := quantity_value(low)):
        most = quantity_value(high) / least
        if quantity_value(ratio) > most:
            errors.append(refused(path, ratio, f"ratio {ratio} is greater than max/min = {most:f}"))
    return errors


# Quotas


def validate_quota(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _quota_spec(tree["spec"])


def validate_quota_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"]) + _quota_spec(new["spec"])
    scopes = new["spec"].get("scopes")
    if set(scopes or ()) != set(old["spec"].get("scopes") or ()):
        errors.append(refused("spec.scopes", scopes, "field is immutable"))
    return errors


def validate_quota_status(new: Tree, old: Tree) -> list[FieldError]:
    status = new.get("status") or {}
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    return errors + _counted(status.get("hard"), "status.hard") + _counted(status.get("used"), "status.used")


def _quota_spec(spec: Tree) -> list[FieldError]:
    errors = _counted(spec.get("hard"), "spec.hard")
    names_counted = sorted(spec.get("hard") or {})
    scopes = spec.get("scopes")
    for scope in scopes or ():
        if scope not in QUOTA_SCOPES:
            errors.append(refused("spec.scopes", scopes, "unsupported scope"))
        errors += [
            refused("spec.scopes", scopes, "unsupported scope applied to resource")
            for name in names_counted
            if _outside(scope, name)
        ]
    errors += [refused("spec.scopes", scopes, "conflicting scopes") for pair in _CONFLICTS if pair <= set(scopes or ())]
    selector = spec.get("scopeSelector")
    return errors if selector is None else errors + _scope_selector(selector, names_counted)


def _scope_selector(selector: Tree, counted: list[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    path = "spec.scopeSelector.matchExpressions"
    expressions = selector.get("matchExpressions") or ()
    for each in expressions:
        scope, operator, values = each.get("scopeName", ""), each.get("operator", ""), each.get("values")
        if scope not in QUOTA_SCOPES:
            errors.append(refused(f"{path}.scopeName", scope, "unsupported scope"))
        errors += [
            refused(path, selector, "unsupported scope applied to resource")
            for name in counted
            if _outside(scope, name)
        ]
        if scope in _WITHOUT_VALUES and operator != "Exists":
            errors.append(refused(f"{path}.operator", operator, _NEEDS_EXISTS))
        match operator:
            case "In" | "NotIn":
                if not values:
                    text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                    errors.append(required(f"{path}.values", text))
            case "Exists" | "DoesNotExist":
                if values:
                    text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                    errors.append(refused(f"{path}.values", values, text))
            case _:
                errors.append(refused(f"{path}.operator", operator, "not a valid selector operator"))
    named = {each.get("scopeName") for each in expressions}
    return errors + [refused(path, selector, "conflicting scopes") for pair in _CONFLICTS if pair <= named]


def _outside(scope: str, name: str) -> bool:
    """Whether a quota of a scope cannot count a resource."""
    return scope in QUOTA_SCOPES and _is_quota_resource(name) and name not in QUOTA_SCOPES[scope]


def _is_quota_resource(name: str) -> bool:
    return is_standard(name) and name != "storage"


def _counted(amounts: Tree | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, amount in sorted((amounts or {}).items()):
        here = f"{path}[{name}]"
        errors += _any_resource(name, here)
        if "/" not in name and not _is_quota_resource(name):
            errors.append(refused(here, name, "must be a standard resource for quota"))
        errors += non_negative(amount, here)
        if is_whole(name) and quantity_value(amount) * 1000 % 1000:
            errors.append(refused(here, amount, "must be an integer"))
    return errors
