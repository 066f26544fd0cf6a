"""Rules of persistent volume claims."""

from typing import Any, Final

from homeport.api.scalars import quantity_value
from homeport.api.validation import names
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
    elif quantity_value(size) <= 0:
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
    return errors


def validate_access_modes(modes: list[str] | tuple[str, ...], path: str) -> list[FieldError]:
    errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(mode != "ReadWriteOncePod" for mode in modes):
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def _data_source(source: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.get("name"):
        errors.append(required(f"{path}.name"))
    if not source.get("kind"):
        errors.append(required(f"{path}.kind"))
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") and source["kind"] != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(refused(path, source["kind"], text))
    return errors


def validate_claim_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += validate_claim_spec(new["spec"], "spec")
    before, after = dict(old["spec"]), dict(new["spec"])
    if not before.get("volumeName"):
        before.pop("volumeName", None)  # may be set once
        after.pop("volumeName", None)
    if before.get("storageClassName") is None and after.get("storageClassName"):
        after.pop("storageClassName")  # an absent class may be given later
    bound = old.get("status", {}).get("phase") == "Bound"
    size_before = _size(before)
    size_after = _size(after)
    if bound:
        before["resources"] = _without_requests(before)
        after["resources"] = _without_requests(after)
        before.pop("volumeAttributesClassName", None)
        after.pop("volumeAttributesClassName", None)
    if before != after:
        errors.append(forbidden("spec", _FROZEN))
    elif bound and size_after < size_before:
        allocated = old.get("status", {}).get("capacity", {}).get("storage")
        if allocated is None or size_after < quantity_value(allocated):
            text = "field can not be less than status.capacity"
            errors.append(forbidden("spec.resources.requests.storage", text))
    return errors


def _size(spec: Tree) -> Any:
    return quantity_value((spec.get("resources") or {}).get("requests", {}).get("storage", "0"))


def _without_requests(spec: Tree) -> Tree:
    return {key: value for key, value in (spec.get("resources") or {}).items() if key != "requests"}
