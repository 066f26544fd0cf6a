"""What the cluster gives a Service: address families, cluster addresses, node ports (services-dns 3-5).

Reserved before validation, returned if the write fails; what an update gives up is freed once it is stored.
"""

import random
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Any, Final

import msgspec

from homeport.api.resources import find
from homeport.errors import Cause
from homeport.server import failures
from homeport.server.objects import Codec, Tree
from homeport.server.pools import AddressPool, Full, OutOfRange, PortPool, Taken
from homeport.server.settings import Settings

__all__ = ["Allocator", "Reservation"]

_WITH_PORTS: Final = ("NodePort", "LoadBalancer")
_HEADLESS: Final = "None"


class Reservation:
    """What one write took from the pools, and what it gives back once it is stored."""

    def __init__(self, addresses: AddressPool, ports: PortPool) -> None:
        self._addresses, self._ports = addresses, ports
        self.took_addresses: list[str] = []
        self.took_ports: list[int] = []
        self.frees_addresses: list[str] = []
        self.frees_ports: list[int] = []

    def release(self) -> None:
        """The write failed: nothing was taken."""
        self._free(self.took_addresses, self.took_ports)

    def commit(self) -> None:
        """The write is stored."""
        self._free(self.frees_addresses, self.frees_ports)

    def _free(self, addresses: Iterable[str], ports: Iterable[int]) -> None:
        for address in addresses:
            self._addresses.free(address)
        for port in ports:
            self._ports.free(port)


class Allocator:
    """Keeps the pools of one cluster in step with its Services."""

    def __init__(self, settings: Settings, rng: random.Random) -> None:
        self._resource = find("Service")
        self._addresses = AddressPool(settings.service_cidr, rng)
        self._ports = PortPool(*settings.node_ports, rng)
        self._base = str(settings.service_cidr.network_address)
        self._nothing = Reservation(self._addresses, self._ports)

    def restore(self, services: Iterable[Tree]) -> None:
        """Take what stored Services hold; a second claim on the same number is left to its holder."""
        for service in services:
            for address in _addresses(service["spec"]):
                try:
                    self._addresses.take(address)
                except (Taken, OutOfRange):
                    continue
            for port in _ports(service["spec"]):
                try:
                    self._ports.take(port)
                except (Taken, OutOfRange):
                    continue

    def create(self, codec: Codec, tree: Tree, *, dry_run: bool) -> Reservation:
        """Give a new Service what it lacks, in place. Raises Invalid, InternalError."""
        if codec.resource is not self._resource:
            return self._nothing
        return self._allocate(tree, None, dry_run)

    def update(self, codec: Codec, new: Tree, old: Tree, subresource: str, *, dry_run: bool) -> Reservation:
        """Refill what the client left out, clear what the new type has no use for, give what it lacks; in place."""
        if codec.resource is not self._resource or subresource:
            return self._nothing
        _refill(new["spec"], old["spec"])
        _clear(new, old)
        return self._allocate(new, old, dry_run)

    def removed(self, codec: Codec, tree: Tree) -> None:
        """A Service is gone: its numbers are free."""
        if codec.resource is self._resource:
            for address in _addresses(tree["spec"]):
                self._addresses.free(address)
            for port in _ports(tree["spec"]):
                self._ports.free(port)

    def _allocate(self, tree: Tree, old: Tree | None, dry_run: bool) -> Reservation:
        spec, before = tree["spec"], old["spec"] if old else {}
        reservation = Reservation(self._addresses, self._ports)
        try:
            _families(tree, before)
            self._give_addresses(tree, before, reservation, dry_run)
            self._give_ports(tree, before, reservation, old is None)
            self._give_health_port(spec, before, reservation)
        except BaseException:
            reservation.release()
            raise
        if dry_run:
            reservation.release()
        kept_addresses, kept_ports = set(_addresses(spec)), set(_ports(spec))
        reservation.frees_addresses = [each for each in _addresses(before) if each not in kept_addresses]
        reservation.frees_ports = [each for each in set(_ports(before)) if each not in kept_ports]
        return reservation

    def _give_addresses(self, tree: Tree, before: Tree, reservation: Reservation, dry_run: bool) -> None:
        spec = tree["spec"]
        if spec.get("type") == "ExternalName":
            return
        wanted = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
        if wanted and spec.get("clusterIP"):
            spec["clusterIPs"] = wanted
        if not wanted:
            address = self._base if dry_run else self._pick_address(tree)
            if not dry_run:
                reservation.took_addresses.append(address)
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
            return
        held = before.get("clusterIPs") or []
        for address in wanted:
            if address == _HEADLESS or address in held or not _is_v4(address):
                continue
            try:
                self._addresses.take(address)
            except Taken:
                raise self._refuse_address(tree, wanted, address, "provided IP is already allocated") from None
            except OutOfRange:
                raise self._refuse_address(
                    tree, wanted, address, "the provided network does not match the current range"
                ) from None
            reservation.took_addresses.append(address)

    def _pick_address(self, tree: Tree) -> str:
        try:
            return self._addresses.pick()
        except Full:
            name = tree["metadata"].get("name", "")
            raise failures.internal(f'failed to allocate a serviceIP for Service "{name}": range is full') from None

    def _refuse_address(self, tree: Tree, wanted: list[str], address: str, why: str) -> Exception:
        return _invalid(
            tree, "spec.clusterIPs", msgspec.json.encode(wanted).decode(), f"failed to allocate IP {address}: {why}"
        )

    def _give_ports(self, tree: Tree, before: Tree, reservation: Reservation, creating: bool) -> None:
        spec = tree["spec"]
        if spec.get("type") not in _WITH_PORTS:
            return
        automatic = spec["type"] == "NodePort" or spec.get("allocateLoadBalancerNodePorts") is not False
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
        if not _needs_health_port(spec):
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


