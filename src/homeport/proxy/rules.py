"""Services and endpoints → what happens to each new connection. Pure: no API objects, no kernel.

Source: `services-dns` 17.1 (endpoint selection), 17.2 (affinity, source ranges), 11.2 (topology hints).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import collapse_addresses, ip_network
from typing import Any

from homeport.proxy.model import (
    Address,
    Endpoint,
    Frontend,
    Network,
    PortRules,
    ProxySettings,
    Service,
    ServicePort,
    ServiceRules,
    Target,
    Via,
)

__all__ = ["decide", "hinted", "keep_places"]


def decide(
    service: Service, endpoints: Mapping[ServicePort, Sequence[Endpoint]], settings: ProxySettings
) -> ServiceRules:
    """Return the rules of one Service, given the endpoints of each of its ports."""
    ports = tuple(_port_rules(service, port, endpoints.get(port, ()), settings) for port in service.ports)
    here = {
        endpoint.target.address
        for found in endpoints.values()
        for endpoint in found
        if endpoint.ready and _is_local(endpoint, settings)
    }
    addresses = tuple(address for address in service.cluster_addresses if address not in settings.real_addresses)
    return ServiceRules(
        key=service.key,
        addresses=addresses,
        ports=ports,
        health_check_port=service.health_check_port,
        ready_here=len(here) if service.health_check_port else 0,
    )


def _port_rules(
    service: Service, port: ServicePort, endpoints: Sequence[Endpoint], settings: ProxySettings
) -> PortRules:
    external = bool(port.node_port or service.external_addresses or service.balancer_addresses)
    cluster: tuple[Target, ...] = ()
    local: tuple[Target, ...] = ()
    if external or not service.internal_local:
        cluster = _cluster_set(endpoints, settings)
    if service.internal_local or (external and service.external_local):
        local = _local_set(endpoints, settings)
    usable = any(endpoint.ready or endpoint.last_resort for endpoint in endpoints)
    frontends = tuple(_frontends(service, port, bool(local), usable, settings))
    used = {frontend.via for frontend in frontends}
    needs_cluster = used & {Via.CLUSTER, Via.EXTERNAL, Via.EXTERNAL_LOCAL}
    return PortRules(
        name=port.name or str(port.port),
        protocol=port.protocol,
        frontends=frontends,
        cluster=cluster if needs_cluster else (),
        local=local if used & {Via.LOCAL, Via.EXTERNAL_LOCAL} else (),
        affinity_seconds=service.affinity_seconds,
        serving=frozenset(endpoint.target for endpoint in endpoints if endpoint.serving or endpoint.ready)
        if port.protocol == "udp"
        else frozenset(),
        balance=service.balance,
    )


def _frontends(
    service: Service, port: ServicePort, has_local: bool, usable: bool, settings: ProxySettings
) -> Iterator[Frontend]:
    internal = _internal(service, has_local, usable)
    for address in service.cluster_addresses:
        if address not in settings.real_addresses:
            yield Frontend(address, port.port, internal)
    external = Via.REJECT
    if usable:
        external = Via.EXTERNAL_LOCAL if service.external_local else Via.EXTERNAL
    for address in service.external_addresses:
        yield Frontend(address, port.port, external)
    for address in service.balancer_addresses:
        yield Frontend(address, port.port, external, _sources(service, address, settings))
    if port.node_port:
        for address in settings.node_addresses:
            yield Frontend(address, port.node_port, external)


def _internal(service: Service, has_local: bool, usable: bool) -> Via:
    if not usable:
        return Via.REJECT
    if not service.internal_local:
        return Via.CLUSTER
    return Via.LOCAL if has_local else Via.DROP


def _sources(service: Service, address: Address, settings: ProxySettings) -> tuple[Network, ...]:
    """Return who may use a balancer's address, in ranges apart. The node, when it may, comes from that very address."""
    ranges: list[Any] = [*service.source_ranges]  # all of one family, which the type does not say
    if any(node in network for node in settings.node_addresses for network in ranges):
        ranges.append(ip_network(address))
    return tuple(collapse_addresses(ranges))


def _cluster_set(endpoints: Sequence[Endpoint], settings: ProxySettings) -> tuple[Target, ...]:
    ready = hinted([endpoint for endpoint in endpoints if endpoint.ready], settings.node, settings.zone)
    return _targets(ready) or _targets([endpoint for endpoint in endpoints if endpoint.last_resort])


def _local_set(endpoints: Sequence[Endpoint], settings: ProxySettings) -> tuple[Target, ...]:
    here = [endpoint for endpoint in endpoints if _is_local(endpoint, settings)]
    return _targets([endpoint for endpoint in here if endpoint.ready]) or _targets(
        [endpoint for endpoint in here if endpoint.last_resort]
    )


def _is_local(endpoint: Endpoint, settings: ProxySettings) -> bool:
    return bool(settings.node) and endpoint.node == settings.node


def _targets(endpoints: Sequence[Endpoint]) -> tuple[Target, ...]:
    return tuple(endpoint.target for endpoint in endpoints)


def hinted(ready: Sequence[Endpoint], node: str, zone: str) -> Sequence[Endpoint]:
    """Return the endpoints meant for this node, else for this zone; all of them unless every one has such a hint."""
    if ready and all(endpoint.for_nodes for endpoint in ready):
        near = [endpoint for endpoint in ready if node in endpoint.for_nodes]
        if near:
            return near
    if ready and zone and all(endpoint.for_zones for endpoint in ready):
        near = [endpoint for endpoint in ready if zone in endpoint.for_zones]
        if near:
            return near
    return ready


def keep_places(before: ServiceRules | None, after: ServiceRules) -> ServiceRules:
    """Return `after` with every target that was there `before` at its old index, as far as there are places.

    The kernel's maps are keyed by index: one endpoint more or less among a thousand then changes one or two elements.
    """
    if before is None:
        return after
    known = {(port.name, port.protocol): port for port in before.ports}
    ports = tuple(
        replace(port, cluster=_in_place(old.cluster, port.cluster), local=_in_place(old.local, port.local))
        if (old := known.get((port.name, port.protocol))) is not None
        else port
        for port in after.ports
    )
    return replace(after, ports=ports)


def _in_place(before: Sequence[Target], after: Sequence[Target]) -> tuple[Target, ...]:
    """Keep what stays where it was, and fill the gaps with the new ones and with those whose index is no more."""
    wanted = set(after)
    places = [target if target in wanted else None for target in before[: len(after)]]
    places += [None] * (len(after) - len(places))
    placed = set(places)
    others = iter([target for target in after if target not in placed])
    return tuple(next(others) if target is None else target for target in places)
