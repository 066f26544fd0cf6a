"""Rules of the small kinds: namespaces, nodes, config maps, secrets, accounts, leases, revisions, token requests."""

import base64
import json
from typing import Any, Final

from homeport.api.scalars import decoded_length
from homeport.api.validation import addresses, names
from homeport.api.validation.errors import FieldError, GoStruct, duplicate, forbidden, refused, required, too_long
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.resources import non_negative
from homeport.api.validation.scheduling import validate_taints

__all__ = [
    "validate_account_update",
    "validate_config_map",
    "validate_config_map_update",
    "validate_lease",
    "validate_lease_update",
    "validate_namespace",
    "validate_namespace_finalize",
    "validate_namespace_status",
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
    for finalizer in tree["spec"].get("finalizers", ()):
        errors += _namespace_finalizer(finalizer, "spec.finalizers")
    return errors


def validate_namespace_finalize(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    for index, finalizer in enumerate(new["spec"].get("finalizers", ())):
        errors += _namespace_finalizer(finalizer, f"spec.finalizers[{index}]")
    return errors


def _namespace_finalizer(finalizer: str, path: str) -> list[FieldError]:
    if problems := names.qualified_name(finalizer):
        return [refused(path, finalizer, problem) for problem in problems]
    if "/" in finalizer or finalizer in ("kubernetes", "orphan", "foregroundDeletion"):
        return []
    return [refused(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]


def validate_namespace_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    phase = new.get("status", {}).get("phase", "")
    if new["metadata"].get("deletionTimestamp"):
        wanted, when = "Terminating", "is not empty"
    else:
        wanted, when = "Active", "is empty"
    if phase != wanted:
        errors.append(refused("status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` {when}"))
    return errors


def validate_node(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    errors += _taints_and_amounts(tree)
    cidrs = tree["spec"].get("podCIDRs", [])
    for index, cidr in enumerate(cidrs):
        errors += [refused(f"spec.podCIDRs[{index}]", cidr, problem) for problem in addresses.cidr(cidr)]
    if len(cidrs) > 2 or (len(cidrs) == 2 and addresses.family(cidrs[0]) == addresses.family(cidrs[1])):
        text = "may specify no more than one CIDR for each IP family"
        errors.append(refused("spec.podCIDRs", cidrs, text))
    return errors


def _taints_and_amounts(tree: Tree) -> list[FieldError]:
    errors = validate_taints(tree["spec"].get("taints", []), "metadata.taints")  # the path upstream reports
    for name, amount in tree.get("status", {}).get("capacity", {}).items():
        errors += non_negative(amount, f"status.capacity[{name}]")
    for name, amount in tree.get("status", {}).get("allocatable", {}).items():
        errors += non_negative(amount, f"status.allocatable[{name}]")
    return errors


def validate_node_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check an update of a node or of its status: the rules are the same."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    after, before = new["spec"], old["spec"]
    seen: list[Tree] = []
    for index, address in enumerate(new.get("status", {}).get("addresses", ())):
        if address in seen:
            errors.append(duplicate(f"status.addresses[{index}]", GoStruct("core.v1.NodeAddress", address)))
        seen.append(address)
    if before.get("podCIDRs") and after.get("podCIDRs") != before["podCIDRs"]:
        text = 'node updates may not change podCIDR except from "" to valid'
        errors.append(forbidden("spec.podCIDRs", text))
    if before.get("providerID") and after.get("providerID") != before["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        errors.append(forbidden("spec.providerID", text))
    return errors + _taints_and_amounts(new)


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
    return errors + validate_config_map(new)


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
            missing = (key for key in _SECRET_KEYS.get(kind, ()) if key not in data)
            errors += [required(f"data[{key}]") for key in missing]
            if kind == "kubernetes.io/ssh-auth" and data.get("ssh-privatekey") == "":
                errors.append(required("data[ssh-privatekey]"))
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
    return errors + validate_secret(new)


def validate_account_update(new: Tree, old: Tree) -> list[FieldError]:
    return validate_plain_update(new, old) + validate_plain(new)


def validate_lease(tree: Tree) -> list[FieldError]:
    return validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain) + _lease(tree.get("spec", {}))


def _lease(spec: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        errors.append(refused("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        errors.append(refused("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    strategy = spec.get("strategy")
    if strategy is not None:
        errors += [refused("spec.strategy", strategy, problem) for problem in names.qualified_name(strategy)]
    if spec.get("preferredHolder") and not strategy:
        errors.append(forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))
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
    errors = validate_metadata_update(new["metadata"], old["metadata"]) + validate_revision(new)
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
