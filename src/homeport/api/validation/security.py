"""Rules of a container's security context and of the profiles pods share with it."""

from typing import Any, Final

from homeport.api.validation.errors import FieldError, GoStruct, not_supported, refused, required, too_long
from homeport.api.validation.mounts import relative_path

__all__ = ["app_armor_profile", "seccomp_profile", "validate_security_context"]

Tree = dict[str, Any]

PROFILE_TYPES: Final = ("Localhost", "RuntimeDefault", "Unconfined")


def validate_security_context(context: Tree, host_users: bool, path: str) -> list[FieldError]:
    errors = [
        refused(f"{path}.{field}", value, "must be between 0 and 2147483647, inclusive")
        for field in ("runAsUser", "runAsGroup")
        if (value := context.get(field)) is not None and not 0 <= value < 2**31
    ]
    if mount := context.get("procMount"):
        if mount not in ("Default", "Unmasked"):
            errors.append(not_supported(f"{path}.procMount", mount, ("Default", "Unmasked")))
        elif mount == "Unmasked" and host_users:
            text = "`hostUsers` must be false to use `Unmasked`"
            errors.append(refused(f"{path}.procMount", mount, text))
    if profile := context.get("seccompProfile"):
        errors += seccomp_profile(profile, f"{path}.seccompProfile")
    if profile := context.get("appArmorProfile"):
        errors += app_armor_profile(profile, f"{path}.appArmorProfile")
    if context.get("allowPrivilegeEscalation") is False:
        shown = GoStruct("core.v1.SecurityContext", context)
        if context.get("privileged"):
            errors.append(
                refused(path, shown, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
            )
        if "CAP_SYS_ADMIN" in context.get("capabilities", {}).get("add", ()):
            text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(refused(path, shown, text))
    return errors


def seccomp_profile(profile: Tree, path: str) -> list[FieldError]:
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    errors: list[FieldError] = []
    if not kind:
        errors.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in PROFILE_TYPES:
        errors.append(not_supported(f"{path}.type", kind, PROFILE_TYPES))
    if kind == "Localhost":
        if local is None:
            errors.append(required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            errors += relative_path(local, f"{path}.localhostProfile")
    elif local is not None:
        shown = GoStruct("core.v1.SeccompProfile", profile)
        errors.append(refused(f"{path}.localhostProfile", shown, "can only be set when seccomp type is Localhost"))
    return errors


def app_armor_profile(profile: Tree, path: str) -> list[FieldError]:
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    here = f"{path}.localhostProfile"
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in PROFILE_TYPES:
        return [not_supported(f"{path}.type", kind, PROFILE_TYPES)]
    if kind != "Localhost":
        return [refused(here, local, "can only be set when AppArmor type is Localhost")] if local is not None else []
    if not local:
        return [required(here, "must be set when AppArmor type is Localhost")]
    if local != local.strip():
        return [refused(here, local, "must not be padded with whitespace")]
    return [too_long(here, 4095)] if len(local) > 4095 else []
