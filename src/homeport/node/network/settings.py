"""Where the cluster's addresses come from."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

__all__ = ["NetworkSettings"]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Address ranges and names inside the cluster's network namespace; nothing of it is visible outside.

    pods      one address each; the first is the node's own and the pods' gateway
    services  virtual addresses, balanced by the proxy
    dns       a real address among them, where the name server listens
    """

    pods: IPv4Network = field(default_factory=lambda: IPv4Network("10.244.0.0/16"))
    services: IPv4Network = field(default_factory=lambda: IPv4Network("10.96.0.0/16"))
    dns: IPv4Address = field(default_factory=lambda: IPv4Address("10.96.0.10"))
    mtu_bytes: int = 1500
    bridge: str = "br0"

    @property
    def gateway(self) -> IPv4Address:
        """The node's address on the pod network."""
        return self.pods.network_address + 1

    @property
    def gateway_interface(self) -> IPv4Interface:
        return IPv4Interface((self.gateway, self.pods.prefixlen))
