"""What one cluster is made of, as one frozen value; kept beside its data, so that every start is like the first."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from homeport.node.network.settings import Family as Ranges

__all__ = ["FAMILIES", "PARTS", "ClusterSettings", "SettingsError", "default_data_directory"]

PARTS: Final = ("node", "scheduler", "controllers", "dns", "proxy")
"""What `--without` may leave out, for another program to play."""

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


FAMILIES: Final = ("IPv4", "IPv6")


class SettingsError(ValueError):
    """A setting that cannot be; the text names it and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Names and addresses. Ports of 0 are chosen at the first start and kept from then on.

    families             the address families of pods and Services, the default one first
    pod_network, service_network, dns_address, balancer_network      where IPv4 addresses come from, if that is one
    pod_network6, service_network6, dns_address6, balancer_network6  the same of IPv6
    api_port, dns_port   on the host's loopback address
    without              names of `PARTS` that this engine does not run
    tokens               a file of static tokens: `token,user,uid,"group1,group2"` a line; empty for none
    disabled_admission   names of admission plugins that are left out
    feature_gates        names of `homeport.api.gates.GATES` that are open
    node_ports           node ports are reachable on the host's loopback address, too
    dns_options          `NAME=VALUE` words of the DNS server (homeport.dns.options)
    """

    name: str = "default"
    node_name: str = "homeport"
    domain: str = "cluster.local"
    families: tuple[str, ...] = ("IPv4",)
    pod_network: str = "10.244.0.0/16"
    service_network: str = "10.96.0.0/16"
    dns_address: str = "10.96.0.10"
    balancer_network: str = "10.98.0.0/24"
    pod_network6: str = "fd00:10:244::/64"
    service_network6: str = "fd00:10:96::/112"
    dns_address6: str = "fd00:10:96::a"
    balancer_network6: str = "fd00:10:98::/120"
    api_host: str = "127.0.0.1"
    api_port: int = 0
    dns_port: int = 0
    without: tuple[str, ...] = ()
    tokens: str = ""
    disabled_admission: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    node_ports: bool = False
    feature_gates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"cluster name {self.name!r}: use at most 40 lower-case letters, digits and dashes, as in 'my-cluster'"
            )
        if not self.families or len(set(self.families)) < len(self.families) or set(self.families) - set(FAMILIES):
            raise SettingsError(f"address families {','.join(self.families)!r}: choose ipv4, ipv6, or both in an order")
        unknown = sorted(set(self.without) - set(PARTS))
        if unknown:
            raise SettingsError(f"--without {','.join(unknown)}: no such part; choose from {', '.join(PARTS)}")

    def differences(self, other: "ClusterSettings") -> list[str]:
        """Return what differs in another, as `name: mine instead of theirs`, in the order of the fields."""

        def shown(value: object) -> str:
            return (",".join(map(str, value)) if isinstance(value, tuple) else str(value)) or "none"

        pairs = ((one.name, getattr(self, one.name), getattr(other, one.name)) for one in fields(self))
        return [
            f"{name.replace('_', ' ')}: {shown(mine)} instead of {shown(its)}"
            for name, mine, its in pairs
            if mine != its
        ]

    @property
    def ranges(self) -> tuple[Ranges, ...]:
        """The ranges of each family, the default one first."""
        known = {
            "IPv4": (self.pod_network, self.service_network, self.dns_address, self.balancer_network),
            "IPv6": (self.pod_network6, self.service_network6, self.dns_address6, self.balancer_network6),
        }
        texts = [known[family] for family in self.families]
        return tuple(
            Ranges(ip_network(pods), ip_network(services), ip_address(dns), ip_network(balancers))
            for pods, services, dns, balancers in texts
        )

    @property
    def gateway(self) -> str:
        """The node's address on the pod network, of the default family."""
        return str(self.ranges[0].gateway)

    @property
    def name_servers(self) -> tuple[str, ...]:
        """The addresses of the DNS server that programs inside are told of, the default family's first."""
        return tuple(str(ranges.dns) for ranges in self.ranges)

    @property
    def api_address_inside(self) -> tuple[str, int]:
        """Where pods reach the API behind the `kubernetes` Service."""
        return self.gateway, 6443

    def runs(self, part: str) -> bool:
        return part not in self.without

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "ClusterSettings":
        """Read back what `as_json` gave; unknown keys are of a newer version and refused."""
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in tree.items()
        }
        try:
            return cls(**known)
        except TypeError as error:
            raise SettingsError(f"settings of another version of homeport: {error}") from error

    def changed(self, **values: Any) -> "ClusterSettings":
        """Return a copy with the values that are not None."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})


def default_data_directory(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Return `$XDG_STATE_HOME/homeport/<cluster>`. Source: XDG Base Directory Specification."""
    base = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME") or "/", ".local", "state")
    return Path(base) / "homeport" / name
