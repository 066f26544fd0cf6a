"""Pod and container security contexts merged. Source: `node` section 10, messages section 1.4."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from homeport.node.environment import ConfigError
from homeport.node.pod import ContainerDef, Pod
from homeport.node.runtime.contract import Image, Security

__all__ = ["security_of"]

Tree: TypeAlias = Mapping[str, Any]


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def security_of(pod: Pod, container: ContainerDef, image: Image) -> Security:
    """Return the effective settings; raises ConfigError for what runAsNonRoot forbids."""
    context: Tree = pod.spec.get("securityContext") or {}
    own: Tree = container.tree.get("securityContext") or {}
    user = own.get("runAsUser", context.get("runAsUser"))
    if own.get("runAsNonRoot", context.get("runAsNonRoot")):
        _check_not_root(pod, container, user, image)
    groups = list(context.get("supplementalGroups") or ())
    if context.get("fsGroup") is not None:
        groups.append(context["fsGroup"])
    capabilities: Tree = own.get("capabilities") or {}
    profile: Tree = own.get("seccompProfile") or context.get("seccompProfile") or {}
    seccomp = profile.get("type") or "Unconfined"
    if seccomp == "Localhost":
        seccomp = f"Localhost:{profile.get('localhostProfile', '')}"
    return Security(
        uid=user,
        gid=own.get("runAsGroup", context.get("runAsGroup")),
        groups=tuple(dict.fromkeys(groups)),
        privileged=bool(own.get("privileged")),
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        allow_privilege_escalation=own.get("allowPrivilegeEscalation") is not False,
        add_capabilities=tuple(_capability(name) for name in capabilities.get("add") or ()),
        drop_capabilities=tuple(_capability(name) for name in capabilities.get("drop") or ()),
        seccomp=seccomp,
        proc_mount=own.get("procMount") or "Default",
    )


def _check_not_root(pod: Pod, container: ContainerDef, user: int | None, image: Image) -> None:
    where = f'(pod: "{pod}", container: {container.name})'
    if user is not None:
        if user == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    image_user = image.user.partition(":")[0]
    if image_user in ("", "0"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not image_user.isdigit():
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), "
            f"cannot verify user is non-root {where}"
        )
