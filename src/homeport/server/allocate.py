"""What the cluster gives a Service: address families, cluster addresses, node ports (services-dns 3-5).

Reserved before validation, returned if the write fails; what an update gives up is freed once it is stored.
"""

import random
from collections.abc import Iterable
from typing import Final

import msgspec

from homeport.api import services as service_rules
from homeport.api.resources import find
from homeport.api.validation import invalid
from homeport.errors import Cause
from homeport.server import failures
from homeport.server.addressbook import Address, AddressBook, family_of
from homeport.server.objects import Codec, Tree
from homeport.server.pools import Full, OutOfRange, PortPool, Taken
from homeport.server.settings import Settings

__all__ = ["Allocator", "Reservation"]

_WITH_PORTS: Final = ("NodePort", "LoadBalancer")
_HEADLESS: Final = "None"


class Reservation:
    """What one write took, and what it gives back once it is stored."""

    def __init__(self, book: AddressBook, ports: PortPool) -> None:
        self._book, self._ports = book, ports
        self.took_addresses: list[Address] = []
        self.took_ports: list[int] = []
        self.frees_ports: list[int] = []

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

    def restore(self, services: Iterable[Tree]) -> None:
        """Take the ports stored Services hold; a second claim on the same number is left to its holder."""
        for service in services:
            for port in _ports(service["spec"]):
                try:
                    self._ports.take(port)
                except (Taken, OutOfRange):
                    continue

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
        spec, before = tree["spec"], old["spec"] if old else {}
        reservation = Reservation(self._book, self._ports)
        try:
            if violations := service_rules.settle_families(tree, old, self._families):
                raise invalid(self._resource.gvk, tree["metadata"].get("name", ""), violations)
            self._give_addresses(tree, before, reservation, dry_run)
            self._give_ports(tree, before, reservation, old is None)
            self._give_health_port(spec, before, reservation)
        except BaseException:
            reservation.release()
            raise
        if dry_run:
            reservation.release()
        kept_ports = set(_ports(spec))
        reservation.frees_ports = [each for each in set(_ports(before)) if each not in kept_ports]
        return reservation

    def _give_addresses(self, tree: Tree, before: Tree, reservation: Reservation, dry_run: bool) -> None:
        """Give one address per family: those asked for, those held already, else any."""
        spec = tree["spec"]
        if spec.get("type") == "ExternalName":
            return
        listed = list(spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else []))
        if listed == [_HEADLESS]:
            spec["clusterIPs"] = listed
            return
        held = before.get("clusterIPs") or []
        for address in listed:
            if address not in held:
                self._take_address(tree, listed, address, reservation)
        lacking = spec["ipFamilies"][len(listed) :]
        listed += [self._pick_address(tree, family, reservation, dry_run) for family in lacking]
        spec["clusterIP"], spec["clusterIPs"] = listed[0], listed

    def _take_address(self, tree: Tree, listed: list[str], address: str, reservation: Reservation) -> None:
        try:
            reservation.took_addresses.append(self._book.take(address))
            return
        except Taken:
            why = "provided IP is already allocated"
        except OutOfRange:
            why = "the provided network does not match the current range"
        except ValueError:
            return  # no address: validation has the word for it
        value = msgspec.json.encode(listed).decode()
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

    def _give_ports(self, tree: Tree, before: Tree, reservation: Reservation, creating: bool) -> None:
        spec = tree["spec"]
        if spec.get("type") not in _WITH_PORTS:
            return
        automatic = service_rules.wants_node_ports(spec)
        ports = spec.get("ports") or []
        if creating:
            _share_ports(ports)
        held = set(_ports(before))
        mine: dict[int, set[tuple[str, int]]] = {}
        for index, port in enumerate(ports):
            number = port.get("nodePort")
            if not number:
                continue
            users = mine.setdefault(number, set())
            shared = bool(users) and all(
                protocol != port.get("protocol") and (not creating or target == port["port"])
                for protocol, target in users
            )
            if not shared and (users or number not in held):
                self._take_port(tree, index, number, reservation)
            users.add((port.get("protocol", "TCP"), port["port"]))
        if not automatic:
            return
        given: dict[int, set[str]] = {}
        by_port: dict[int, int] = {}
        for port in ports:
            if port.get("nodePort"):
                continue
            shared_number = by_port.get(port["port"]) if creating else None
            if shared_number is not None and port.get("protocol", "TCP") not in given[shared_number]:
                port["nodePort"] = shared_number
            else:
                port["nodePort"] = self._pick_port(reservation)
                by_port[port["port"]] = port["nodePort"]
            given.setdefault(port["nodePort"], set()).add(port.get("protocol", "TCP"))

    def _take_port(self, tree: Tree, index: int, number: int, reservation: Reservation) -> None:
        path = f"spec.ports[{index}].nodePort"
        try:
            self._ports.take(number)
        except Taken:
            raise _invalid(tree, path, str(number), "provided port is already allocated") from None
        except OutOfRange:
            raise _invalid(tree, path, str(number), self._valid_range()) from None
        reservation.took_ports.append(number)

    def _pick_port(self, reservation: Reservation) -> int:
        try:
            number = self._ports.pick()
        except Full:
            raise failures.internal("failed to allocate a nodePort: range is full") from None
        reservation.took_ports.append(number)
        return number

    def _give_health_port(self, spec: Tree, before: Tree, reservation: Reservation) -> None:
        if not service_rules.wants_health_check_port(spec):
            return
        number = spec.get("healthCheckNodePort")
        if not number:
            spec["healthCheckNodePort"] = self._pick_port(reservation)
        elif number != before.get("healthCheckNodePort"):
            try:
                self._ports.take(number)
            except (Taken, OutOfRange) as error:
                why = "provided port is already allocated" if isinstance(error, Taken) else self._valid_range()
                raise failures.internal(f"failed to allocate requested HealthCheck NodePort {number}: {why}") from None
            reservation.took_ports.append(number)

    def _valid_range(self) -> str:
        first, last = self._ports.first, self._ports.last
        return f"provided port is not in the valid range. The range of valid ports is {first}-{last}"


def _invalid(tree: Tree, path: str, value: str, why: str) -> Exception:
    cause = Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", path)
    return failures.invalid("Service", "", tree["metadata"].get("name", ""), (cause,))


def _ports(spec: Tree) -> list[int]:
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return found


def _share_ports(ports: list[Tree]) -> None:
    """Copy an explicit node port to the entry of the same port number and another protocol (3.2 rule 3)."""
    for port in ports:
        if port.get("nodePort"):
            continue
        for other in ports:
            if (
                other.get("nodePort")
                and other["port"] == port["port"]
                and other.get("protocol") != port.get("protocol")
            ):
                port["nodePort"] = other["nodePort"]
                break
