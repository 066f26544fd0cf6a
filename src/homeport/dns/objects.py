"""From API objects to the few facts DNS depends on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeAlias

from homeport.dns.name import Name, from_text

__all__ = ["Address", "Endpoint", "Part", "Pod", "Port", "Service", "ServiceKey", "Slice", "pod", "service", "slice_of"]

Address: TypeAlias = IPv4Address | IPv6Address
ServiceKey: TypeAlias = tuple[str, str]
"""Namespace and name, folded."""

Part: TypeAlias = tuple[str, ...]
"""What an answer may depend on: namespace, Service, and a folded endpoint label, or "" for the Service as a whole.

Without a third item it names everything of that Service.
"""

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Port:
    """A port as SRV sees it; `number` is -1 where there is none to give."""

    name: str
    protocol: str
    number: int


NO_PORT: Final = (Port("", "", -1),)


@dataclass(frozen=True, slots=True)
class Service:
    """`alias` is the target of an ExternalName; `addresses` the cluster addresses, empty for a headless one."""

    namespace: str
    name: str
    headless: bool = False
    alias: Name | None = None
    external: bool = False
    addresses: tuple[Address, ...] = ()
    ports: tuple[Port, ...] = NO_PORT

    @property
    def key(self) -> ServiceKey:
        return self.namespace.lower(), self.name.lower()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One ready address and the label it is found under."""

    address: Address
    label: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The ready endpoints of one EndpointSlice."""

    namespace: str
    name: str
    service: str
    endpoints: tuple[Endpoint, ...]
    ports: tuple[Port, ...]

    @property
    def service_key(self) -> ServiceKey:
        return self.namespace.lower(), self.service.lower()


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with an address, for verified pod records."""

    namespace: str
    name: str
    address: Address


def _ports(raw: Any) -> tuple[Port, ...]:
    ports = tuple(Port(p.get("name") or "", p.get("protocol") or "TCP", p.get("port") or -1) for p in raw or ())
    return ports or NO_PORT


def _addresses(texts: Any) -> tuple[Address, ...]:
    return tuple(_address(text) for text in texts or ())


@lru_cache(maxsize=1 << 16)
def _address(text: str) -> Address:
    """Read an address; the same few come again with every change of a slice."""
    return ip_address(text)


def service(tree: Mapping[str, Any]) -> Service:
    """Read a Service. An ExternalName whose target is an address or no name at all has no `alias`."""
    meta, spec = tree["metadata"], tree.get("spec", {})
    namespace, name = meta["namespace"], meta["name"]
    if spec.get("type") == "ExternalName":
        return Service(namespace, name, external=True, alias=_alias(spec.get("externalName", "")))
    given = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    headless = "None" in given
    return Service(
        namespace,
        name,
        headless=headless,
        addresses=() if headless else _addresses(given),
        ports=_ports(spec.get("ports")),
    )


def _alias(target: str) -> Name | None:
    try:
        ip_address(target)
    except ValueError:
        pass
    else:
        return None
    try:
        return from_text(target) or None
    except ValueError:
        return None


def endpoint_label(hostname: str, pod_name: str, address: Address, *, use_pod_name: bool) -> str:
    """Return the label of an endpoint under its Service's name. Source: services-dns 14.3, rule 3."""
    if hostname:
        return hostname
    if use_pod_name and pod_name and len(pod_name) < 64:
        return pod_name
    if address.version == 4:
        return str(address).replace(".", "-")
    dashed = str(address).replace(":", "-")
    return dashed + "0" if dashed.endswith("-") else dashed


def slice_of(tree: Mapping[str, Any], *, use_pod_names: bool = False) -> Slice | None:
    """Read an EndpointSlice, ready endpoints only; None when it belongs to no Service or names no addresses.

    Ready means: condition `ready` true or unset. Source: services-dns 14.3, rule 5.
    """
    meta = tree["metadata"]
    owner = (meta.get("labels") or {}).get(SERVICE_NAME_LABEL, "")
    if not owner or tree.get("addressType") == "FQDN":
        return None
    endpoints: list[Endpoint] = []
    for entry in tree.get("endpoints") or ():
        if (entry.get("conditions") or {}).get("ready") is False:
            continue
        reference = entry.get("targetRef") or {}
        pod_name = reference.get("name", "") if reference.get("kind", "Pod") == "Pod" else ""
        for address in _addresses(entry.get("addresses")):
            label = endpoint_label(entry.get("hostname") or "", pod_name, address, use_pod_name=use_pod_names)
            endpoints.append(Endpoint(address, label))
    return Slice(meta["namespace"], meta["name"], owner, tuple(endpoints), _ports(tree.get("ports")))


def pod(tree: Mapping[str, Any]) -> Pod | None:
    """Read a pod; None for one without an address and for one that has ended."""
    status = tree.get("status") or {}
    if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    return Pod(tree["metadata"]["namespace"], tree["metadata"]["name"], ip_address(status["podIP"]))
