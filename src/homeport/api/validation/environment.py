"""Rules of `env` and `envFrom`, and of references to a pod's own fields and resources."""

from typing import Any, Final

from homeport.api.validation import names
from homeport.api.validation.errors import FieldError, not_supported, refused, required

__all__ = ["field_ref", "resource_ref", "validate_env", "validate_env_from"]

Tree = dict[str, Any]

FIELD_PATHS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
RESOURCE_FIELDS: Final = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
READABLE_FIELDS: Final = frozenset(
    {
        *FIELD_PATHS,
        "metadata.annotations",
        "metadata.labels",
        "spec.host",
        "spec.restartPolicy",
        "spec.schedulerName",
        "status.phase",
    }
)
_DIVISORS: Final = {
    "cpu": ("cpu", ("1m", "1")),
    "memory": ("memory", SIZES := ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")),
    "ephemeral-storage": ("local ephemeral storage", SIZES),
    "hugepages": ("hugepages", SIZES),
}
"""By resource: its name in the refusal, and the units it may be counted in."""


def validate_env(env: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(env):
        name = variable.get("name", "")
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        elif problems := names.env_name(name):
            errors += [refused(f"{path}[{index}].name", name, problem) for problem in problems]
        if "valueFrom" in variable:
            errors += _env_source(variable, f"{path}[{index}].valueFrom")
    return errors


def validate_env_from(sources: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        here = f"{path}[{index}]"
        if prefix := source.get("prefix"):
            errors += [refused(f"{here}.prefix", prefix, problem) for problem in names.env_name(prefix)]
        kinds = [kind for kind in ("configMapRef", "secretRef") if kind in source]
        for kind in kinds:
            name = source[kind].get("name", "")
            if not name:
                errors.append(required(f"{here}.{kind}.name"))
            else:
                problems = names.dns1123_subdomain(name)
                errors += [refused(f"{here}.{kind}.name", name, problem) for problem in problems]
        if not kinds:
            errors.append(refused(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(kinds) > 1:
            errors.append(refused(path, "", "may not have more than one field specified at a time"))
    return errors


def _env_source(variable: Tree, path: str) -> list[FieldError]:
    source = variable["valueFrom"]
    errors: list[FieldError] = []
    if field := source.get("fieldRef"):
        errors += field_ref(field, FIELD_PATHS, f"{path}.fieldRef")
    if resource := source.get("resourceFieldRef"):
        errors += resource_ref(resource, f"{path}.resourceFieldRef")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if (reference := source.get(kind)) is not None:
            errors += _key_ref(reference, f"{path}.{kind}")
    if (reference := source.get("fileKeyRef")) is not None:
        errors += _file_key_ref(reference, f"{path}.fileKeyRef")
    if not source:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(refused(path, "", text))
    elif variable.get("value"):
        errors.append(refused(path, "", "may not be specified when `value` is not empty"))
    elif len(source) > 1:
        errors.append(refused(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_ref(reference: Tree, path: str) -> list[FieldError]:
    name, key = reference.get("name", ""), reference.get("key", "")
    errors = [refused(f"{path}.name", name, problem) for problem in names.dns1123_subdomain(name)]
    if not key:
        return [*errors, required(f"{path}.key")]
    return errors + [refused(f"{path}.key", key, problem) for problem in names.config_key(key)]


def _file_key_ref(reference: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    key, volume, file = (reference.get(field, "") for field in ("key", "volumeName", "path"))
    if not key:
        errors.append(required(f"{path}.key"))
    else:
        errors += [refused(f"{path}.key", key, problem) for problem in names.env_name(key)]
    if not volume:
        errors.append(required(f"{path}.volumeName"))
    else:
        errors += [refused(f"{path}.volumeName", volume, problem) for problem in names.dns1123_label(volume)]
    if not file:
        errors.append(required(f"{path}.path"))
    elif ".." in file.split("/"):
        errors.append(refused(f"{path}.path", file, "must not contain '..'"))
    return errors


def field_ref(reference: Tree, supported: tuple[str, ...], path: str) -> list[FieldError]:
    """Check a reference to one of the pod's own fields, of which `supported` may be read here."""
    version, field = reference.get("apiVersion", ""), reference.get("fieldPath", "")
    if not version:
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    base, subscript = _split(field)
    wrong = ""
    if version != "v1":
        wrong = f"unsupported pod version: {version}"
    elif subscript is not None and base not in ("metadata.annotations", "metadata.labels"):
        wrong = f"field label does not support subscript: {field}"
    elif subscript is None and field not in READABLE_FIELDS:
        wrong = f"field label not supported: {field}"
    if wrong:
        return [refused(f"{path}.fieldPath", field, f"error converting fieldPath: {wrong}")]
    if subscript is not None:
        key = subscript.lower() if base == "metadata.annotations" else subscript
        return [refused(path, key, problem) for problem in names.qualified_name(key)]
    read = "spec.nodeName" if field == "spec.host" else field
    return [] if read in supported else [not_supported(f"{path}.fieldPath", read, supported)]


def _split(field: str) -> tuple[str, str | None]:
    """Split `metadata.labels['app']` into path and key; the key is None without a subscript."""
    if field.endswith("']") and "['" in field:
        base, _, key = field[:-2].partition("['")
        if base:
            return base, key
    return field, None


def resource_ref(reference: Tree, path: str, *, in_volume: bool = False) -> list[FieldError]:
    """Check a reference to a container's resources; in a volume it must say whose."""
    errors: list[FieldError] = []
    resource = reference.get("resource", "")
    if in_volume and not reference.get("containerName"):
        errors.append(required(f"{path}.containerName"))
    elif not resource:
        errors.append(required(f"{path}.resource"))
    elif resource not in RESOURCE_FIELDS and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        errors.append(not_supported(f"{path}.resource", resource, RESOURCE_FIELDS))
    divisor = reference.get("divisor", "0")
    kind = resource.partition(".")[2]
    known = _DIVISORS.get("hugepages" if kind.startswith("hugepages-") else kind)
    if divisor != "0" and known and divisor not in known[1]:
        units = " and ".join(known[1]) if len(known[1]) == 2 else ", ".join(known[1])
        text = f"only divisor's values {units} are supported with the {known[0]} resource"
        errors.append(refused(f"{path}.divisor", resource, text))
    return errors
