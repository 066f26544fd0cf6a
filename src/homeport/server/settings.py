"""What a server is told at start. One frozen value, passed down."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from homeport.api.release import KUBERNETES_VERSION

__all__ = ["ADMISSION_PLUGINS", "Network", "Settings"]

Network = IPv4Network | IPv6Network

_SERVICE_CIDRS: Final[tuple[Network, ...]] = (IPv4Network("10.96.0.0/16"),)

ADMISSION_PLUGINS: Final = (
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "TaintNodesByCondition",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "ResourceQuota",
)
"""In the order they run (api-machinery 21.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Addresses, names and limits of one cluster's API.

    service_cidrs       where ClusterIPs come from, one range per address family; the first is the default family's,
                        and its first usable address the `kubernetes` Service's
    node_ports          first and last NodePort
    advertise           address and port published as the endpoint of the `kubernetes` Service; never loopback
    server_address      `host:port` shown in legacy discovery, or "" until the listener has bound
    authorization       `RBAC`, or `AlwaysAllow`: whoever is known may do everything
    disabled_admission  plugins of `ADMISSION_PLUGINS` left out; the taint of new nodes needs a controller that
                        takes it away
    feature_gates       names of `homeport.api.gates.GATES` that are open
    node_socket         unix socket of the node agent, for logs and streams; "" when there is none
    request_timeout_seconds  the longest `?timeout=` that is heeded; a write ends after `write_timeout_seconds` anyhow
    anonymous           whether a request without credentials is `system:anonymous` rather than refused
    """

    service_cidrs: tuple[Network, ...] = _SERVICE_CIDRS
    node_ports: tuple[int, int] = (30000, 32767)
    advertise: tuple[str, int] = ("10.244.0.1", 6443)
    server_address: str = ""
    cluster_domain: str = "cluster.local"
    issuer: str = "https://kubernetes.default.svc"
    authorization: Literal["RBAC", "AlwaysAllow"] = "AlwaysAllow"
    disabled_admission: frozenset[str] = frozenset({"TaintNodesByCondition"})
    feature_gates: frozenset[str] = frozenset()
    node_socket: str = ""
    anonymous: bool = True
    git_version: str = KUBERNETES_VERSION
    max_body_bytes: int = 3 * 1024 * 1024
    request_timeout_seconds: float = 60.0
    write_timeout_seconds: float = 34.0
    watch_bookmark_seconds: float = 60.0

    @property
    def kubernetes_address(self) -> str:
        """The address of the Service through which pods reach the API."""
        return str(self.service_cidrs[0][1])
