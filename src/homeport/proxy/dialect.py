"""How nftables speaks of the two address families: one table each, in the words of its own."""

from dataclasses import dataclass
from typing import Final

__all__ = ["IPV4", "IPV6", "Dialect", "dialect_of"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The words of one family.

    table         the proxy's table of this family
    ip            the protocol in expressions, as in `ip saddr`
    address_type  the type of addresses in sets and maps
    longest       how long an address may be in a name
    """

    table: str
    ip: str
    address_type: str
    longest: int


IPV4: Final = Dialect("ip homeport", "ip", "ipv4_addr", len("255.255.255.255"))
IPV6: Final = Dialect("ip6 homeport", "ip6", "ipv6_addr", len("ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff"))


def dialect_of(version: int) -> Dialect:
    """Return the words for IP version 4 or 6."""
    return IPV4 if version == 4 else IPV6
