"""Rules of the ranges cluster addresses come from, and of the objects that stand for one address each.

Source: services-dns 7.
"""

from typing import Any, Final

from homeport.api.validation import addresses, names
from homeport.api.validation.errors import FieldError, GoStruct, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update

__all__ = [
    "validate_ip_address",
    "validate_ip_address_update",
    "validate_service_cidr",
    "validate_service_cidr_update",
]

Tree = dict[str, Any]

_CIDRS: Final = "spec.cidrs"
_IMMUTABLE: Final = "field is immutable"
_ONE_EACH: Final = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"


def validate_service_cidr(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _cidrs(tree["spec"])


def validate_service_cidr_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check an update: a range of the other family may be added once, nothing else may change."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    now, was = new["spec"].get("cidrs", []), old["spec"].get("cidrs", [])
    if len(now) == len(was):
        pairs = zip(now, was, strict=True)
        return errors + [refused(f"{_CIDRS}[{i}]", a, _IMMUTABLE) for i, (a, b) in enumerate(pairs) if a != b]
    if len(was) == 1 and len(now) == 2:
        if now[0] != was[0]:
            errors.append(refused(f"{_CIDRS}[0]", now[0], _IMMUTABLE))
        return errors + _cidrs(new["spec"])
    return [*errors, refused(_CIDRS, now or None, _IMMUTABLE)]


def _cidrs(spec: Tree) -> list[FieldError]:
    cidrs = spec.get("cidrs", [])
    if not cidrs:
        return [required(_CIDRS, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [refused(_CIDRS, GoStruct("networking.v1.ServiceCIDRSpec", spec), "may only hold up to 2 values")]
    errors = [
        refused(f"{_CIDRS}[{index}]", cidr, problem)
        for index, cidr in enumerate(cidrs)
        for problem in addresses.canonical_cidr(cidr)
    ]
    families = [addresses.family(cidr) for cidr in cidrs]
    if len(families) == 2 and families[0] and families[0] == families[1]:
        errors.append(refused(_CIDRS, cidrs, _ONE_EACH))
    return errors


def validate_ip_address(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=addresses.ip_name) + _parent(tree["spec"].get("parentRef"))


def validate_ip_address_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    parent = new["spec"].get("parentRef")
    if parent != old["spec"].get("parentRef"):
        errors.append(refused("spec.parentRef", GoStruct("networking.v1.ParentReference", parent), _IMMUTABLE))
    return errors


def _parent(reference: Tree | None) -> list[FieldError]:
    if reference is None:
        return [required("spec.parentRef")]
    errors: list[FieldError] = []
    if group := reference.get("group"):
        errors += [refused("spec.parentRef.group", group, problem) for problem in names.dns1123_subdomain(group)]
    for field, wanted in (("resource", True), ("name", True), ("namespace", False)):
        path, value = f"spec.parentRef.{field}", reference.get(field, "")
        if value:
            errors += [refused(path, value, problem) for problem in names.path_segment(value)]
        elif wanted:
            errors.append(required(path))
    return errors
