"""Rules of persistent volumes and storage classes."""

from typing import Any, Final

from homeport.api import schema
from homeport.api.scalars import quantity_value
from homeport.api.validation import names
from homeport.api.validation.claims import VOLUME_MODES, validate_access_modes
from homeport.api.validation.differences import difference
from homeport.api.validation.errors import FieldError, GoStruct, forbidden, not_supported, refused, required, too_long
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.selectors import validate_node_selector
from homeport.api.validation.volumes import HOST_PATH_TYPES, validate_driver_name, validate_nfs

__all__ = [
    "validate_storage_class",
    "validate_storage_class_update",
    "validate_volume",
    "validate_volume_update",
]

Tree = dict[str, Any]

RECLAIM_POLICIES: Final = ("Delete", "Recycle", "Retain")
PARAMETERS_LIMIT: Final = 256 * 1024
BINDING_MODES: Final = ("Immediate", "WaitForFirstConsumer")
_SOURCE_ORDER: Final = ("hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs")


def _source_names() -> frozenset[str]:
    """The fields of a volume's spec that say where its data is."""
    return frozenset(schema.struct("core.v1.PersistentVolumeSpec").fields) - {
        "capacity",
        "accessModes",
        "claimRef",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "mountOptions",
        "volumeMode",
        "nodeAffinity",
        "volumeAttributesClassName",
    }


def validate_volume(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _volume_spec(tree["spec"])


def _volume_spec(spec: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    modes = spec.get("accessModes") or ()
    if not modes:
        errors.append(required("spec.accessModes"))
    errors += validate_access_modes(modes, "spec.accessModes")
    capacity = spec.get("capacity", {})
    if not capacity:
        errors.append(required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        errors.append(not_supported("spec.capacity", capacity, ("storage",)))
    for name, amount in capacity.items():
        if quantity_value(amount) <= 0:
            errors.append(refused(f"spec.capacity[{name}]", amount, "must be greater than zero"))
    policy = spec.get("persistentVolumeReclaimPolicy", "")
    if policy and policy not in RECLAIM_POLICIES:
        errors.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, RECLAIM_POLICIES))
    if affinity := spec.get("nodeAffinity"):
        if "required" in affinity:
            errors += validate_node_selector(affinity["required"], "spec.nodeAffinity.required")
        else:
            errors.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
    errors += _sources(spec)
    if spec.get("hostPath", {}).get("path", "").rstrip("/") == "" and "hostPath" in spec and policy == "Recycle":
        text = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden("spec.persistentVolumeReclaimPolicy", text))
    if name := spec.get("storageClassName"):
        errors += [refused("spec.storageClassName", name, problem) for problem in names.dns1123_subdomain(name)]
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported("spec.volumeMode", mode, VOLUME_MODES))
    return errors


def _sources(spec: Tree) -> list[FieldError]:
    known = _source_names()
    found = [field for field in spec if field in known]
    if not found:
        return [required("spec", "must specify a volume type")]
    errors: list[FieldError] = []
    for count, field in enumerate(sorted(found, key=_source_rank)):
        if count:
            errors.append(forbidden(f"spec.{field}", "may not specify more than 1 volume type"))
            continue
        source = spec[field]
        match field:
            case "hostPath":
                errors += _host_path(source, "spec.hostPath")
            case "nfs":
                errors += validate_nfs(source, "spec.nfs")
            case "local":
                if not source.get("path"):
                    errors.append(required("spec.local.path"))
                elif ".." in source["path"].split("/"):
                    errors.append(refused("spec.local.path", source["path"], "must not contain '..'"))
                if not spec.get("nodeAffinity"):
                    errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
            case "csi":
                errors += validate_driver_name(source.get("driver", ""), "spec.csi.driver")
                if not source.get("volumeHandle"):
                    errors.append(required("spec.csi.volumeHandle"))
    return errors


def _source_rank(field: str) -> int:
    return _SOURCE_ORDER.index(field) if field in _SOURCE_ORDER else len(_SOURCE_ORDER)


def _host_path(source: Tree, path: str) -> list[FieldError]:
    where, kind = source.get("path", ""), source.get("type")
    if not where:
        return [required(f"{path}.path")]
    errors: list[FieldError] = []
    if ".." in where.split("/"):
        errors.append(refused(f"{path}.path", where, "must not contain '..'"))
    if kind is not None and kind not in HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, HOST_PATH_TYPES))
    return errors


def validate_volume_update(new: Tree, old: Tree) -> list[FieldError]:
    after, before = new["spec"], old["spec"]
    errors = validate_volume(new)
    known = _source_names()
    source = {field: value for field, value in before.items() if field in known}
    wanted = {field: value for field, value in after.items() if field in known}
    if wanted != source:
        changes = difference("PersistentVolumeSource", source, wanted)
        text = f"spec.persistentvolumesource is immutable after creation\n{changes}"
        errors.append(forbidden("spec.persistentvolumesource", text))
    if after.get("volumeMode") != before.get("volumeMode"):
        errors.append(refused("volumeMode", after.get("volumeMode"), "field is immutable"))
    if "nodeAffinity" in before and after.get("nodeAffinity") != before["nodeAffinity"]:
        text = "field is immutable, except for updating from beta label to GA"
        shown = GoStruct("core.v1.VolumeNodeAffinity", after.get("nodeAffinity"))
        errors.append(refused("nodeAffinity", shown, text))
    if before.get("volumeAttributesClassName") is not None and after.get("volumeAttributesClassName") is None:
        errors.append(forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"))
    return errors


def validate_storage_class(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _storage_class(tree)


def _storage_class(tree: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    provisioner = tree.get("provisioner", "")
    if not provisioner:
        errors.append(required("provisioner"))
    else:
        problems = names.qualified_name(provisioner.lower())
        errors += [refused("provisioner", provisioner, problem) for problem in problems]
    parameters = tree.get("parameters", {})
    if len(parameters) > 512:
        errors.append(too_long("parameters", 512))
    else:
        if "" in parameters:
            errors.append(refused("parameters", "", "field can not be empty."))
        if sum(len(key) + len(value) for key, value in parameters.items()) > PARAMETERS_LIMIT:
            errors.append(too_long("parameters", PARAMETERS_LIMIT))
    policy = tree.get("reclaimPolicy")
    if policy is not None and policy not in ("Delete", "Retain"):
        errors.append(not_supported("reclaimPolicy", policy, ("Delete", "Retain")))
    mode = tree.get("volumeBindingMode")
    if mode is None:
        errors.append(required("volumeBindingMode"))
    elif mode not in BINDING_MODES:
        errors.append(not_supported("volumeBindingMode", mode, BINDING_MODES))
    return errors


def validate_storage_class_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += [
        refused(field, new.get(field, ""), "field is immutable")
        for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
        if new.get(field) != old.get(field)
    ]
    return errors
