"""The decision: which slices to write so that they tell what the pods of a Service are.

Source: services-dns 11 of the specification, readiness by its table 11.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from homeport.controllers.backends import HEADLESS_LABEL, Backend, Port, Service, resolve_ports
from homeport.controllers.endpointslice.model import (
    MANAGED_BY_LABEL,
    MANAGER,
    SERVICE_NAME_LABEL,
    Action,
    CreateSlice,
    DeleteSlice,
    Endpoint,
    Slice,
    SliceContent,
    Target,
    UpdateSlice,
)
from homeport.controllers.endpointslice.packing import pack, with_hints
from homeport.controllers.endpointslice.topology import Spread, Zones, spread

__all__ = ["DEFAULT_LIMIT", "Plan", "endpoint_of", "reconcile"]

DEFAULT_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write.

    missing_nodes  nodes whose absence kept pods out: look again when one of them appears
    hints          where the Service asks for topology hints, what came of it in each family
    """

    actions: tuple[Action, ...]
    missing_nodes: frozenset[str] = frozenset()
    hints: Mapping[str, Spread] = field(default_factory=dict)


def reconcile(
    service: Service,
    pods: Sequence[Backend],
    zones: Mapping[str, str],
    slices: Sequence[Slice],
    *,
    trigger_time: str = "",
    limit: int = DEFAULT_LIMIT,
    shares: Zones = MappingProxyType({}),
) -> Plan:
    """Return the writes that make `slices` show `pods`.

    pods    those the Service's selector takes
    zones   zone of each known node, "" where it has none; a pod on none or an unknown one is left out for now
    slices  every slice of this Service's name that this controller manages
    shares  what each zone has of the nodes' CPU, for topology hints
    """
    missing_nodes = set()
    candidates = []
    for pod in sorted(pods, key=lambda pod: pod.name):
        if not pod.counts:
            continue
        if pod.node not in zones and not service.publish_not_ready:
            missing_nodes.add(pod.node)
        else:
            candidates.append(pod)
    labels = _labels(service)
    foreign = [s for s in slices if s.owner != service.uid or s.content.address_type not in service.families]
    actions: list[Action] = [DeleteSlice(s.name, s.uid) for s in foreign]
    hints: dict[str, Spread] = {}
    for family in service.families:
        own = [s for s in slices if s.owner == service.uid and s.content.address_type == family]
        desired = _by_ports(service, candidates, zones, family)
        if service.topology_hints:
            desired = _keeping_hints(desired, own)
        writes = _family(family, desired, own, labels, trigger_time, limit)
        if service.topology_hints:
            writes, hints[family] = _hinted(writes, own, shares)
        actions += writes.actions(terminating=service.terminating)
    return Plan(tuple(actions), frozenset(missing_nodes), hints)


@dataclass(frozen=True, slots=True)
class _Writes:
    """What becomes of the slices of one family; of those that exist, updates by name."""

    creates: tuple[SliceContent, ...]
    updates: Mapping[str, SliceContent]
    deletes: tuple[Slice, ...]

    def actions(self, *, terminating: bool) -> list[Action]:
        """Return the writes; a Service on its way out gets no new slices."""
        actions: list[Action] = [UpdateSlice(name, new) for name, new in self.updates.items()]
        if not terminating:
            actions += [CreateSlice(new) for new in self.creates]
        return actions + [DeleteSlice(s.name, s.uid) for s in self.deletes]


def _keeping_hints(
    desired: Mapping[tuple[Port, ...], Sequence[Endpoint]], own: Sequence[Slice]
) -> dict[tuple[Port, ...], list[Endpoint]]:
    """Return the endpoints with the hints they have, where nothing else about them changed."""
    known = {endpoint.identity: endpoint for each in own for endpoint in each.content.endpoints}
    kept: dict[tuple[Port, ...], list[Endpoint]] = {}
    for ports, endpoints in desired.items():
        befores = [known.get(endpoint.identity, endpoint) for endpoint in endpoints]
        kept[ports] = [
            before if replace(before, zone_hint="", node_hint="") == now else now
            for before, now in zip(befores, endpoints, strict=True)
        ]
    return kept


