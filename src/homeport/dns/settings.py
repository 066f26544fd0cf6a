"""What a DNS server serves, as one frozen value."""

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network

from homeport.dns.hosts import HostTable
from homeport.dns.name import Name, below, fold, from_text
from homeport.dns.records import Rcode
from homeport.dns.rewrite import Rewrite

__all__ = ["DnsSettings", "Emulation", "PodRecords", "reverse_zone"]

REVERSE_ROOTS = (from_text("in-addr.arpa"), from_text("ip6.arpa"))


class PodRecords(Enum):
    """Whether `a-b-c-d.NS.pod.ZONE` is answered: never, for any address, or for addresses pods have."""

    DISABLED = "disabled"
    INSECURE = "insecure"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Emulation:
    """What makes real clusters late, for whoever wants to see an application live with it. All off by default.

    cache      seconds for which answers are kept at most, as `cache 30` does; 0 is off
    uncached   zones whose answers are not kept all the same
    lag        seconds before a change of endpoints is seen
    """

    cache: int = 0
    uncached: tuple[Name, ...] = ()
    lag: float = 0.0


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """The served zones and the habits of their answers.

    zones               folded names, forward and reverse ones; the first forward one names PTR targets
    ttl                 seconds, 0 to 3600
    namespaces          serve only these; empty: all
    fallthrough         zones whose NXDOMAIN is asked upstream instead (the root: all)
    own_addresses       where this server is reached, for NS and `ns.dns` when no Service stands before it
    unserved            the code for names outside every zone when there is no upstream
    shuffle             give the addresses of one answer in changing order
    hosts               static names, answered before any zone
    rewrites            the first rule that concerns a name decides which name is meant
    transfer            give whole zones to whoever asks over TCP
    """

    zones: tuple[Name, ...] = (from_text("cluster.local"), *REVERSE_ROOTS)
    ttl: int = 5
    pods: PodRecords = PodRecords.INSECURE
    endpoint_pod_names: bool = False
    ignore_empty: bool = False
    namespaces: frozenset[str] = frozenset()
    fallthrough: tuple[Name, ...] = ()
    own_addresses: tuple[str, ...] = ()
    unserved: Rcode = Rcode.REFUSED
    shuffle: bool = True
    negative_ttl_limit: int = field(default=300)
    hosts: HostTable = field(default_factory=HostTable)
    rewrites: tuple[Rewrite, ...] = ()
    transfer: bool = False
    emulation: Emulation = field(default_factory=Emulation)

    @property
    def primary(self) -> Name:
        """The zone that PTR records point into."""
        for zone in self.zones:
            if not any(below(zone, root) for root in REVERSE_ROOTS):
                return zone
        return self.zones[0]

    def zone_of(self, folded: Name) -> Name | None:
        """Return the longest served zone at or above a folded name."""
        best: Name | None = None
        for zone in self.zones:
            if below(folded, zone) and (best is None or len(zone) > len(best)):
                best = zone
        return best

    def falls_through(self, folded: Name) -> bool:
        return any(below(folded, zone) for zone in self.fallthrough)


def reverse_zone(network: str | IPv4Network | IPv6Network) -> Name:
    """Return the reverse zone of a network whose prefix ends on a label: `10.96.0.0/16` → `96.10.in-addr.arpa`.

    Raises ValueError for other prefixes; name the enclosing network instead.
    """
    parsed = ip_network(network)
    step = 8 if parsed.version == 4 else 4
    if parsed.prefixlen % step:
        raise ValueError(f"{parsed}: a reverse zone ends on a multiple of {step} bits; use a shorter prefix")
    labels = parsed.network_address.reverse_pointer.split(".")
    total = 4 if parsed.version == 4 else 32
    return fold(from_text(".".join(labels[total - parsed.prefixlen // step :])))
