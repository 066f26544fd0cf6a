"""Rules of the annotations that mean something on a pod or its template."""

import re
from collections.abc import Iterator
from typing import Any, Final

from homeport.api.validation.errors import FieldError, forbidden, refused

__all__ = ["MIRROR", "validate_pod_annotations", "validate_pod_annotations_update"]

Tree = dict[str, Any]

MIRROR: Final = "kubernetes.io/config.mirror"
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_APP_ARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP: Final = "container.seccomp.security.alpha.kubernetes.io/"
_LOCAL: Final = "localhost/"
_COST: Final = re.compile(r"0|-?[1-9][0-9]*|-0[0-9]*")


def validate_pod_annotations(annotations: dict[str, str], spec: Tree, path: str) -> list[FieldError]:
    """Check the annotations of a pod or pod template at `path`, which ends in `annotations`."""
    errors: list[FieldError] = []
    if MIRROR in annotations and not spec.get("nodeName"):
        text = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(refused(f"{path}[{MIRROR}]", annotations[MIRROR], text))
    cost = annotations.get(DELETION_COST)
    if cost is not None and not (_COST.fullmatch(cost) and -(2**31) <= int(cost) < 2**31):
        errors.append(refused(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer"))
    for key, profile in annotations.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP):
            errors += _seccomp(profile, f"{path}.{key}")
    for key, profile in annotations.items():
        if key.startswith(_APP_ARMOR):
            container = key.removeprefix(_APP_ARMOR)
            if container not in _container_names(spec):
                errors.append(refused(f"{path}[{key}]", container, "container not found"))
            if profile not in ("", "runtime/default", "unconfined") and not profile.startswith(_LOCAL):
                errors.append(refused(f"{path}[{key}]", profile, f'invalid AppArmor profile name: "{profile}"'))
    return errors


def validate_pod_annotations_update(new: dict[str, str], old: dict[str, str], spec: Tree) -> list[FieldError]:
    """Check a pod's annotations against those it had: some may neither come, change nor go."""
    path = "metadata.annotations"
    errors: list[FieldError] = []
    for key in old:
        if new.get(key) != old[key]:
            if key.startswith(_APP_ARMOR):
                errors.append(forbidden(f"{path}[{key}]", "may not remove or update AppArmor annotations"))
            elif key == MIRROR:
                errors.append(forbidden(f"{path}[{key}]", "may not remove or update mirror pod annotation"))
    for key in new:
        if key not in old:
            if key.startswith(_APP_ARMOR):
                errors.append(forbidden(f"{path}[{key}]", "may not add AppArmor annotations"))
            elif key == MIRROR:
                errors.append(forbidden(f"{path}[{key}]", "may not add mirror pod annotation"))
    return errors + validate_pod_annotations(new, spec, path)


def _seccomp(profile: str, path: str) -> list[FieldError]:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return []
    if not profile.startswith(_LOCAL):
        return [refused(path, profile, "must be a valid seccomp profile")]
    where = profile.removeprefix(_LOCAL)
    errors = [refused(path, where, "must be a relative path")] if where.startswith("/") else []
    if ".." in where.split("/"):
        errors.append(refused(path, where, "must not contain '..'"))
    return errors


def _container_names(spec: Tree) -> Iterator[str]:
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(group) or ():
            yield container.get("name", "")