def _is_v4(address: str) -> bool:
    try:
        IPv4Address(address)
    except ValueError:
        return False
    return True


def _addresses(spec: Tree) -> list[str]:
    return [each for each in spec.get("clusterIPs") or () if each != _HEADLESS and _is_v4(each)]


def _ports(spec: Tree) -> list[int]:
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return found


def _needs_health_port(spec: Tree) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


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


def _families(tree: Tree, before: Tree) -> None:
    """Fill in family policy and families for a cluster that speaks IPv4 alone (services-dns 4)."""
    spec = tree["spec"]
    if spec.get("type") == "ExternalName":
        return
    headless = spec.get("clusterIP") == _HEADLESS or spec.get("clusterIPs") == [_HEADLESS]
    loose = headless and not spec.get("selector")
    policy = spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy")
    if not policy:
        policy = "RequireDualStack" if loose else "SingleStack"
    spec["ipFamilyPolicy"] = policy
    families = list(spec.get("ipFamilies") or ())
    if loose:
        if not families:
            families = ["IPv4"]
        if len(families) == 1 and policy != "SingleStack":
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        spec["ipFamilies"] = families
        return
    causes = _family_causes(spec, policy, families)
    if causes:
        raise failures.invalid("Service", "", tree["metadata"].get("name", ""), causes)
    spec["ipFamilies"] = families or ["IPv4"]


def _family_causes(spec: Tree, policy: str, families: list[str]) -> list[Cause]:
    def bad(path: str, value: Any, why: str) -> Cause:
        return Cause("FieldValueInvalid", f"Invalid value: {msgspec.json.encode(value).decode()}: {why}", path)

    causes = []
    addresses = spec.get("clusterIPs") or []
    if policy == "SingleStack":
        many = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
        if len(addresses) > 1:
            causes.append(bad("spec.ipFamilyPolicy", policy, many.format("cluster IPs")))
        if len(families) > 1:
            causes.append(bad("spec.ipFamilyPolicy", policy, many.format("IP families")))
    for index, address in enumerate(addresses):
        if ":" in address:
            causes.append(bad(f"spec.clusterIPs[{index}]", address, "IPv6 is not configured on this cluster"))
    if policy == "RequireDualStack":
        causes.append(bad("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services"))
    for index, family in enumerate(families):
        if family == "IPv6":
            causes.append(bad(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
    return causes


def _refill(spec: Tree, before: Tree) -> None:
    """Give back allocated values the client left out: a PUT of its own manifest changes nothing (3.2 rule 6)."""
    if spec.get("type") != "ExternalName" and before.get("type") != "ExternalName":
        if not spec.get("clusterIP") and not spec.get("clusterIPs") and before.get("clusterIP"):
            spec["clusterIP"], spec["clusterIPs"] = before["clusterIP"], list(before.get("clusterIPs") or ())
        elif spec.get("clusterIP") and not spec.get("clusterIPs") and spec["clusterIP"] == before.get("clusterIP"):
            spec["clusterIPs"] = list(before.get("clusterIPs") or ())
        if not spec.get("ipFamilies") and before.get("ipFamilies"):
            spec["ipFamilies"] = list(before["ipFamilies"])
    if spec.get("type") in _WITH_PORTS and before.get("type") in _WITH_PORTS:
        used = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        held = {port.get("name", ""): port["nodePort"] for port in before.get("ports") or () if port.get("nodePort")}
        for port in spec.get("ports") or ():
            number = held.get(port.get("name", ""))
            if not port.get("nodePort") and number and number not in used:
                port["nodePort"] = number
                used.add(number)
    if _needs_health_port(spec) and _needs_health_port(before) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _clear(new: Tree, old: Tree) -> None:
    """Drop what belongs to the old type, unless the client changed it as well (services-dns 5)."""
    spec, before = new["spec"], old["spec"]
    kind = spec.get("type")

    def drop(wanted: bool, *fields: str) -> None:
        if wanted and all(spec.get(field) == before.get(field) for field in fields):
            for field in fields:
                spec.pop(field, None)

    drop(before.get("type") != "ExternalName" and kind == "ExternalName", "clusterIP", "clusterIPs")
    drop(before.get("type") != "ExternalName" and kind == "ExternalName", "ipFamilies", "ipFamilyPolicy")
    if before.get("type") in _WITH_PORTS and kind not in _WITH_PORTS:
        numbers = {port.get("nodePort") for port in before.get("ports") or ()}
        ports = spec.get("ports") or []
        if all(not port.get("nodePort") or port["nodePort"] in numbers for port in ports):
            spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in ports]
            if not ports:
                spec.pop("ports", None)
    drop(_needs_health_port(before) and not _needs_health_port(spec), "healthCheckNodePort")
    drop(before.get("type") == "LoadBalancer" and kind != "LoadBalancer", "allocateLoadBalancerNodePorts")
    drop(before.get("type") == "LoadBalancer" and kind != "LoadBalancer", "loadBalancerClass")
    reachable = kind in _WITH_PORTS or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    was = before.get("type") in _WITH_PORTS or (before.get("type") == "ClusterIP" and bool(before.get("externalIPs")))
    drop(was and not reachable, "externalTrafficPolicy")
    drop(kind == "ExternalName" and before.get("type") != "ExternalName", "internalTrafficPolicy")
