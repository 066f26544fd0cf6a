"""Rules of persistent volume claims."""

from typing import Any, Final

from homeport.api.quantity import Quantity, parse_quantity
from homeport.api.validation import names
from homeport.api.validation.differences import difference
from homeport.api.validation.errors import FieldError, forbidden, not_supported, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.selectors import validate_label_selector

__all__ = ["ACCESS_MODES", "VOLUME_MODES", "validate_claim", "validate_claim_spec", "validate_claim_update"]

Tree = dict[str, Any]

ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES: Final = ("Block", "Filesystem")
_FROZEN: Final = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def validate_claim(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + validate_claim_spec(tree["spec"], "spec")


def validate_claim_spec(spec: Tree, path: str) -> list[FieldError]:
    """Check a claim's spec, its own or one in a template."""
    errors: list[FieldError] = []
    modes = spec.get("accessModes") or ()
    if not modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    if "selector" in spec:
        errors += validate_label_selector(spec["selector"], f"{path}.selector")
    errors += validate_access_modes(modes, f"{path}.accessModes")
    resources = spec.get("resources") or {}
    size = resources.get("requests", {}).get("storage")
    here = f"{path}.resources[storage]"
    if size is None:
        errors.append(required(here))
    elif parse_quantity(size) <= Quantity(0):
        errors.append(refused(here, size, "must be greater than zero"))
    if name := spec.get("storageClassName"):
        errors += [refused(f"{path}.storageClassName", name, problem) for problem in names.dns1123_subdomain(name)]
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    if "dataSource" in spec:
        errors += _data_source(spec["dataSource"], f"{path}.dataSource")
    if "dataSourceRef" in spec:
        errors += _data_source(spec["dataSourceRef"], f"{path}.dataSourceRef")
        errors += _sources_agree(spec.get("dataSource"), spec["dataSourceRef"], path)
    if name := spec.get("volumeAttributesClassName"):
        problems = names.dns1123_subdomain(name)
        errors += [refused(f"{path}.volumeAttributesClassName", name, problem) for problem in problems]
    return errors


def validate_access_modes(modes: list[str] | tuple[str, ...], path: str) -> list[FieldError]:
    errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(m != "ReadWriteOncePod" and m in ACCESS_MODES for m in modes):
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def _data_source(source: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.get("name"):
        errors.append(required(f"{path}.name"))
    if not source.get("kind"):
        errors.append(required(f"{path}.kind"))
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(refused(path, source.get("kind", ""), text))
    if group:
        errors += [refused(f"{path}.apiGroup", group, problem) for problem in names.dns1123_subdomain(group)]
    return errors


def _sources_agree(source: Tree | None, reference: Tree, path: str) -> list[FieldError]:
    """Both may be given only when they say the same, and nothing of another namespace."""
    errors: list[FieldError] = []
    if namespace := reference.get("namespace"):
        here = f"{path}.dataSourceRef.namespace"
        errors += [refused(here, namespace, problem) for problem in names.dns1123_label(namespace)]
        if source is not None:  # upstream shows the path it names, and a path is shown as {}
            errors.append(refused(path, {}, "may not be specified when dataSourceRef.namespace is specified"))
    elif source is not None and any(
        source.get(field) != reference.get(field) for field in ("apiGroup", "kind", "name")
    ):
        errors.append(refused(path, {}, "must match dataSourceRef"))
    return errors


def validate_claim_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += validate_claim(new)
    before, after = dict(old["spec"]), dict(new["spec"])
    size_before, size_after = _size(before), _size(after)
    if not before.get("volumeName"):  # may be set once
        _take(before, after, "volumeName")
    if before.get("storageClassName") is None:  # an absent class may be given later
        _take(after, before, "storageClassName")
    if new.get("status", {}).get("phase") == "Bound":
        _take(after, before, "volumeAttributesClassName")
        if (requests := after.get("resources", {}).get("requests")) is not None:
            size = before.get("resources", {}).get("requests", {}).get("storage", "0")
            after["resources"] = {**after["resources"], "requests": {**requests, "storage": size}}
    if before != after:
        errors.append(forbidden("spec", f"{_FROZEN}\n{difference('PersistentVolumeClaimSpec', before, after)}"))
    if size_after < size_before:
        held = parse_quantity(old.get("status", {}).get("capacity", {}).get("storage", "0"))
        if size_after <= held:
            path = "spec.resources.requests.storage"
            errors.append(forbidden(path, "field can not be less than status.capacity"))
    if new["spec"].get("volumeMode") != old["spec"].get("volumeMode"):
        errors.append(refused("volumeMode", new["spec"].get("volumeMode"), "field is immutable"))
    return errors


def _size(spec: Tree) -> Quantity:
    return parse_quantity((spec.get("resources") or {}).get("requests", {}).get("storage", "0"))


def _take(into: Tree, other: Tree, field: str) -> None:
    """Make a field what it is in the other spec."""
    if field in other:
        into[field] = other[field]
    else:
        into.pop(field, None)
