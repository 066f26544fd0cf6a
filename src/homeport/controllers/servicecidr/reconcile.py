"""What a ServiceCIDR needs: its finalizer and its Ready condition while it lives, a verdict once it is to go. Pure.

Source: services-dns 7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

__all__ = ["FINALIZER", "GRACE_SECONDS", "Cidr", "Condition", "Decision", "contains", "reconcile"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FINALIZER: Final = "networking.k8s.io/service-cidr-finalizer"
GRACE_SECONDS: Final = 10.0
"""How long a range that is to go waits, so that nobody draws from it any more when it does."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition `Ready`, but for its time."""

    status: str
    reason: str
    message: str


READY: Final = Condition("True", "", "Kubernetes Service CIDR is ready")
IN_USE: Final = Condition(
    "False",
    "Terminating",
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
)


@dataclass(frozen=True, slots=True)
class Cidr:
    """One ServiceCIDR. `deleted_at` is when its deletion was asked for, epoch seconds; None while it lives."""

    name: str
    networks: tuple[Network, ...]
    finalized: bool = False
    ready: Condition | None = None
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be written, if anything, and after how many seconds to look again."""

    finalizer: bool | None = None
    ready: Condition | None = None
    again_seconds: float | None = None


def reconcile(cidr: Cidr, others: Sequence[Cidr], used: Iterable[Address], now: float) -> Decision:
    """Decide about one ServiceCIDR.

    others  every other one
    used    the addresses Services have
    """
    if cidr.deleted_at is None:
        return Decision(finalizer=None if cidr.finalized else True, ready=None if cidr.ready == READY else READY)
    if not _may_go(cidr, others, used):
        return Decision(ready=None if cidr.ready == IN_USE else IN_USE)
    left = cidr.deleted_at + GRACE_SECONDS - now
    if left > 0:
        return Decision(again_seconds=left)
    return Decision(finalizer=False if cidr.finalized else None)


def _may_go(cidr: Cidr, others: Sequence[Cidr], used: Iterable[Address]) -> bool:
    """Tell whether every address of a range lies in another one as well, or nobody has one that does not."""
    elsewhere = [network for other in others for network in other.networks]
    if all(any(_within(network, one) for one in elsewhere) for network in cidr.networks):
        return True
    return not any(contains(cidr.networks, address) and not contains(elsewhere, address) for address in used)


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def contains(networks: Iterable[Network], address: Address) -> bool:
    """Tell whether an address can be had from one of the ranges: neither the network's own nor the broadcast's."""
    return any(
        address in network
        and address != network.network_address
        and (network.version == 6 or address != network.broadcast_address)
        for network in networks
    )
