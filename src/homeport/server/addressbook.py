"""Which cluster addresses there are and which are in use (services-dns 3.1, 7). All of it in memory.

The ranges are the ready ServiceCIDRs. An address is in use when a stored Service has it, when an IPAddress object
names it, or when a write under way has taken it.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from homeport.server.cache import Change, ResourceCache
from homeport.server.objects import Tree
from homeport.server.pools import Full, OutOfRange, Scope, Taken, Tally, band, choose
from homeport.server.settings import Network

__all__ = ["Address", "AddressBook", "Holder", "Range", "cluster_addresses", "family_of", "is_ready"]

Address = IPv4Address | IPv6Address
Holder = tuple[str, str]
"""Namespace and name of a Service."""

_SHORTEST: Final = {4: 0, 6: 64}
"""The shortest prefix addresses are drawn from, by IP version (services-dns 3.1)."""

DEFAULT_RANGES: Final = "kubernetes"
"""Name of the ServiceCIDR made of the server's settings: its ranges are drawn from first."""


def family_of(what: Address | Network) -> str:
    return f"IPv{what.version}"


@dataclass(frozen=True, slots=True)
class Range:
    """One range of addresses: all but the first, which names the network, and with IPv4 the last, the broadcast's."""

    network: Network

    @property
    def first(self) -> int:
        return int(self.network.network_address) + 1

    @property
    def last(self) -> int:
        return int(self.network.broadcast_address) - (self.network.version == 4)

    @property
    def static(self) -> int:
        return band(self.network.num_addresses, 16, 16, 256)

    def __contains__(self, address: Address) -> bool:
        return address.version == self.network.version and self.first <= int(address) <= self.last


class AddressBook:
    """Gives addresses out. It sees the Services' changes as an observer of their cache."""

    def __init__(self, cidrs: ResourceCache, addresses: ResourceCache, rng: random.Random) -> None:
        self._cidrs, self._addresses, self._rng = cidrs, addresses, rng
        self._holders: dict[Address, Holder] = {}
        self._underway: set[Address] = set()
        self._moved: set[Address] = set()
        self.tallies: defaultdict[Network, Tally] = defaultdict(Tally)

    @property
    def holders(self) -> dict[Address, Holder]:
        """Address → the stored Service that has it; of two that claim the same one, the earlier."""
        return self._holders

    def moved(self) -> set[Address]:
        """Return the addresses whose holder has changed since the last call."""
        moved, self._moved = self._moved, set()
        return moved

    def restore(self, services: Iterable[Tree]) -> None:
        """Begin with the stored Services."""
        for service in services:
            self._hold(service)

    def offer(self, change: Change) -> None:
        """Follow a change of a Service."""
        old, new = (None if one is None else one.tree for one in (change.old, change.new))
        before = set() if old is None else set(cluster_addresses(old["spec"]))
        after = set() if new is None else set(cluster_addresses(new["spec"]))
        if before == after:
            return
        if old is not None:
            holder = _holder(old)
            for address in before - after:
                if self._holders.get(address) == holder:
                    del self._holders[address]
                    self._moved.add(address)
        if new is not None:
            self._hold(new)

    def _hold(self, service: Tree) -> None:
        holder = _holder(service)
        for address in cluster_addresses(service["spec"]):
            if self._holders.setdefault(address, holder) == holder:
                self._moved.add(address)

    def take(self, text: str) -> Address:
        """Take one address for a write under way. Raises Taken, OutOfRange."""
        address = ip_address(text)
        found = next((one for one in self.ranges() if address in one), None)
        if found is None:
            raise OutOfRange("the provided network does not match the current range")
        tally = self.tallies[found.network]
        if self._used(address):
            tally.refused[Scope.STATIC] += 1
            raise Taken(text)
        tally.given[Scope.STATIC] += 1
        self._underway.add(address)
        return address

    def rehearse(self, text: str) -> None:
        """Look whether a dry run may name an address: it may be anybody's, but of the first range. Raises OutOfRange.

        Upstream, too, asks one range alone, and not who has the address.
        """
        address = ip_address(text)
        for one in self.ranges():
            if one.network.version == address.version:
                if address in one:
                    return
                raise OutOfRange(
                    f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {one.network}"
                )
        raise OutOfRange("allocator not ready")

    def pick(self, family: str) -> Address:
        """Take any address of a family for a write under way. Raises Full."""
        for one in self.ranges():
            if family_of(one.network) != family:
                continue
            make = IPv4Address if family == "IPv4" else IPv6Address

            def taken(number: int, make: type[Address] = make) -> bool:
                return self._used(make(number))

            try:
                address = make(choose(one.first, one.last, one.static, self._rng, taken))
            except Full:
                self.tallies[one.network].refused[Scope.DYNAMIC] += 1
                continue
            self.tallies[one.network].given[Scope.DYNAMIC] += 1
            self._underway.add(address)
            return address
        raise Full

    def base(self, family: str) -> Address:
        """Return what stands for an address in a dry run. Raises Full."""
        for one in self.ranges():
            if family_of(one.network) == family:
                return one.network.network_address
        raise Full

    def settled(self, addresses: Iterable[Address]) -> None:
        """The write under way is stored, or has failed: what counts now is what is stored."""
        self._underway.difference_update(addresses)

    def _used(self, address: Address) -> bool:
        return (
            address in self._holders
            or address in self._underway
            or self._addresses.get(f"{self._addresses.codec.prefix}{address}") is not None
        )

    def ranges(self) -> tuple[Range, ...]:
        """Return the ranges addresses are drawn from, in order."""
        return self._cidrs.memoised("", "ranges", lambda: tuple(_ready_ranges(self._cidrs)))


def _ready_ranges(cidrs: ResourceCache) -> Iterator[Range]:
    trees = [stored.tree for stored in cidrs.entries.values()]
    for tree in sorted(trees, key=lambda tree: (tree["metadata"]["name"] != DEFAULT_RANGES, tree["metadata"]["name"])):
        if is_ready(tree):
            networks = (ip_network(text) for text in tree["spec"].get("cidrs") or ())
            yield from (Range(network) for network in networks if network.prefixlen >= _SHORTEST[network.version])


def is_ready(cidr: Tree) -> bool:
    """Tell whether addresses may be drawn from a ServiceCIDR; one nobody has judged yet is fit."""
    if "deletionTimestamp" in cidr["metadata"]:
        return False
    conditions = (cidr.get("status") or {}).get("conditions") or ()
    return all(one.get("status") == "True" for one in conditions if one.get("type") == "Ready")


def cluster_addresses(spec: Tree) -> list[Address]:
    """Return the addresses a Service has from the cluster's ranges."""
    if spec.get("type") == "ExternalName":
        return []
    found = []
    for text in spec.get("clusterIPs") or ():
        try:
            found.append(ip_address(text))
        except ValueError:
            continue  # `None`
    return found


def _holder(service: Tree) -> Holder:
    return service["metadata"].get("namespace", ""), service["metadata"]["name"]
