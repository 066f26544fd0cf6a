"""Rules of resource names and amounts."""

from collections.abc import Iterable
from typing import Any, Final

from homeport.api.scalars import quantity_value
from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, duplicate, forbidden, not_found, refused, required

__all__ = ["is_standard", "is_whole", "non_negative", "overcommits", "resource_name", "validate_resources"]

Tree = dict[str, Any]

_CONTAINER: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_STANDARD: Final = _CONTAINER | frozenset(
    {
        "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
        "limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
        "persistentvolumeclaims", "storage", "requests.storage", "services.nodeports", "services.loadbalancers",
        "configmaps",
    }
)  # fmt: skip
_WHOLE: Final = frozenset(
    {
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip


def is_standard(name: str) -> bool:
    return name in _STANDARD or name.startswith(("hugepages-", "requests.hugepages-"))


def is_whole(name: str) -> bool:
    """Whether a resource comes in whole numbers."""
    return name in _WHOLE or _extended(name)


def resource_name(name: str, path: str) -> list[FieldError]:
    """Check the name of a resource a container may ask for."""
    errors = [refused(path, name, problem) for problem in names.qualified_name(name)]
    if errors:
        return errors
    if "/" not in name:
        if not is_standard(name):
            errors.append(refused(path, name, "must be a standard resource type or fully qualified"))
        if name not in _CONTAINER and not name.startswith("hugepages-"):
            errors.append(refused(path, name, "must be a standard resource for containers"))
    elif not _native(name) and not _extended(name):
        errors.append(refused(path, name, "doesn't follow extended resource name standard"))
    return errors


def non_negative(amount: str, path: str) -> list[FieldError]:
    if quantity_value(amount) < 0:
        return [refused(path, amount, "must be greater than or equal to 0")]
    return []


def validate_resources(resources: Tree, path: str, *, claims: Iterable[Tree] = ()) -> list[FieldError]:
    """Check a container's requests, limits and claims against each other."""
    errors: list[FieldError] = []
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    counted = huge = False
    for name, amount in limits.items():
        here = f"{path}.limits[{name}]"
        if name not in _CONTAINER:
            errors += resource_name(name, here)
            huge = huge or name.startswith("hugepages-")
        else:
            counted = counted or name != "ephemeral-storage"
        errors += _amount(name, amount, here)
    for name, amount in requests.items():
        here = f"{path}.requests[{name}]"
        if name not in _CONTAINER:
            errors += resource_name(name, here)
            huge = huge or name.startswith("hugepages-")
        else:
            counted = counted or name != "ephemeral-storage"
        errors += _amount(name, amount, here)
        if name in limits:
            limit = limits[name]
            if amount == limit:
                continue
            if not overcommits(name):
                if quantity_value(amount) != quantity_value(limit):
                    errors.append(refused(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}"))
            elif quantity_value(amount) > quantity_value(limit):
                text = f"must be less than or equal to {name} limit of {limit}"
                errors.append(refused(f"{path}.requests", amount, text))
        elif not overcommits(name):
            errors.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
    if huge and not counted:
        errors.append(forbidden(path, "HugePages require cpu or memory"))
    if "claims" in resources:
        errors += _claims(resources["claims"], {claim.get("name") for claim in claims}, f"{path}.claims")
    return errors


def _amount(name: str, amount: str, path: str) -> list[FieldError]:
    if not amount.startswith("-") and name in _CONTAINER:
        return []
    errors = non_negative(amount, path)
    if is_whole(name) and quantity_value(amount) % 1:
        errors.append(refused(path, amount, "must be an integer"))
    return errors


def _claims(claims: list[Tree], known: set[Any], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        name = claim.get("name", "")
        if not name:
            errors.append(required(f"{path}[{index}]"))
        elif name in seen:
            errors.append(duplicate(f"{path}[{index}]", name))
        elif name not in known:
            errors.append(not_found(f"{path}[{index}].name", name))
        seen.add(name)
    return errors


def _native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def _extended(name: str) -> bool:
    return not _native(name) and not name.startswith("requests.")


def overcommits(name: str) -> bool:
    """Whether more of a resource may be allowed than is there."""
    return _native(name) and not name.startswith("hugepages-")
