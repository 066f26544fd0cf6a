"""Which addresses a LoadBalancer Service gets: pure.

Source: `services-dns` 1 (deprecated `loadBalancerIP`), 5 (without a provider an address is pending for ever).
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["Address", "Exhausted", "Pool", "Wanted", "assign"]

Address = IPv4Address | IPv6Address
Pool = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a Service asks for and has.

    versions   IP versions of the Service, its first family first
    requested  `spec.loadBalancerIP`; empty for any
    held       what its status says already
    """

    versions: tuple[int, ...]
    requested: str = ""
    held: tuple[str, ...] = ()


class Exhausted(Exception):
    """No pool has what a Service asks for; the text says what is missing and what would help."""


def assign(wanted: Wanted, pools: Sequence[Pool], taken: Container[Address]) -> tuple[Address, ...]:
    """Return one address for each family that has a pool, the Service's first family first.

    taken  the addresses of other Services

    What is held stays where it is in a pool and nobody else's. A requested address is given, or none. Raises Exhausted.
    """
    asked = _parse(wanted.requested)
    if wanted.requested and (asked is None or not any(asked in pool for pool in pools)):
        ranges = ", ".join(map(str, pools))
        raise Exhausted(f"spec.loadBalancerIP {wanted.requested} is not in {ranges}; leave it out or choose another")
    if asked is not None and asked in taken:
        raise Exhausted(f"spec.loadBalancerIP {asked} belongs to another Service; leave it out or choose another")
    held = [address for text in wanted.held if (address := _parse(text)) is not None and address not in taken]
    return tuple(
        _one(pool, asked, held, taken) for version in wanted.versions for pool in pools if pool.version == version
    )


def _one(pool: Pool, asked: Address | None, held: Sequence[Address], taken: Container[Address]) -> Address:
    if asked is not None and asked in pool:
        return asked
    for address in held:
        if address in pool:
            return address
    for address in pool.hosts():
        if address not in taken:
            return address
    raise Exhausted(f"every address of {pool} is taken; delete a Service of type LoadBalancer")


def _parse(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
