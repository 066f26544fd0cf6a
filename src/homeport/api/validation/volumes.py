"""Rules of a pod's volumes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from homeport.api.scalars import quantity_value
from homeport.api.validation import names
from homeport.api.validation.claims import validate_claim_spec
from homeport.api.validation.environment import field_ref, resource_ref
from homeport.api.validation.errors import FieldError, duplicate, forbidden, not_supported, refused, required, too_long
from homeport.api.validation.metadata import validate_annotations, validate_labels
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
            shown = _MISSPELT.get(kind, kind)
            errors.append(forbidden(f"{path}.{shown}", "may not specify more than 1 volume type"))
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
            errors += resource_ref(item["resourceFieldRef"], f"{path}.resourceFieldRef", in_volume=True)
        else:
            errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
        errors += _mode(item, "mode", path)
    return errors


_PROJECTED: Final = (
    "secret",
    "configMap",
    "downwardAPI",
    "serviceAccountToken",
    "clusterTrustBundle",
    "podCertificate",
)


def _projected(source: Tree, path: str) -> list[FieldError]:
    errors = _mode(source, "defaultMode", path)
    taken: set[str] = set()
    for index, part in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        for kind in (kind for kind in _PROJECTED if kind in part):
            below, inner = f"{here}.{kind}", part[kind]
            match kind:
                case "secret" | "configMap":
                    if not inner.get("name"):
                        errors.append(required(f"{below}.name"))
                    errors += _keys(inner.get("items", []), f"{below}.items")
                    errors += _conflicts(inner.get("items", ()), taken, path, shown=inner.get("name", ""))
                case "downwardAPI":
                    errors += _downward_files(inner.get("items", []), below)
                    errors += _conflicts(inner.get("items", ()), taken, path)
                case "serviceAccountToken":
                    errors += _token(inner, below, path)
                case "clusterTrustBundle":
                    if not inner.get("path"):
                        errors.append(required(f"{below}.path"))
                    if "name" not in inner and "signerName" not in inner:
                        errors.append(required(below, "either name or signerName must be specified"))
        if sum(kind in part for kind in _PROJECTED) > 1:
            errors.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return errors


def _conflicts(items: Iterable[Tree], taken: set[str], path: str, *, shown: str | None = None) -> list[FieldError]:
    """No two files of a projected volume may have the same path."""
    errors: list[FieldError] = []
    for item in items:
        file = item.get("path", "")
        if file in taken:
            errors.append(refused(path, file if shown is None else shown, "conflicting duplicate paths"))
        if file:
            taken.add(file)
    return errors


def _token(source: Tree, path: str, volume_path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seconds = source.get("expirationSeconds", TOKEN_SECONDS_MINIMUM)
    if seconds < TOKEN_SECONDS_MINIMUM:
        text = "may not specify a duration less than 10 minutes"
        errors.append(refused(f"{path}.expirationSeconds", seconds, text))
    if seconds > 2**32:
        text = "may not specify a duration larger than 2^32 seconds"
        errors.append(refused(f"{path}.expirationSeconds", seconds, text))
    return errors + _file_path(source.get("path", ""), f"{volume_path}.path")  # the path upstream reports


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
    errors = validate_driver_name(source.get("driver", ""), f"{path}.driver")
    if "nodePublishSecretRef" in source and not source["nodePublishSecretRef"].get("name"):
        errors.append(required(f"{path}.nodePublishSecretRef.name"))
    return errors


def validate_driver_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    if len(name) > 63:
        return [too_long(path, 63)]
    return [refused(path, name, problem) for problem in names.dns1123_subdomain(name.lower())]


def _needs(*fields: str) -> Callable[[Tree, str], list[FieldError]]:
    """Return a check that these fields are there."""

    def check(source: Tree, path: str) -> list[FieldError]:
        return [required(f"{path}.{field}") for field in fields if not source.get(field)]

    return check


def _ephemeral(source: Tree, path: str) -> list[FieldError]:
    if "volumeClaimTemplate" not in source:
        return [required(f"{path}.volumeClaimTemplate")]
    here, template = f"{path}.volumeClaimTemplate", source["volumeClaimTemplate"]
    metadata = template.get("metadata", {})
    errors = validate_annotations(metadata.get("annotations", {}), f"{here}.metadata.annotations")
    errors += validate_labels(metadata.get("labels", {}), f"{here}.metadata.labels")
    errors += [
        forbidden(f"{here}.metadata.{field}", "cannot be set")
        for field in metadata
        if field not in ("annotations", "labels")
    ]
    return errors + validate_claim_spec(template["spec"], f"{here}.spec")


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
    "gitRepo": _needs("repository"),
    "gcePersistentDisk": _needs("pdName"),
    "awsElasticBlockStore": _needs("volumeID"),
    "secret": _secret,
    "nfs": validate_nfs,
    "iscsi": _needs("targetPortal", "iqn"),
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _needs(),
    "persistentVolumeClaim": _claim,
    "rbd": _needs("monitors", "image"),
    "cinder": _needs("volumeID"),
    "cephfs": _needs("monitors"),
    "quobyte": _needs("volume"),
    "downwardAPI": _downward,
    "fc": _needs(),
    "flexVolume": _needs("driver"),
    "configMap": _config_map,
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _needs("diskName", "diskURI"),
    "storageos": _needs("volumeName"),
    "projected": _projected,
    "scaleIO": _needs("gateway", "system", "volumeName"),
    "csi": _csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
_ORDER: Final = tuple(_CHECKS)
_MISSPELT: Final = {"downwardAPI": "downwarAPI", "cephfs": "cephFS"}
"""Names as upstream spells them in one refusal."""
