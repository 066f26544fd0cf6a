"""Rules of pods and of the pod templates inside workloads."""

import re
from typing import Any, Final

from homeport.api.defaults.pods import container_requests
from homeport.api.quantity import parse_quantity
from homeport.api.validation import addresses, names
from homeport.api.validation.containers import (
    padded_image,
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
)
from homeport.api.validation.errors import FieldError, forbidden, not_supported, refused, required, too_long
from homeport.api.validation.metadata import validate_labels, validate_metadata
from homeport.api.validation.pod_annotations import validate_pod_annotations
from homeport.api.validation.resources import non_negative, validate_resources
from homeport.api.validation.scheduling import (
    gates_forbid_node,
    validate_affinity,
    validate_gates,
    validate_readiness_gates,
    validate_spread,
    validate_tolerations,
)
from homeport.api.validation.security import app_armor_profile, seccomp_profile
from homeport.api.validation.volumes import validate_volumes

__all__ = ["pod_only", "validate_pod", "validate_pod_spec"]

Tree = dict[str, Any]

RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_SYSCTL: Final = re.compile(r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?")
_SYSCTL_TEXT: Final = (
    "must have at most 253 characters and match regex "
    r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
)
_NOT_ON_WINDOWS: Final = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_NOT_IN_WINDOWS_CONTEXT: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)


def validate_pod(tree: Tree) -> list[FieldError]:
    """Check a pod on create."""
    spec = tree["spec"]
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    if annotations := tree["metadata"].get("annotations"):
        errors += validate_pod_annotations(annotations, spec, "metadata.annotations")
    errors += validate_pod_spec(spec, "spec")
    errors += pod_only(spec)
    if "ephemeralContainers" in spec:
        errors.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if "schedulingGates" in spec and spec.get("nodeName"):
        errors.append(gates_forbid_node("spec"))
    return errors


def pod_only(spec: Tree) -> list[FieldError]:
    """Check what a pod must keep to and a template need not."""
    errors: list[FieldError] = []
    if not spec.get("serviceAccountName") and "volumes" in spec:
        errors += _tokens_without_account(spec["volumes"])
    for group in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(group) or ()):
            if container.get("image", "").strip() != container.get("image", ""):
                errors += padded_image(container, f"spec.{group}[{index}]")
    return errors


def validate_pod_spec(spec: Tree, path: str) -> list[FieldError]:
    """Check a pod spec, in a pod or in a template."""
    errors: list[FieldError] = []
    get = spec.get
    volumes: dict[str, Tree] = {}
    if pod_volumes := get("volumes"):
        errors += validate_volumes(pod_volumes, f"{path}.volumes")
        volumes = {volume.get("name", ""): volume for volume in pod_volumes}
    errors += validate_containers(spec, volumes, f"{path}.containers")
    if get("initContainers"):
        errors += validate_init_containers(spec, volumes, f"{path}.initContainers")
    if get("ephemeralContainers"):
        errors += validate_ephemeral_containers(spec, volumes, f"{path}.ephemeralContainers")
    if resources := get("resources"):
        errors += _pod_resources(resources, spec, f"{path}.resources")
    if get("hostNetwork"):
        errors += _host_network_ports(spec, path)
    errors += _choice(get("restartPolicy", ""), RESTART_POLICIES, f"{path}.restartPolicy")
    errors += _choice(get("dnsPolicy", ""), DNS_POLICIES, f"{path}.dnsPolicy")
    if selector := get("nodeSelector"):
        errors += validate_labels(selector, f"{path}.nodeSelector")
    if context := get("securityContext"):
        errors += _security_context(context, spec, f"{path}.securityContext")
    if affinity := get("affinity"):
        errors += validate_affinity(affinity, f"{path}.affinity")
    errors += _dns_config(spec, path)
    if gates := get("readinessGates"):
        errors += validate_readiness_gates(gates, f"{path}.readinessGates")
    if gates := get("schedulingGates"):
        errors += validate_gates(gates, f"{path}.schedulingGates")
    if constraints := get("topologySpreadConstraints"):
        errors += validate_spread(constraints, f"{path}.topologySpreadConstraints")
    if get("hostUsers") is False:
        errors += _user_namespace(spec, path)
    if (override := get("hostnameOverride")) is not None:
        errors += _hostname_override(override, spec, f"{path}.hostnameOverride")
    errors += _named(spec, path)
    if tolerations := get("tolerations"):
        errors += validate_tolerations(tolerations, f"{path}.tolerations")
    if aliases := get("hostAliases"):
        errors += _host_aliases(aliases, f"{path}.hostAliases")
    for field in ("priorityClassName", "runtimeClassName"):
        if name := get(field):
            errors += [refused(f"{path}.{field}", name, problem) for problem in names.dns1123_subdomain(name)]
    if (policy := get("preemptionPolicy")) is not None:
        errors += _choice(policy, ("PreemptLowerPriority", "Never"), f"{path}.preemptionPolicy")
    for name, amount in get("overhead", {}).items():
        errors += non_negative(amount, f"{path}.overhead[{name}]")
    if system := get("os"):
        errors += _operating_system(system.get("name", ""), spec, path)
    return errors


