"""Rules of the small kinds: namespaces, nodes, config maps, secrets, accounts, events, leases, revisions, reviews."""

import base64
import json
from typing import Any, Final

from homeport.api.scalars import decoded_length
from homeport.api.validation import addresses, names
from homeport.api.validation.errors import FieldError, forbidden, refused, required, too_long
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.scheduling import validate_taints

__all__ = [
    "validate_config_map",
    "validate_config_map_update",
    "validate_event",
    "validate_event_update",
    "validate_lease",
    "validate_lease_update",
    "validate_namespace",
    "validate_namespace_finalize",
    "validate_namespace_update",
    "validate_node",
    "validate_node_update",
    "validate_plain",
    "validate_plain_update",
    "validate_revision",
    "validate_revision_update",
    "validate_secret",
    "validate_secret_update",
    "validate_token_request",
]

Tree = dict[str, Any]

DATA_LIMIT: Final = 1024 * 1024
TOKEN_SECONDS: Final = (600, 2**32)
_NOTE_LIMIT: Final = 1024
_FROZEN: Final = "field is immutable when `immutable` is set"
_SECRET_KEYS: Final = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def validate_plain(tree: Tree) -> list[FieldError]:
    """Check a kind that has no rules but those of its metadata."""
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)


def validate_plain_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"])


def validate_namespace(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_label)
    return errors + _namespace_finalizers(tree)


def validate_namespace_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"])


