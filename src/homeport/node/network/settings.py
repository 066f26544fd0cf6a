"""Where the cluster's addresses come from."""

from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import Final

__all__ = ["IPV4", "IPV6", "Address", "Family", "Interface", "Network", "NetworkSettings", "host"]

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Family:
    """The ranges of one address family.

    pods      one address each; the first is the node's own and the pods' gateway
    services  virtual addresses, balanced by the proxy
    dns       a real address among them, where the name server listens
    balancers  addresses of LoadBalancer Services, balanced by the proxy as well
    """

    pods: Network
    services: Network
    dns: Address
    balancers: Network

    @property
    def version(self) -> int:
        return self.pods.version

    @property
    def gateway(self) -> Address:
        """The node's address on the pod network."""
        return self.pods.network_address + 1

    @property
    def gateway_interface(self) -> Interface:
        return ip_interface((self.gateway, self.pods.prefixlen))

    @property
    def everything(self) -> Network:
        """The destination of a default route."""
        return ip_network("0.0.0.0/0" if self.version == 4 else "::/0")


def host(address: Address) -> Interface:
    """Return an address as the whole of its network."""
    return ip_interface((address, address.max_prefixlen))


IPV4: Final = Family(
    IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"), IPv4Address("10.96.0.10"), IPv4Network("10.98.0.0/24")
)
IPV6: Final = Family(
    IPv6Network("fd00:10:244::/64"),
    IPv6Network("fd00:10:96::/112"),
    IPv6Address("fd00:10:96::a"),
    IPv6Network("fd00:10:98::/120"),
)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Address ranges and names inside the cluster's network namespace; nothing of it is visible outside.

    families  one or two, the default one first; each pod has an address of each
    """

    families: tuple[Family, ...] = (IPV4,)
    mtu_bytes: int = 1500
    bridge: str = "br0"

    @property
    def primary(self) -> Family:
        return self.families[0]

    def mac(self, address: Address) -> bytes:
        """A locally administered address that follows from the primary IP address, so that neighbours stay right."""
        return b"\x0a\x58" + address.packed[-4:]
