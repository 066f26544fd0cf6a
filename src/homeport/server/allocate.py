"""What the cluster gives a Service: address families, cluster addresses, node ports (services-dns 3-5).

A dry run is told what it would get, and takes nothing.

Reserved before validation, returned if the write fails; what an update gives up is freed once it is stored.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from homeport.api import services as service_rules
from homeport.api.resources import find
from homeport.api.validation import invalid
from homeport.errors import Cause
from homeport.server import failures, nodeports
from homeport.server.addressbook import Address, AddressBook, family_of
from homeport.server.nodeports import Claim, Rehearsal
from homeport.server.objects import Codec, Tree
from homeport.server.pools import Full, OutOfRange, PortPool, Taken
from homeport.server.settings import Settings

__all__ = ["Allocator", "Reservation"]

_HEADLESS: Final = "None"


class Reservation:
    """What one write took, and what it gives back once it is stored."""

    def __init__(self, book: AddressBook, ports: PortPool) -> None:
        self._book, self._ports = book, ports
        self.took_addresses: list[Address] = []
        self.took_ports: Sequence[int] = ()
        self.frees_ports: Sequence[int] = ()

    def release(self) -> None:
        """The write failed: nothing was taken."""
        self._end(self.took_ports)

    def commit(self) -> None:
        """The write is stored: its addresses are those of the stored Service now."""
        self._end(self.frees_ports)

    def _end(self, ports: Iterable[int]) -> None:
        self._book.settled(self.took_addresses)
        for port in ports:
            self._ports.free(port)


class Allocator:
    """Gives a cluster's Services their numbers. Addresses are the book's, ports are counted here."""

    def __init__(self, settings: Settings, book: AddressBook, rng: random.Random) -> None:
        self._resource = find("Service")
        self._families = tuple(family_of(network) for network in settings.service_cidrs)
        self._book = book
        self._ports = PortPool(*settings.node_ports, rng)
        self._nothing = Reservation(book, self._ports)

    @property
    def ports(self) -> PortPool:
        return self._ports

    def restore(self, services: Iterable[Tree]) -> None:
        """Take the ports stored Services hold."""
        for service in services:
            for port in _ports(service["spec"]):
                self._ports.restore(port)

    def create(self, codec: Codec, tree: Tree, *, dry_run: bool) -> Reservation:
        """Give a new Service what it lacks, in place. Raises Invalid, InternalError."""
        if codec.resource is not self._resource:
            return self._nothing
        service_rules.mirror_cluster_ip(tree)
        return self._allocate(tree, None, dry_run)

    def update(self, codec: Codec, new: Tree, old: Tree, subresource: str, *, dry_run: bool) -> Reservation:
        """Refill what the client left out, clear what the new type has no use for, give what it lacks; in place."""
        if codec.resource is not self._resource or subresource:
            return self._nothing
        service_rules.carry_over(new, old)
        return self._allocate(new, old, dry_run)

    def removed(self, codec: Codec, tree: Tree) -> None:
        """A Service is gone: its ports are free."""
        if codec.resource is self._resource:
            for port in _ports(tree["spec"]):
                self._ports.free(port)

    def _allocate(self, tree: Tree, old: Tree | None, dry_run: bool) -> Reservation:
        spec, before = tree["spec"], old["spec"] if old else None
        reservation = Reservation(self._book, self._ports)
        ports = Rehearsal(self._ports) if dry_run else Claim(self._ports)
        if not dry_run:
            reservation.took_ports = ports.taken
        try:
            if violations := service_rules.settle_families(tree, old, self._families):
                raise invalid(self._resource.gvk, tree["metadata"].get("name", ""), violations)
            self._give_addresses(tree, before, reservation, dry_run)
            nodeports.give(spec, before, ports, lambda path, number, why: _invalid(tree, path, str(number), why))
            nodeports.give_health_port(spec, before, ports)
        except BaseException:
            reservation.release()
            raise
        if not dry_run:
            kept_ports = set(_ports(spec))
            reservation.frees_ports = [each for each in set(_ports(before or {})) if each not in kept_ports]
        return reservation

    def _give_addresses(self, tree: Tree, before: Tree | None, reservation: Reservation, dry_run: bool) -> None:
        """Give a Service that has none an address per family, and one that goes dual-stack its second.

        Any other change of addresses is for validation to refuse.
        """
        spec = tree["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIPs") == [_HEADLESS]:
            return
        listed, families = list(spec.get("clusterIPs") or ()), spec.get("ipFamilies") or ()
        if before is None or before.get("type") == "ExternalName":
            fresh = range(len(families))
        elif before.get("clusterIPs") != [_HEADLESS] and (len(before.get("ipFamilies") or ()), len(families)) == (1, 2):
            fresh = range(1, 2)
        else:
            return
        shown = listed + [""] * (len(families) - len(listed))
        for index in fresh:
            if index < len(listed):
                self._take_address(tree, shown, listed[index], reservation, dry_run)
            else:
                listed.append(self._pick_address(tree, families[index], reservation, dry_run))
        spec["clusterIP"], spec["clusterIPs"] = listed[0], listed

    def _take_address(
        self, tree: Tree, shown: list[str], address: str, reservation: Reservation, dry_run: bool
    ) -> None:
        try:
            if dry_run:
                self._book.rehearse(address)
            else:
                reservation.took_addresses.append(self._book.take(address))
            return
        except Taken:
            why = "provided IP is already allocated"
        except OutOfRange as error:
            why = str(error)
        value = msgspec.json.encode(shown).decode()
        raise _invalid(tree, "spec.clusterIPs", value, f"failed to allocate IP {address}: {why}")

    def _pick_address(self, tree: Tree, family: str, reservation: Reservation, dry_run: bool) -> str:
        try:
            if dry_run:
                return str(self._book.base(family))
            address = self._book.pick(family)
        except Full:
            name = tree["metadata"].get("name", "")
            raise failures.internal(f'failed to allocate a serviceIP for Service "{name}": range is full') from None
        reservation.took_addresses.append(address)
        return str(address)


def _invalid(tree: Tree, path: str, value: str, why: str) -> Exception:
    cause = Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", path)
    return failures.invalid("Service", "", tree["metadata"].get("name", ""), (cause,))


def _ports(spec: Tree) -> list[int]:
    health = spec.get("healthCheckNodePort")
    return nodeports.held(spec) + ([health] if health else [])
