"""Rules of containers: names, images, ports, and what the regular, init and ephemeral ones may have."""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api.validation import addresses, names
from homeport.api.validation.environment import validate_env, validate_env_from
from homeport.api.validation.errors import (
    FieldError,
    duplicate,
    forbidden,
    not_found,
    not_supported,
    refused,
    required,
    too_many,
)
from homeport.api.validation.handlers import PROBES, validate_lifecycle, validate_probe
from homeport.api.validation.mounts import validate_devices, validate_mounts
from homeport.api.validation.resources import validate_resources
from homeport.api.validation.security import validate_security_context

__all__ = [
    "PROTOCOLS",
    "padded_image",
    "validate_containers",
    "validate_ephemeral_containers",
    "validate_init_containers",
]

Tree = dict[str, Any]
Volumes = Mapping[str, Tree]

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
TERMINATION_POLICIES: Final = ("File", "FallbackToLogsOnError")
CONTAINER_RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
RESTART_ACTIONS: Final = ("Restart", "RestartAllContainers")
RESTART_RULES_LIMIT: Final = 20
_EPHEMERAL_REFUSED: Final = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources")


def validate_containers(spec: Tree, volumes: Volumes, path: str) -> list[FieldError]:
    """Check `spec.containers`; `volumes` are the pod's, by name."""
    containers = spec.get("containers") or ()
    if not containers:
        return [required(path)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    grace = spec.get("terminationGracePeriodSeconds", 0)
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        errors += _common(container, volumes, spec, here)
        name = container.get("name", "")
        if name in seen:
            errors.append(duplicate(f"{here}.name", name))
        seen.add(name)
        errors += _running(container, spec, grace, here)
        if "restartPolicyRules" in container or "restartPolicy" in container:
            errors += _restart_policy(container, here)
    errors += _host_ports(containers, path)
    return errors


def validate_init_containers(spec: Tree, volumes: Volumes, path: str) -> list[FieldError]:
    """Check `spec.initContainers`: names are shared with the regular ones, probes need `restartPolicy: Always`."""
    errors: list[FieldError] = []
    seen = {container.get("name", "") for container in spec.get("containers") or ()}
    grace = spec.get("terminationGracePeriodSeconds", 0)
    for index, container in enumerate(spec["initContainers"]):
        here = f"{path}[{index}]"
        errors += _common(container, volumes, spec, here)
        name = container.get("name", "")
        if name in seen:
            errors.append(duplicate(f"{here}.name", name))
        seen.add(name)
        errors += _restart_policy(container, here)
        sidecar = container.get("restartPolicy") == "Always"
        errors += _host_ports([container], path)  # one by one, hence always index 0
        if sidecar:
            errors += _running(container, spec, grace, here)
        else:
            errors += [
                forbidden(f"{here}.{field}", "may not be set for init containers without restartPolicy=Always")
                for field in ("lifecycle", *PROBES)
                if field in container
            ]
        if not sidecar:
            text = "must not be set to 'RestartContainer' for non-sidecar initContainers"
            errors += [
                refused(f"{here}.resizePolicy[{position}].restartPolicy", "RestartContainer", text)
                for position, policy in enumerate(container.get("resizePolicy", ()))
                if policy.get("restartPolicy") == "RestartContainer"
            ]
    return errors


def validate_ephemeral_containers(spec: Tree, volumes: Volumes, path: str) -> list[FieldError]:
    """Check `spec.ephemeralContainers` (node 3.4): a small subset of what a container may have."""
    errors: list[FieldError] = []
    regular = {c.get("name", "") for group in ("containers", "initContainers") for c in spec.get(group) or ()}
    seen = set(regular)
    for index, container in enumerate(spec["ephemeralContainers"]):
        here = f"{path}[{index}]"
        name = container.get("name", "")
        errors += _common(container, volumes, spec, here)
        errors += padded_image(container, here)
        if name in seen:
            errors.append(duplicate(f"{here}.name", name))
        seen.add(name)
        target = container.get("targetContainerName")
        if target and target not in regular:
            errors.append(not_found(f"{here}.targetContainerName", target))
        errors += [
            forbidden(f"{here}.{field}", "cannot be set for an Ephemeral Container")
            for field in (*_EPHEMERAL_REFUSED, "resizePolicy", "restartPolicy")
            if container.get(field)
        ]
        errors += [
            forbidden(f"{here}.volumeMounts[{i}].{field}", "cannot be set for an Ephemeral Container")
            for i, mount in enumerate(container.get("volumeMounts", ()))
            for field in ("subPath", "subPathExpr")
            if mount.get(field)
        ]
    return errors


def _common(container: Tree, volumes: Volumes, spec: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = container.get("name", "")
    if not name:
        errors.append(required(f"{path}.name"))
    elif problems := names.dns1123_label(name):
        errors += [refused(f"{path}.name", name, problem) for problem in problems]
    image = container.get("image", "")
    if not image:
        errors.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy", "")
    if policy not in TERMINATION_POLICIES:
        if policy:
            errors.append(not_supported(f"{path}.terminationMessagePolicy", policy, TERMINATION_POLICIES))
        else:
            errors.append(required(f"{path}.terminationMessagePolicy"))
    if ports := container.get("ports"):
        errors += _ports(ports, f"{path}.ports")
    if env := container.get("env"):
        errors += validate_env(env, f"{path}.env")
    if sources := container.get("envFrom"):
        errors += validate_env_from(sources, f"{path}.envFrom")
    if mounts := container.get("volumeMounts"):
        errors += validate_mounts(mounts, volumes, container, f"{path}.volumeMounts")
    if devices := container.get("volumeDevices"):
        errors += validate_devices(devices, volumes, container, f"{path}.volumeDevices")
    pull_policy = container.get("imagePullPolicy", "")
    if pull_policy not in PULL_POLICIES:
        if pull_policy:
            errors.append(not_supported(f"{path}.imagePullPolicy", pull_policy, PULL_POLICIES))
        else:
            errors.append(required(f"{path}.imagePullPolicy"))
    if resources := container.get("resources"):
        errors += validate_resources(resources, f"{path}.resources", claims=spec.get("resourceClaims", ()))
    if policies := container.get("resizePolicy"):
        errors += _resize_policies(policies, spec.get("restartPolicy", ""), f"{path}.resizePolicy")
    if context := container.get("securityContext"):
        errors += validate_security_context(context, bool(spec.get("hostUsers", True)), f"{path}.securityContext")
    return errors


def padded_image(container: Tree, path: str) -> list[FieldError]:
    """Refuse blanks around an image's name; templates are spared this check."""
    image = container.get("image", "")
    if image == image.strip():
        return []
    return [refused(f"{path}.image", image, "must not have leading or trailing whitespace")]


def _ports(ports: list[Tree], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if name := port.get("name"):
            if problems := names.port_name(name):
                errors += [refused(f"{here}.name", name, problem) for problem in problems]
            elif name in seen:
                errors.append(duplicate(f"{here}.name", name))
            else:
                seen.add(name)
        number = port["containerPort"]
        if number == 0:
            errors.append(required(f"{here}.containerPort"))
        else:
            errors += [refused(f"{here}.containerPort", number, problem) for problem in addresses.port_number(number)]
        if host_port := port.get("hostPort", 0):
            errors += [refused(f"{here}.hostPort", host_port, problem) for problem in addresses.port_number(host_port)]
        protocol = port.get("protocol", "")
        if not protocol:
            errors.append(required(f"{here}.protocol"))
        elif protocol not in PROTOCOLS:
            errors.append(not_supported(f"{here}.protocol", protocol, PROTOCOLS))
    return errors


def _host_ports(containers: list[Tree], path: str) -> list[FieldError]:
    """No two ports of a pod may ask for the same port of the node."""
    taken: set[str] = set()
    errors: list[FieldError] = []
    for index, container in enumerate(containers):
        for port_index, port in enumerate(container.get("ports", ())):
            if host_port := port.get("hostPort"):
                key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{host_port}"
                if key in taken:
                    errors.append(duplicate(f"{path}[{index}].ports[{port_index}].hostPort", key))
                taken.add(key)
    return errors


def _running(container: Tree, spec: Tree, grace: int, path: str) -> list[FieldError]:
    """Check what only a container that keeps running may have: hooks and probes."""
    errors: list[FieldError] = []
    if "lifecycle" in container:
        system = spec.get("os", {}).get("name", "")
        errors += validate_lifecycle(container["lifecycle"], grace, f"{path}.lifecycle", system=system)
    for probe in PROBES:
        if probe in container:
            errors += validate_probe(container[probe], probe, grace, f"{path}.{probe}")
    return errors


def _restart_policy(container: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules", ())
    if policy is None:
        if rules:
            text = "must specify restartPolicy when restart rules are used"
            errors.append(required(f"{path}.restartPolicy", text))
    elif policy not in CONTAINER_RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", policy, CONTAINER_RESTART_POLICIES))
    if len(rules) > RESTART_RULES_LIMIT:
        errors.append(too_many(f"{path}.restartPolicyRules", len(rules), RESTART_RULES_LIMIT))
    for index, rule in enumerate(rules):
        here = f"{path}.restartPolicyRules[{index}]"
        if (action := rule.get("action", "")) not in RESTART_ACTIONS:
            errors.append(not_supported(f"{here}.action", action, RESTART_ACTIONS))
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(required(f"{here}.exitCodes", "must be specified"))
        elif (operator := codes.get("operator", "")) not in ("In", "NotIn"):
            errors.append(not_supported(f"{here}.exitCodes.operator", operator, ("In", "NotIn")))
    return errors


def _resize_policies(policies: list[Tree], pod_policy: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if name in seen:
            errors.append(duplicate(f"{path}[{index}]", name))
        seen.add(name)
        if not name:
            errors.append(required(path))
        elif name not in ("cpu", "memory"):
            errors.append(not_supported(path, name, ("cpu", "memory")))
        if not restart:
            errors.append(required(path))
        elif restart not in ("NotRequired", "RestartContainer"):
            errors.append(not_supported(path, restart, ("NotRequired", "RestartContainer")))
        if pod_policy == "Never" and restart != "NotRequired":
            text = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            errors.append(refused(path, restart, text))
    return errors
