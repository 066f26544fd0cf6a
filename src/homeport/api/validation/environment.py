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
_SELECTABLE: Final = frozenset(
    {"spec.restartPolicy", "spec.schedulerName", "spec.hostNetwork", "status.phase", "status.nominatedNodeName"}
)


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
            errors.append(refused(here, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(kinds) > 1:
            errors.append(refused(here, "", "may not have more than one field specified at a time"))
    return errors


def _env_source(variable: Tree, path: str) -> list[FieldError]:
    source = variable["valueFrom"]
    errors: list[FieldError] = []
    if field := source.get("fieldRef"):
        errors += field_ref(field, FIELD_PATHS, f"{path}.fieldRef")
    if resource := source.get("resourceFieldRef"):
        errors += resource_ref(resource, f"{path}.resourceFieldRef")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if reference := source.get(kind):
            here = f"{path}.{kind}"
            if not reference.get("name"):
                errors.append(required(f"{here}.name"))
            if not reference.get("key"):
                errors.append(required(f"{here}.key"))
            else:
                key = reference["key"]
                errors += [refused(f"{here}.key", key, problem) for problem in names.config_key(key)]
    if not source:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(refused(path, "", text))
    elif variable.get("value"):
        errors.append(refused(path, "", "may not be specified when `value` is not empty"))
    elif len(source) > 1:
        errors.append(refused(path, "", "may not have more than one field specified at a time"))
    return errors


def field_ref(reference: Tree, supported: tuple[str, ...], path: str) -> list[FieldError]:
    version, field = reference.get("apiVersion", ""), reference.get("fieldPath", "")
    if not version:
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    if version != "v1":
        return [refused(f"{path}.fieldPath", field, "error converting fieldPath: pod does not support this version")]
    base, bracket, subscript = field.partition("[")
    if bracket and base in ("metadata.labels", "metadata.annotations"):
        key = subscript.removesuffix("]").strip("'")
        shown = key if base == "metadata.labels" else key.lower()
        return [refused(path, key, problem) for problem in names.qualified_name(shown)]
    if field not in supported:
        known = (*supported, "metadata.annotations", "metadata.labels")
        if field in known:
            return [not_supported(f"{path}.fieldPath", field, supported)]
        if not field.startswith(("metadata.", "spec.", "status.")) or field not in _SELECTABLE:
            text = f"error converting fieldPath: field label not supported: {field}"
            return [refused(f"{path}.fieldPath", field, text)]
        return [not_supported(f"{path}.fieldPath", field, supported)]
    return []


def resource_ref(reference: Tree, path: str) -> list[FieldError]:
    resource = reference.get("resource", "")
    if not resource:
        return [required(f"{path}.resource")]
    if resource not in RESOURCE_FIELDS and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        return [not_supported(f"{path}.resource", resource, RESOURCE_FIELDS)]
    return []