def _hinted(writes: _Writes, own: Sequence[Slice], shares: Zones) -> tuple[_Writes, Spread]:
    """Give hints to all slices of one family; one that would have stayed as it is may have to be written for it."""
    gone = {each.name for each in writes.deletes}
    unchanged = [each for each in own if each.name not in writes.updates and each.name not in gone]
    found = spread((*writes.creates, *writes.updates.values()), unchanged, shares)
    creates, updates = found.changed[: len(writes.creates)], found.changed[len(writes.creates) :]
    kept = {each.name: each.content for each in unchanged}
    moved = {name: content for name, content in found.moved.items() if content != kept[name]}
    return replace(writes, creates=creates, updates={**dict(zip(writes.updates, updates, strict=True)), **moved}), found


def endpoint_of(pod: Backend, service: Service, family: str, zone: str) -> Endpoint:
    """Return the endpoint a pod is (table 11.1)."""
    endpoint = Endpoint(
        addresses=pod.addresses_of(family),
        ready=service.publish_not_ready or (pod.ready and not pod.terminating),
        serving=pod.ready,
        terminating=pod.terminating,
        target=Target(pod.namespace, pod.name, pod.uid),
        hostname=pod.hostname_under(service.name),
        node=pod.node,
        zone=zone,
    )
    return endpoint if service.topology_hints else with_hints(endpoint, service.traffic_distribution)


def _by_ports(
    service: Service, pods: Sequence[Backend], zones: Mapping[str, str], family: str
) -> dict[tuple[Port, ...], list[Endpoint]]:
    groups: dict[tuple[Port, ...], list[Endpoint]] = {}
    for pod in pods:
        if pod.addresses_of(family):
            ports = resolve_ports(service.ports, pod)
            groups.setdefault(ports, []).append(endpoint_of(pod, service, family, zones.get(pod.node, "")))
    return groups


def _family(
    family: str,
    desired: Mapping[tuple[Port, ...], Sequence[Endpoint]],
    own: Sequence[Slice],
    labels: Mapping[str, str],
    trigger_time: str,
    limit: int,
) -> _Writes:
    def content(ports: tuple[Port, ...], endpoints: tuple[Endpoint, ...]) -> SliceContent:
        return SliceContent(family, ports, endpoints, labels, trigger_time)

    by_ports: dict[tuple[Port, ...], list[Slice]] = {}
    for item in own:
        by_ports.setdefault(_port_key(item.content.ports), []).append(item)
    creates: list[SliceContent] = []
    updates: dict[str, SliceContent] = {}
    surplus = [s for key, group in by_ports.items() if key not in map(_port_key, desired) for s in group]
    for ports, endpoints in desired.items():
        group = by_ports.get(_port_key(ports), [])
        packing = pack(group, endpoints, limit=limit)
        emptied = {s.name for s in packing.emptied}
        surplus += packing.emptied
        creates += [content(ports, chunk) for chunk in packing.created]
        for item in group:
            if item.name in emptied:
                continue
            packed = packing.changed.get(item.name)
            if packed is not None or item.content.labels != labels:
                updates[item.name] = content(ports, item.content.endpoints if packed is None else packed)
    if not desired:
        placeholder = content((), ())  # a Service without endpoints still has a slice
        creates.append(placeholder)
        surplus = sorted(own, key=lambda s: not _says_the_same(s.content, placeholder))
    reused = _reuse(creates, surplus)
    updates |= {name: new for name, (old, new) in reused.items() if not _says_the_same(old.content, new)}
    deletes = tuple(each for each in surplus if each.name not in reused)
    return _Writes(tuple(creates[len(reused) :]), updates, deletes)


def _reuse(creates: Sequence[SliceContent], surplus: Sequence[Slice]) -> dict[str, tuple[Slice, SliceContent]]:
    """Pair slices to delete with slices to create: one write instead of two."""
    return {old.name: (old, new) for new, old in zip(creates, surplus, strict=False)}


def _says_the_same(old: SliceContent, new: SliceContent) -> bool:
    return (old.ports, old.endpoints, old.labels) == (new.ports, new.endpoints, new.labels)


def _port_key(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    return tuple(sorted(ports))


def _labels(service: Service) -> dict[str, str]:
    reserved = (SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL)
    labels = {name: value for name, value in service.labels.items() if name not in reserved}
    labels |= {SERVICE_NAME_LABEL: service.name, MANAGED_BY_LABEL: MANAGER}
    if service.headless:
        labels[HEADLESS_LABEL] = ""
    return labels