def validate_namespace_finalize(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + _namespace_finalizers(new)


def _namespace_finalizers(tree: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, finalizer in enumerate(tree.get("spec", {}).get("finalizers", ())):
        path = f"spec.finalizers[{index}]"
        if problems := names.qualified_name(finalizer):
            errors += [refused(path, finalizer, problem) for problem in problems]
        elif "/" not in finalizer and finalizer not in ("kubernetes", "orphan", "foregroundDeletion"):
            text = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(refused(path, finalizer, text))
    return errors


def validate_node(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _node_spec(tree["spec"])


def _node_spec(spec: Tree) -> list[FieldError]:
    errors = validate_taints(spec.get("taints", []), "spec.taints")
    cidrs = spec.get("podCIDRs", [])
    for index, cidr in enumerate(cidrs):
        errors += [refused(f"spec.podCIDRs[{index}]", cidr, problem) for problem in addresses.cidr(cidr)]
    if len(cidrs) > 2 or (len(cidrs) == 2 and addresses.family(cidrs[0]) == addresses.family(cidrs[1])):
        text = "may specify no more than one CIDR for each IP family"
        errors.append(refused("spec.podCIDRs", cidrs, text))
    return errors


def validate_node_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    after, before = new["spec"], old["spec"]
    errors += _node_spec(after)
    if before.get("podCIDRs") and after.get("podCIDRs") != before["podCIDRs"]:
        text = 'node updates may not change podCIDR except from "" to valid'
        errors.append(forbidden("spec.podCIDRs", text))
    if before.get("providerID") and after.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        errors.append(forbidden("spec.providerID", text))
    return errors


def validate_config_map(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _config_map(tree)


def _config_map(tree: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    data, binary = tree.get("data", {}), tree.get("binaryData", {})
    size = 0
    for key, value in data.items():
        errors += [refused(f"data[{key}]", key, problem) for problem in names.config_key(key)]
        if key in binary:
            errors.append(refused(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value.encode()) if not value.isascii() else len(value)
    for key, value in binary.items():
        errors += [refused(f"binaryData[{key}]", key, problem) for problem in names.config_key(key)]
        size += decoded_length(value)
    if size > DATA_LIMIT:
        errors.append(too_long("", DATA_LIMIT))
    return errors


def validate_config_map_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    if old.get("immutable"):
        errors += _still(new, old, ("data", "binaryData"))
    return errors + _config_map(new)


def _still(new: Tree, old: Tree, fields: tuple[str, ...]) -> list[FieldError]:
    errors = [forbidden("immutable", _FROZEN)] if not new.get("immutable") else []
    return errors + [forbidden(field, _FROZEN) for field in fields if new.get(field) != old.get(field)]


def validate_secret(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _secret(tree)


def _secret(tree: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    data = tree.get("data", {})
    size = 0
    for key, value in data.items():
        errors += [refused(f"data[{key}]", key, problem) for problem in names.config_key(key)]
        size += decoded_length(value)
    if size > DATA_LIMIT:
        errors.append(too_long("data", DATA_LIMIT))
    kind = tree.get("type", "")
    match kind:
        case "kubernetes.io/service-account-token":
            annotation = "kubernetes.io/service-account.name"
            if not tree["metadata"].get("annotations", {}).get(annotation):
                errors.append(required(f"metadata.annotations[{annotation}]"))
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                errors += [required("data[username]"), required("data[password]")]
        case _:
            errors += [required(f"data[{key}]") for key in _SECRET_KEYS.get(kind, ()) if key not in data]
            if kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
                errors += _docker(data, _SECRET_KEYS[kind][0])
    return errors


def _docker(data: dict[str, str], key: str) -> list[FieldError]:
    if key not in data:
        return []
    try:
        json.loads(base64.b64decode(data[key]))
    except ValueError as error:
        return [refused(f"data[{key}]", "<secret contents redacted>", str(error))]
    return []


def validate_secret_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    if new.get("type") != old.get("type"):
        errors.append(refused("type", new.get("type", ""), "field is immutable"))
    if old.get("immutable"):
        errors += _still(new, old, ("data",))
    return errors + _secret(new)


def validate_event(tree: Tree) -> list[FieldError]:
    """Check an event of either API; the newer one has its fields under other names and more rules."""
    regarding = "involvedObject" if "involvedObject" in tree else "regarding"
    errors = _event_namespace(tree, regarding)
    if regarding == "regarding":
        errors += _new_event(tree)
    return errors


def _event_namespace(tree: Tree, regarding: str) -> list[FieldError]:
    namespace = tree["metadata"].get("namespace", "")
    about = (tree.get(regarding) or {}).get("namespace", "")
    path = f"{regarding}.namespace" if regarding == "involvedObject" else "involvedObject.namespace"
    if not about:
        if namespace not in ("default", "kube-system"):
            return [refused(path, about, "does not match event.namespace")]
        return []
    return [] if about == namespace else [refused(path, about, "does not match event.namespace")]


def _new_event(tree: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    if not tree.get("eventTime"):
        errors.append(required("eventTime"))
    if tree.get("type") not in ("Normal", "Warning"):
        errors.append(refused("type", tree.get("type", ""), "has invalid value: " + tree.get("type", "")))
    controller = tree.get("reportingController", "")
    errors += [refused("reportingController", controller, problem) for problem in names.qualified_name(controller)]
    for field, path in (("reportingInstance", "reportingInstance"), ("action", "action"), ("reason", "reason")):
        value = tree.get(field, "")
        if not value:
            errors.append(required(path))
        elif len(value) > 128:
            errors.append(refused(path, "", "can have at most 128 characters"))
    if len(tree.get("note", "")) > _NOTE_LIMIT:
        errors.append(refused("message", "", "can have at most 1024 characters"))
    return errors


def validate_event_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + (
        _event_namespace(new, "involvedObject") if "involvedObject" in new else []
    )


def validate_lease(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _lease(tree.get("spec", {}))


def _lease(spec: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        errors.append(refused("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(refused("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return errors


def validate_lease_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_metadata_update(new["metadata"], old["metadata"]) + _lease(new.get("spec", {}))


def validate_revision(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    if tree.get("data") is None:
        errors.append(required("data", "data is mandatory"))
    return errors + _revision(tree)


def _revision(tree: Tree) -> list[FieldError]:
    if tree.get("revision", 0) < 0:
        return [refused("revision", tree["revision"], "must be greater than or equal to 0")]
    return []


def validate_revision_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"]) + _revision(new)
    if new.get("data") != old.get("data"):
        errors.append(refused("data", new.get("data"), "field is immutable"))
    return errors


def validate_token_request(tree: Tree) -> list[FieldError]:
    """Check a TokenRequest body (api-machinery 18.6)."""
    seconds = tree["spec"].get("expirationSeconds", TOKEN_SECONDS[0])
    if seconds < TOKEN_SECONDS[0]:
        return [refused("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")]
    if seconds > TOKEN_SECONDS[1]:
        return [refused("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")]
    return []
