"""Rules of a pod's volumes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from homeport.api.scalars import quantity_value
from homeport.api.validation import names
from homeport.api.validation.claims import validate_claim_spec
from homeport.api.validation.environment import field_ref, resource_ref
from homeport.api.validation.errors import FieldError, duplicate, forbidden, not_supported, refused, required
from homeport.api.validation.mounts import relative_path

__all__ = ["HOST_PATH_TYPES", "validate_nfs", "validate_volumes"]

Tree = dict[str, Any]

HOST_PATH_TYPES: Final = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
DOWNWARD_PATHS: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
TOKEN_SECONDS_MINIMUM: Final = 600
_BAD_MODE: Final = "must be a number between 0 and 0777 (octal), both inclusive"


def validate_volumes(volumes: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        name = volume.get("name", "")
        problems: list[FieldError] = []
        if not name:
            problems.append(required(f"{here}.name"))
        else:
            problems += [refused(f"{here}.name", name, problem) for problem in names.dns1123_label(name)]
        if name in seen:
            problems.append(duplicate(f"{here}.name", name))
        seen.add(name)
        errors += _source(volume, here)
        errors += problems
    return errors


def _source(volume: Tree, path: str) -> list[FieldError]:
    kinds = [kind for kind in volume if kind != "name"]
    if not kinds:
        return [required(path, "must specify a volume type")]
    errors: list[FieldError] = []
    for count, kind in enumerate(sorted(kinds, key=_order)):
        if count:
            errors.append(forbidden(f"{path}.{kind}", "may not specify more than 1 volume type"))
        elif check := _CHECKS.get(kind):
            errors += check(volume[kind], f"{path}.{kind}")
    return errors


def _order(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _mode(source: Tree, field: str, path: str) -> list[FieldError]:
    mode = source.get(field)
    if mode is not None and not 0 <= mode <= 0o777:
        return [refused(f"{path}.{field}", mode, _BAD_MODE)]
    return []


def _keys(items: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        if not item.get("key"):
            errors.append(required(f"{here}.key"))
        errors += _file_path(item.get("path", ""), f"{here}.path")
        errors += _mode(item, "mode", here)
    return errors


def _file_path(text: str, path: str) -> list[FieldError]:
    if not text:
        return [required(path)]
    errors = relative_path(text, path)
    if text.startswith("..") and not text.startswith("../") and text != "..":
        errors.append(refused(path, text, "must not start with '..'"))
    return errors


def _empty_dir(source: Tree, path: str) -> list[FieldError]:
    limit = source.get("sizeLimit")
    if limit is not None and quantity_value(limit) < 0:
        return [forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(source: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    where = source.get("path", "")
    if not where:
        return [required(f"{path}.path")]
    if ".." in where.split("/"):
        errors.append(refused(f"{path}.path", where, "must not contain '..'"))
    kind = source.get("type")
    if kind is not None and kind not in HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, HOST_PATH_TYPES))
    return errors


def _secret(source: Tree, path: str) -> list[FieldError]:
    errors = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return errors + _mode(source, "defaultMode", path) + _keys(source.get("items", []), f"{path}.items")


def _config_map(source: Tree, path: str) -> list[FieldError]:
    errors = [] if source.get("name") else [required(f"{path}.name")]
    return errors + _mode(source, "defaultMode", path) + _keys(source.get("items", []), f"{path}.items")


def _claim(source: Tree, path: str) -> list[FieldError]:
    return [] if source.get("claimName") else [required(f"{path}.claimName")]


def _downward(source: Tree, path: str) -> list[FieldError]:
    return _mode(source, "defaultMode", path) + _downward_files(source.get("items", []), path)


def _downward_files(items: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for item in items:
        errors += _file_path(item.get("path", ""), f"{path}.path")
        if "fieldRef" in item:
            errors += field_ref(item["fieldRef"], DOWNWARD_PATHS, f"{path}.fieldRef")
            if "resourceFieldRef" in item:
                text = "fieldRef and resourceFieldRef can not be specified simultaneously"
                errors.append(refused(path, "resource", text))
        elif "resourceFieldRef" in item:
            here = f"{path}.resourceFieldRef"
            if not item["resourceFieldRef"].get("containerName"):
                errors.append(required(f"{here}.containerName"))
            else:
                errors += resource_ref(item["resourceFieldRef"], here)
        else:
            errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
        errors += _mode(item, "mode", path)
    return errors


def _projected(source: Tree, path: str) -> list[FieldError]:
    errors = _mode(source, "defaultMode", path)
    for index, part in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        kinds = [
            k for k in ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle") if k in part
        ]
        if len(kinds) > 1:
            errors.append(forbidden(f"{here}.{kinds[1]}", "may not specify more than 1 volume type"))
        for kind in kinds[:1]:
            below = f"{here}.{kind}"
            match kind:
                case "secret" | "configMap":
                    if not part[kind].get("name"):
                        errors.append(required(f"{below}.name"))
                    errors += _keys(part[kind].get("items", []), f"{below}.items")
                case "downwardAPI":
                    errors += _downward_files(part[kind].get("items", []), below)
                case "serviceAccountToken":
                    errors += _token(part[kind], below)
    return errors


def _token(source: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seconds = source.get("expirationSeconds", TOKEN_SECONDS_MINIMUM)
    if seconds < TOKEN_SECONDS_MINIMUM:
        text = "may not specify a duration less than 10 minutes"
        errors.append(refused(f"{path}.expirationSeconds", seconds, text))
    elif seconds > 2**32:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(refused(f"{path}.expirationSeconds", seconds, text))
    if not source.get("path"):
        errors.append(required(f"{path}.path"))
    else:
        errors += _file_path(source["path"], f"{path}.path")
    return errors


def validate_nfs(source: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.get("server"):
        errors.append(required(f"{path}.server"))
    if not source.get("path"):
        errors.append(required(f"{path}.path"))
    elif not source["path"].startswith("/"):
        errors.append(refused(f"{path}.path", source["path"], "must be an absolute path"))
    return errors


def _csi(source: Tree, path: str) -> list[FieldError]:
    return [] if source.get("driver") else [required(f"{path}.driver")]


def _ephemeral(source: Tree, path: str) -> list[FieldError]:
    if "volumeClaimTemplate" not in source:
        return [required(f"{path}.volumeClaimTemplate")]
    return validate_claim_spec(source["volumeClaimTemplate"]["spec"], f"{path}.volumeClaimTemplate.spec")


def _image(source: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if not source.get("reference"):
        errors.append(required(f"{path}.reference"))
    if (policy := source.get("pullPolicy", "")) not in ("Always", "IfNotPresent", "Never"):
        errors.append(not_supported(f"{path}.pullPolicy", policy, ("Always", "IfNotPresent", "Never")))
    return errors


_CHECKS: Final[Mapping[str, Callable[[Tree, str], list[FieldError]]]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _secret,
    "nfs": validate_nfs,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward,
    "configMap": _config_map,
    "projected": _projected,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
_ORDER: Final = tuple(_CHECKS)