def _choice(value: str, supported: tuple[str, ...], path: str) -> list[FieldError]:
    if value in supported:
        return []
    return [not_supported(path, value, supported) if value else required(path)]


def _named(spec: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("serviceAccountName", "nodeName"):
        if name := spec.get(field):
            errors += [refused(f"{path}.{field}", name, problem) for problem in names.dns1123_subdomain(name)]
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        errors.append(refused(f"{path}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"))
    for field in ("hostname", "subdomain"):
        if name := spec.get(field):
            errors += [refused(f"{path}.{field}", name, problem) for problem in names.dns1123_label(name)]
    return errors


def _security_context(context: Tree, spec: Tree, path: str) -> list[FieldError]:
    errors = [
        refused(f"{path}.{field}", value, "must be between 0 and 2147483647, inclusive")
        for field in ("fsGroup", "runAsUser", "runAsGroup")
        if (value := context.get(field)) is not None and not 0 <= value < 2**31
    ]
    for index, group in enumerate(context.get("supplementalGroups", ())):
        if not 0 <= group < 2**31:
            text = "must be between 0 and 2147483647, inclusive"
            errors.append(refused(f"{path}.supplementalGroups[{index}]", group, text))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(refused(f"{path}.shareProcessNamespace", True, text))
    seen: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls", ())):
        name = sysctl.get("name", "")
        here = f"{path}.sysctls[{index}].name"
        if not name:
            errors.append(required(here))
        elif len(name) > 253 or not _SYSCTL.fullmatch(name):
            errors.append(refused(here, name, _SYSCTL_TEXT))
        elif name in seen:
            errors.append(FieldError("FieldValueDuplicate", here, name, ""))
        seen.add(name)
    errors += _context_choice(context, "fsGroupChangePolicy", ("Always", "OnRootMismatch"), path)
    if (profile := context.get("seccompProfile")) is not None:
        errors += seccomp_profile(profile, f"{path}.seccompProfile")
    if (profile := context.get("appArmorProfile")) is not None:
        errors += app_armor_profile(profile, f"{path}.appArmorProfile")
    errors += _context_choice(context, "supplementalGroupsPolicy", ("Merge", "Strict"), path)
    return errors + _context_choice(context, "seLinuxChangePolicy", ("MountOption", "Recursive"), path)


def _context_choice(context: Tree, field: str, supported: tuple[str, ...], path: str) -> list[FieldError]:
    if (value := context.get(field)) is None or value in supported:
        return []
    return [not_supported(f"{path}.{field}", value, supported)]


def _dns_config(spec: Tree, path: str) -> list[FieldError]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.dnsConfig.nameservers", text)]
    if config is None:
        return []
    errors: list[FieldError] = []
    here = f"{path}.dnsConfig"
    servers, searches = config.get("nameservers", ()), config.get("searches", ())
    if len(servers) > 3:
        errors.append(refused(f"{here}.nameservers", servers, "must not have more than 3 nameservers"))
    for index, server in enumerate(servers):
        errors += [refused(f"{here}.nameservers[{index}]", server, problem) for problem in addresses.ip(server)]
    if len(searches) > 32:
        errors.append(refused(f"{here}.searches", searches, "must not have more than 32 search paths"))
    if sum(map(len, searches)) + max(len(searches) - 1, 0) > 2048:
        text = "must not have more than 2048 characters (including spaces) in the search list"
        errors.append(refused(f"{here}.searches", searches, text))
    for index, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            problems = names.dns1123_subdomain_with_underscore(bare)
            errors += [refused(f"{here}.searches[{index}]", bare, problem) for problem in problems]
    for index, option in enumerate(config.get("options", ())):
        if not option.get("name"):
            errors.append(required(f"{here}.options[{index}]", "must not be empty"))
    return errors


def _user_namespace(spec: Tree, path: str) -> list[FieldError]:
    """A pod of its own user namespace shares no other namespace with the host (names as upstream spells them)."""
    errors = [
        forbidden(f"{path}.{shown}", "when `hostUsers` is false")
        for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
        if spec.get(field)
    ]
    errors += [
        forbidden(f"{path}.{group}[{index}].volumeDevices", "when `hostUsers` is false")
        for group in ("initContainers", "containers", "ephemeralContainers")
        for index, container in enumerate(spec.get(group) or ())
        if container.get("volumeDevices")
    ]
    return errors


def _host_network_ports(spec: Tree, path: str) -> list[FieldError]:
    """On the host's network a container port is a host port; a template may leave that to the pod's defaults."""
    return [
        refused(
            f"{path}.containers[{index}].ports[{position}].hostPort",
            port["hostPort"],
            "must match `containerPort` when `hostNetwork` is true",
        )
        for index, container in enumerate(spec.get("containers") or ())
        for position, port in enumerate(container.get("ports", ()))
        if port.get("hostPort") and port["hostPort"] != port["containerPort"]
    ]


def _hostname_override(name: str, spec: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.get("setHostnameAsFQDN"):
        errors.append(forbidden(path, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        errors.append(forbidden(path, "may not be specified when hostNetwork is true"))
    if len(name) > 64:
        errors.append(too_long(path, 64))
    return errors + [refused(path, name, problem) for problem in names.dns1123_subdomain(name)]


def _pod_resources(resources: Tree, spec: Tree, path: str) -> list[FieldError]:
    """Check pod-level resources by themselves and against what the containers ask for."""
    errors: list[FieldError] = []
    if "claims" in resources:
        errors.append(forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    errors += validate_resources({k: v for k, v in resources.items() if k != "claims"}, path)
    total = container_requests(spec)
    for name, amount in resources.get("requests", {}).items():
        if name in total and total[name] > parse_quantity(amount):
            text = f"must be greater than or equal to aggregate container requests of {total[name]}"
            errors.append(refused(f"{path}.requests[{name}]", amount, text))
    limits = resources.get("limits", {})
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in container["resources"].get("limits", {}).items():
            if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
                text = f"must be less than or equal to pod limits of {limits[name]}"
                errors.append(refused(f"{path}.containers[{index}][{name}].limits", amount, text))
    return errors


def _host_aliases(aliases: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, alias in enumerate(aliases):
        here = f"{path}[{index}]"
        ip = alias.get("ip", "")
        errors += [refused(f"{here}.ip", ip, problem) for problem in addresses.ip(ip)]
        for position, name in enumerate(alias.get("hostnames", ())):
            problems = names.dns1123_subdomain(name)
            errors += [refused(f"{here}.hostnames[{position}]", name, problem) for problem in problems]
    return errors


def _operating_system(system: str, spec: Tree, path: str) -> list[FieldError]:
    if not system:
        return [required(f"{path}.os.name")]
    if system not in ("linux", "windows"):
        return [not_supported(f"{path}.os.name", system, ("linux", "windows"))]
    if system == "linux":
        return _set_fields(spec, path, (), ("windowsOptions",), "windows options cannot be set for a linux pod")
    return _set_fields(spec, path, _NOT_ON_WINDOWS, _NOT_IN_WINDOWS_CONTEXT, "cannot be set for a windows pod")


def _set_fields(
    spec: Tree, path: str, fields: tuple[str, ...], context_fields: tuple[str, ...], text: str
) -> list[FieldError]:
    """Refuse these fields of the pod, and these of its and its containers' security contexts."""
    errors = [forbidden(f"{path}.{field}", text) for field in fields if spec.get(field) not in (None, False)]
    contexts = [(f"{path}.securityContext", spec.get("securityContext") or {})]
    contexts += [
        (f"{path}.{group}[{index}].securityContext", container.get("securityContext") or {})
        for group in ("initContainers", "containers", "ephemeralContainers")
        for index, container in enumerate(spec.get(group) or ())
    ]
    return errors + [
        forbidden(f"{where}.{field}", text)
        for where, context in contexts
        for field in context_fields
        if field in context
    ]


def _tokens_without_account(volumes: list[Tree]) -> list[FieldError]:
    return [
        forbidden(
            f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken",
            "must not be specified when serviceAccountName is not set",
        )
        for index, volume in enumerate(volumes)
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ())
        if "serviceAccountToken" in source
    ]
