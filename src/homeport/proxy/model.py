"""The proxy's own values: what it reads from Services and EndpointSlices, and what it decides for them."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from homeport.proxy.balance import Balance

__all__ = [
    "Address",
    "Carried",
    "Endpoint",
    "Frontend",
    "Key",
    "Network",
    "PortRules",
    "ProxySettings",
    "Service",
    "ServicePort",
    "ServiceRules",
    "Target",
    "Via",
]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Key = tuple[str, str]
"""Namespace and name of a Service."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Where this proxy stands, in one address family.

    pods            the pods' addresses: traffic from elsewhere is masqueraded
    services        the range virtual addresses come from: what is not assigned there is dropped
    node_addresses  where node ports answer
    real_addresses  addresses inside `services` that an interface carries, such as the name server's: left alone
    node, zone      the names endpoints and topology hints may give for "here"
    """

    pods: Network
    services: Network
    node_addresses: tuple[Address, ...]
    real_addresses: tuple[Address, ...] = ()
    node: str = ""
    zone: str = ""

    @property
    def version(self) -> int:
        """The IP version: 4 or 6."""
        return self.services.version


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection ends up: a pod's address and port."""

    address: Address
    port: int

    @property
    def order(self) -> tuple[int, int]:
        return int(self.address), self.port

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Carried:
    """Connections of one Service port to one endpoint that user space joins: those under way, and all it ever did."""

    key: Key
    protocol: str
    port: str
    target: Target
    live: int
    picks: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint for one Service port; missing conditions already have their defaults."""

    target: Target
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    for_nodes: frozenset[str] = frozenset()
    for_zones: frozenset[str] = frozenset()

    @property
    def last_resort(self) -> bool:
        """Still serving on its way out: used when nothing is ready."""
        return self.serving and self.terminating


@dataclass(frozen=True, slots=True)
class ServicePort:
    """`protocol` is `tcp`, `udp` or `sctp`; `node_port` is 0 for none."""

    name: str
    protocol: str
    port: int
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """A Service with virtual addresses, those of one family. `affinity_seconds` is 0 without session affinity."""

    key: Key
    ports: tuple[ServicePort, ...]
    cluster_addresses: tuple[Address, ...]
    external_addresses: tuple[Address, ...] = ()
    balancer_addresses: tuple[Address, ...] = ()
    source_ranges: tuple[Network, ...] = ()
    internal_local: bool = False
    external_local: bool = False
    affinity_seconds: int = 0
    health_check_port: int = 0
    balance: Balance = Balance.RANDOM


class Via(Enum):
    """What happens to a new connection to a front end."""

    CLUSTER = "cluster"
    """To any endpoint chosen for the cluster."""
    LOCAL = "local"
    """To an endpoint on this node."""
    EXTERNAL = "external"
    """From outside, to any endpoint, which sees the node as its peer."""
    EXTERNAL_LOCAL = "external-local"
    """From outside, to an endpoint on this node, which sees the client; pods and the node itself reach any endpoint."""
    REJECT = "reject"
    """Refused at once."""
    DROP = "drop"
    """Ignored."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """An address where a Service port answers; `sources` limits who may use it, empty for everybody."""

    address: Address
    port: int
    via: Via
    sources: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class PortRules:
    """The decision for one Service port.

    serving  for UDP: every endpoint an existing flow may stay on, whatever new flows are given (§17.2)
    """

    name: str
    protocol: str
    frontends: tuple[Frontend, ...]
    cluster: tuple[Target, ...] = ()
    local: tuple[Target, ...] = ()
    affinity_seconds: int = 0
    serving: frozenset[Target] = frozenset()
    balance: Balance = Balance.RANDOM


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """The decision for one Service. Other ports of `addresses` are refused.

    ready_here  ready endpoints on this node, which the health check of an external balancer asks for
    """

    key: Key
    addresses: tuple[Address, ...]
    ports: tuple[PortRules, ...]
    health_check_port: int = 0
    ready_here: int = 0
