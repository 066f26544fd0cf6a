"""The environment a container starts with. Source: `node` sections 7.1 to 7.3, services-dns 16.3.

Pure but for `Objects`, which the caller fills: every ConfigMap and Secret named is looked up there.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from homeport.node.command import expand
from homeport.node.fields import field_value
from homeport.node.pod import ContainerDef, Pod
from homeport.node.resources import resource_field

__all__ = ["ConfigError", "Environment", "Facts", "Objects", "build_environment", "service_variables"]

Tree: TypeAlias = Mapping[str, Any]


class ConfigError(Exception):
    """The container cannot be configured yet: waiting reason `CreateContainerConfigError`, tried again later."""


class Objects(Protocol):
    """ConfigMaps and Secrets as they are now; None when there is none by that name."""

    def config_map(self, namespace: str, name: str) -> Tree | None: ...
    def secret(self, namespace: str, name: str) -> Tree | None: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node adds: addresses, its allocatable resources, and every Service of the cluster."""

    host_ips: Sequence[str] = ()
    pod_ips: Sequence[str] = ()
    allocatable: Mapping[str, str] | None = None
    services: Sequence[Tree] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """`own` is what the spec defines; `known` adds the service variables, for `$(NAME)` in command and args."""

    own: Mapping[str, str]
    services: Mapping[str, str]

    @property
    def known(self) -> dict[str, str]:
        return {**self.services, **self.own}

    def over(self, image: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Return the whole environment, on top of the image's."""
        return tuple({**dict(image), **self.services, **self.own}.items())


def build_environment(pod: Pod, container: ContainerDef, objects: Objects, facts: Facts) -> Environment:
    """Return the variables of one container; raises ConfigError with the message for its status."""
    services = service_variables(pod, facts.services)
    own: dict[str, str] = {}
    for source in container.tree.get("envFrom") or ():
        own |= _env_from(pod.namespace, source, objects)
    visible = {**services, **own}
    for entry in container.tree.get("env") or ():
        if entry.get("valueFrom") and not entry.get("value"):
            value = _value_from(pod, container, entry["valueFrom"], objects, facts)
        else:
            value = expand(entry.get("value") or "", visible)
        if value is not None:
            own[entry["name"]] = visible[entry["name"]] = value
    return Environment(own, {name: value for name, value in services.items() if name not in own})


def literal_environment(container: ContainerDef) -> dict[str, str]:
    """Return the literal `env` values alone: all that exec probes may refer to."""
    known: dict[str, str] = {}
    for entry in container.tree.get("env") or ():
        if not entry.get("valueFrom"):
            known[entry["name"]] = expand(entry.get("value") or "", known)
    return known


def _env_from(namespace: str, source: Tree, objects: Objects) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    if (reference := source.get("configMapRef")) is not None:
        found = objects.config_map(namespace, reference["name"])
        if found is None:
            return _missing(reference, f'configmap "{reference["name"]}" not found')
        return {prefix + key: value for key, value in (found.get("data") or {}).items()}
    reference = source.get("secretRef") or {}
    found = objects.secret(namespace, reference.get("name", ""))
    if found is None:
        return _missing(reference, f'secret "{reference.get("name", "")}" not found')
    return {prefix + key: decode_secret(value) for key, value in (found.get("data") or {}).items()}


def _missing(reference: Tree, message: str) -> dict[str, str]:
    if reference.get("optional"):
        return {}
    raise ConfigError(message)


def decode_secret(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "surrogateescape")


def _value_from(pod: Pod, container: ContainerDef, source: Tree, objects: Objects, facts: Facts) -> str | None:
    if (reference := source.get("fieldRef")) is not None:
        pod_ips = facts.host_ips if pod.host_network and not facts.pod_ips else facts.pod_ips
        return field_value(pod, reference["fieldPath"], facts.host_ips, pod_ips)
    if (reference := source.get("resourceFieldRef")) is not None:
        subject = pod.find(reference.get("containerName") or container.name)
        if subject is None:
            raise ConfigError(f"container {reference['containerName']} not found")
        return resource_field(subject, reference["resource"], reference.get("divisor"), facts.allocatable or {})
    if (reference := source.get("configMapKeyRef")) is not None:
        found = objects.config_map(pod.namespace, reference["name"])
        if found is None:
            return _absent(reference, f'configmap "{reference["name"]}" not found')
        value = (found.get("data") or {}).get(reference["key"])
        where = f"{pod.namespace}/{reference['name']}"
        return (
            value
            if value is not None
            else _absent(reference, f"couldn't find key {reference['key']} in ConfigMap {where}")
        )
    if (reference := source.get("secretKeyRef")) is not None:
        found = objects.secret(pod.namespace, reference["name"])
        if found is None:
            return _absent(reference, f'secret "{reference["name"]}" not found')
        value = (found.get("data") or {}).get(reference["key"])
        where = f"{pod.namespace}/{reference['name']}"
        return (
            decode_secret(value)
            if value is not None
            else _absent(reference, f"couldn't find key {reference['key']} in Secret {where}")
        )
    raise ConfigError("unsupported valueFrom")


def _absent(reference: Tree, message: str) -> str | None:
    if reference.get("optional"):
        return None
    raise ConfigError(message)


def service_variables(pod: Pod, services: Sequence[Tree]) -> dict[str, str]:
    """Return the variables that tell a container of the Services there were when it started."""
    links = pod.spec.get("enableServiceLinks") is not False
    chosen: dict[str, Tree] = {}
    for service in services:
        metadata = service["metadata"]
        if metadata["namespace"] == "default" and metadata["name"] == "kubernetes":
            chosen.setdefault("kubernetes", service)
        if links and metadata["namespace"] == pod.namespace:
            chosen[metadata["name"]] = service
    out: dict[str, str] = {}
    for name in sorted(chosen):
        out |= _variables_of(name, chosen[name].get("spec") or {})
    return out


def _variables_of(name: str, spec: Tree) -> dict[str, str]:
    address = spec.get("clusterIP") or ""
    ports = spec.get("ports") or ()
    if address in ("", "None") or not ports:
        return {}
    prefix = name.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    out = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            out[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        number, protocol = port["port"], port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            out[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{number}_{protocol.upper()}"
        out |= {
            stem: url,
            f"{stem}_PROTO": protocol.lower(),
            f"{stem}_PORT": str(number),
            f"{stem}_ADDR": address,
        }
    return out
