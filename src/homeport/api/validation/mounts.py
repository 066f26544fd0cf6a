"""Rules of volume mounts and raw block devices inside a container."""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api.validation.errors import FieldError, forbidden, not_found, not_supported, refused, required

__all__ = ["relative_path", "validate_devices", "validate_mounts"]

Tree = dict[str, Any]
Volumes = Mapping[str, Tree]

PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")


def validate_mounts(mounts: list[Tree], volumes: Volumes, container: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    points: set[str] = set()
    devices = {d.get("name") for d in container.get("volumeDevices", ())}
    device_paths = {d.get("devicePath") for d in container.get("volumeDevices", ())}
    for index, mount in enumerate(mounts):
        here = f"{path}[{index}]"
        name, point = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.append(required(f"{here}.name"))
        if name not in volumes:
            errors.append(not_found(f"{here}.name", name))
        if not point:
            errors.append(required(f"{here}.mountPath"))
        if point in points:
            errors.append(refused(f"{here}.mountPath", point, "must be unique"))
        points.add(point)
        if name in devices:
            errors.append(refused(f"{here}.name", name, "must not already exist in volumeDevices"))
        if point in device_paths:
            errors.append(refused(f"{here}.mountPath", point, "must not already exist as a path in volumeDevices"))
        if sub := mount.get("subPath"):
            errors += relative_path(sub, f"{path}.subPath")
        if expression := mount.get("subPathExpr"):
            if mount.get("subPath"):
                text = "subPathExpr and subPath are mutually exclusive"
                errors.append(refused(f"{here}.subPathExpr", expression, text))
            errors += relative_path(expression, f"{path}.subPathExpr")
        if propagation := mount.get("mountPropagation"):
            errors += _propagation(propagation, container, f"{path}.mountPropagation")
        if recursive := mount.get("recursiveReadOnly"):
            errors += _recursive_read_only(recursive, mount, f"{here}.recursiveReadOnly")
    return errors


def validate_devices(devices: list[Tree], volumes: Volumes, container: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    names_seen: set[str] = set()
    paths_seen: set[str] = set()
    mounted = {m.get("name") for m in container.get("volumeMounts", ())}
    mount_points = {m.get("mountPath") for m in container.get("volumeMounts", ())}
    for index, device in enumerate(devices):
        here = f"{path}[{index}]"
        name, device_path = device.get("name", ""), device.get("devicePath", "")
        if not name:
            errors.append(required(f"{here}.name"))
        if name in names_seen:
            errors.append(refused(f"{here}.name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is not None and "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(refused(f"{here}.name", name, text))
        if volume is None:
            errors.append(not_found(f"{here}.name", name))
        if not device_path:
            errors.append(required(f"{here}.devicePath"))
        if device_path in paths_seen:
            errors.append(refused(f"{here}.devicePath", device_path, "must be unique"))
        if device_path and ".." in device_path.split("/"):
            errors.append(refused(f"{here}.devicePath", device_path, "can not contain backsteps ('..')"))
        if device_path in mount_points:
            errors.append(
                refused(f"{here}.devicePath", device_path, "must not already exist as a path in volumeMounts")
            )
        if name in mounted:
            errors.append(refused(f"{here}.name", name, "must not already exist in volumeMounts"))
        names_seen.add(name)
        paths_seen.add(device_path)
    return errors


def relative_path(text: str, path: str) -> list[FieldError]:
    """Check a path that must stay below where it starts."""
    errors: list[FieldError] = []
    if text.startswith("/"):
        errors.append(refused(path, text, "must be a relative path"))
    if ".." in text.split("/"):
        errors.append(refused(path, text, "must not contain '..'"))
    return errors


def _propagation(propagation: str, container: Tree, path: str) -> list[FieldError]:
    if propagation not in PROPAGATIONS:
        return [not_supported(path, propagation, PROPAGATIONS)]
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        return [forbidden(path, "Bidirectional mount propagation is available only to privileged containers")]
    return []


def _recursive_read_only(mode: str, mount: Tree, path: str) -> list[FieldError]:
    if mode not in ("Disabled", "Enabled", "IfPossible"):
        return [not_supported(path, mode, ("Disabled", "Enabled", "IfPossible"))]
    if mode == "Disabled":
        return []
    if not mount.get("readOnly"):
        return [forbidden(path, "may only be specified when readOnly is true")]
    if mount.get("mountPropagation", "None") != "None":
        return [forbidden(path, "may only be specified when mountPropagation is None or not specified")]
    return []
