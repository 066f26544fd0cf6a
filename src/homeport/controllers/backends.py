"""What a Service sees of its pods: the values and rules both endpoint controllers share.

Source: services-dns 10 and 11 of the specification; `headless` here means "no usable cluster IP" (section 0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.clock import parse_time

__all__ = [
    "HEADLESS_LABEL",
    "TRIGGER_TIME_ANNOTATION",
    "Backend",
    "ContainerPort",
    "Port",
    "Service",
    "ServicePort",
    "TriggerTimes",
    "decode_backend",
    "decode_service",
    "family_of",
    "observe_trigger",
    "resolve_ports",
    "selects",
]

HEADLESS_LABEL: Final = "service.kubernetes.io/headless"
TOPOLOGY_ANNOTATIONS: Final = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
TRIGGER_TIME_ANNOTATION: Final = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service; `target` is a number, or the name of a container port."""

    name: str
    protocol: str
    target: int | str
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """The facts of a Service that decide its endpoints. `selector` None: somebody else manages them.

    topology_hints  an annotation asks for zones by the nodes' CPU; it counts before `traffic_distribution`
    """

    namespace: str
    name: str
    uid: str
    created: str
    labels: Mapping[str, str]
    selector: Mapping[str, str] | None
    type: str
    cluster_ip: str
    families: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    publish_not_ready: bool = False
    terminating: bool = False
    traffic_distribution: str = ""
    topology_hints: bool = False

    @property
    def headless(self) -> bool:
        return self.cluster_ip in ("", "None")

    @property
    def managed(self) -> bool:
        """Whether endpoint controllers have anything to do with it."""
        return self.selector is not None and self.type != "ExternalName"


@dataclass(frozen=True, slots=True)
class ContainerPort:
    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod as an endpoint-to-be. `ready_since` is the time of the Ready condition's last change, "" when unknown."""

    namespace: str
    name: str
    uid: str
    addresses: tuple[str, ...]
    node: str
    hostname: str
    subdomain: str
    ready: bool
    ready_since: str
    terminating: bool
    ended: bool
    ports: tuple[ContainerPort, ...]

    @property
    def counts(self) -> bool:
        """Whether it can be an endpoint at all: it has an address and has not ended."""
        return bool(self.addresses) and not self.ended

    def addresses_of(self, family: str) -> tuple[str, ...]:
        return tuple(address for address in self.addresses if family_of(address) == family)

    def hostname_under(self, service: str) -> str:
        """Return the name this pod has below a Service: only where its subdomain says so."""
        return self.hostname if self.subdomain == service else ""


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A resolved port, as an endpoint carries it."""

    name: str
    protocol: str
    number: int
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class TriggerTimes:
    """The change times seen at the previous sync of a Service, per pod name, and the Service's own."""

    service: str
    pods: Mapping[str, str]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether an equality selector matches; an empty one matches everything, as in a Service's spec."""
    return all(labels.get(name) == value for name, value in selector.items())


@lru_cache(maxsize=65536)
def family_of(address: str) -> str:
    """Return `IPv4` or `IPv6`, or "" for what is no address."""
    try:
        return f"IPv{ip_address(address).version}"
    except ValueError:
        return ""


def resolve_ports(ports: Sequence[ServicePort], pod: Backend) -> tuple[Port, ...]:
    """Return the ports this pod serves, in the Service's order; a named one it lacks is left out."""
    resolved = []
    for port in ports:
        number = port.target if isinstance(port.target, int) else _named(port, pod.ports)
        if number:
            resolved.append(Port(port.name, port.protocol, number, port.app_protocol))
    return tuple(resolved)


def _named(port: ServicePort, offered: Sequence[ContainerPort]) -> int:
    return next((p.number for p in offered if p.name == port.target and p.protocol == port.protocol), 0)


def observe_trigger(
    previous: TriggerTimes | None, service: Service, pods: Sequence[Backend]
) -> tuple[TriggerTimes, str]:
    """Return what to remember and the oldest change since `previous`, "" when nothing changed.

    A Service seen first counts from its creation. Times compare as instants; they have whole seconds.
    """
    seen = TriggerTimes(service.created, {pod.name: pod.ready_since for pod in pods if pod.ready_since})
    if previous is None:
        return seen, service.created
    changed = [time for name, time in seen.pods.items() if _later(time, previous.pods.get(name, ""))]
    if _later(service.created, previous.service):
        changed.append(service.created)
    return seen, min(changed, key=parse_time, default="")


def _later(time: str, than: str) -> bool:
    return not than or parse_time(time) > parse_time(than)


def decode_service(raw: Mapping[str, Any]) -> Service:
    meta, spec = raw["metadata"], raw.get("spec") or {}
    cluster_ip = spec.get("clusterIP", "")
    return Service(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        created=meta.get("creationTimestamp", ""),
        labels=meta.get("labels") or {},
        selector=spec.get("selector") or None,
        type=spec.get("type", "ClusterIP"),
        cluster_ip=cluster_ip,
        families=tuple(spec.get("ipFamilies") or (family_of(cluster_ip) or "IPv4",)),
        ports=tuple(
            ServicePort(
                port.get("name", ""),
                port.get("protocol", "TCP"),
                port.get("targetPort") or port["port"],
                port.get("appProtocol", ""),
            )
            for port in spec.get("ports") or ()
        ),
        publish_not_ready=bool(spec.get("publishNotReadyAddresses")),
        terminating="deletionTimestamp" in meta,
        traffic_distribution=spec.get("trafficDistribution", ""),
        topology_hints=_topology_hints(meta.get("annotations") or {}),
    )


def _topology_hints(annotations: Mapping[str, str]) -> bool:
    """Tell whether hints are asked for; the older annotation decides where it is given."""
    return next((annotations[name] in ("Auto", "auto") for name in TOPOLOGY_ANNOTATIONS if name in annotations), False)


def decode_backend(raw: Mapping[str, Any]) -> Backend:
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    ready = pod_rules.condition(raw, "Ready") or {}
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    addresses = tuple(entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip"))
    return Backend(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        addresses=addresses or ((status["podIP"],) if status.get("podIP") else ()),
        node=spec.get("nodeName", ""),
        hostname=spec.get("hostname", ""),
        subdomain=spec.get("subdomain", ""),
        ready=ready.get("status") == "True",
        ready_since=ready.get("lastTransitionTime") or "",
        terminating="deletionTimestamp" in meta,
        ended=status.get("phase") in ("Succeeded", "Failed"),
        ports=tuple(
            ContainerPort(port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"])
            for container in (*spec.get("containers", ()), *sidecars)
            for port in container.get("ports") or ()
        ),
    )
