"""Zones for endpoints: to each zone as many as its share of the nodes' CPU asks for (annotation `topology-mode: Auto`).

Endpoints begin with a hint for their own zone. Zones with too many then give some to zones with too few; slices that
would not be written anyhow keep their hints as long as those fit. Source: services-dns 11.2; KEP-2433.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from homeport.controllers.endpointslice.model import Endpoint, Slice, SliceContent

__all__ = ["NodeFacts", "Spread", "Zones", "overloaded", "spread", "zones_of"]

OVERLOAD: Final = 0.2
"""How much more than its share an endpoint may have to bear."""

NO_ZONE: Final = "One or more endpoints do not have a zone specified"
NO_HINTS: Final = "No hints allocated for zones"
NO_NODE_FACTS: Final = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
TOO_FEW: Final = "Insufficient number of endpoints"
TOO_UNEVEN: Final = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"

Zones = Mapping[str, float]
"""Each zone's share of the CPU of all nodes; empty where that cannot be told."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What counts of a node: CPU in millicores. One that does not take part (not ready, a control plane) counts not."""

    zone: str
    cpu: int
    takes_part: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """What the slices of one family say with hints.

    changed   those to be written anyhow, as they were given
    moved     those that would have stayed as they are, by name
    allotted  how many endpoints each zone has; None where no hints can be given
    problem   why that is
    """

    changed: tuple[SliceContent, ...]
    moved: Mapping[str, SliceContent]
    allotted: Mapping[str, int] | None
    problem: str = ""


class _Impossible(Exception):
    """No hints can be given; the text says why."""


@dataclass(frozen=True, slots=True)
class _Allocation:
    most: int
    desired: float


def zones_of(nodes: Iterable[NodeFacts]) -> Zones:
    """Return the zones' shares; empty with less than two zones or with a node that says too little."""
    cpus: dict[str, int] = {}
    for node in nodes:
        if not node.takes_part:
            continue
        if not node.zone or not node.cpu:
            return {}
        cpus[node.zone] = cpus.get(node.zone, 0) + node.cpu
    total = sum(cpus.values())
    return {zone: cpu / total for zone, cpu in sorted(cpus.items())} if len(cpus) > 1 else {}


def overloaded(allotted: Mapping[str, int], zones: Zones) -> bool:
    """Tell whether some zone has fewer endpoints than it can do with."""
    if not allotted:
        return False
    total = sum(allotted.values())
    return not zones or any(allotted.get(zone, 0) < _least(total * share) for zone, share in zones.items())


def spread(changed: Sequence[SliceContent], unchanged: Sequence[Slice], zones: Zones) -> Spread:
    """Give hints to the endpoints of one Service and family."""
    try:
        return _spread(changed, unchanged, zones)
    except _Impossible as problem:
        moved = {
            each.name: _plain(each.content)
            for each in unchanged
            if any(endpoint.zone_hint or endpoint.node_hint for endpoint in each.content.endpoints)
        }
        return Spread(tuple(map(_plain, changed)), moved, None, str(problem))


def _spread(changed: Sequence[SliceContent], unchanged: Sequence[Slice], zones: Zones) -> Spread:
    contents = [*changed, *(each.content for each in unchanged)]
    allocations = _allocate(sum(endpoint.ready for content in contents for endpoint in content.endpoints), zones)
    allotted: dict[str, int] = {}
    moving = []
    for each in unchanged:
        hints = _fitting_hints(each.content, allotted, allocations)
        if hints is None:
            moving.append(each)
        for zone, count in (hints or {}).items():
            allotted[zone] = allotted.get(zone, 0) + count
    at_home = [_at_home(content, allotted) for content in (*changed, *(each.content for each in moving))]
    giving, receiving = _exchange(allocations, allotted)
    told = [_redistributed(content, giving, receiving, allotted) for content in at_home]
    if not allotted:
        raise _Impossible(NO_HINTS)
    moved = {each.name: content for each, content in zip(moving, told[len(changed) :], strict=True)}
    return Spread(tuple(told[: len(changed)]), moved, allotted)


def _least(share: float) -> int:
    return ceil(share * (1 / (1 + OVERLOAD)))


def _allocate(endpoints: int, zones: Zones) -> dict[str, _Allocation]:
    """Return how many of the ready endpoints each zone should have. Raises _Impossible."""
    if not zones:
        raise _Impossible(NO_NODE_FACTS)
    counted = f"({endpoints} endpoints, {len(zones)} zones)"
    if len(zones) > endpoints:
        raise _Impossible(f"{TOO_FEW} {counted}")
    least = {zone: _least(share * endpoints) for zone, share in zones.items()}
    spare = endpoints - sum(least.values())
    if spare < 0:
        raise _Impossible(f"{TOO_UNEVEN} {counted}")
    return {
        zone: _Allocation(least[zone] + spare, max(share * endpoints, least[zone])) for zone, share in zones.items()
    }


def _fitting_hints(
    content: SliceContent, allotted: Mapping[str, int], allocations: Mapping[str, _Allocation]
) -> dict[str, int] | None:
    """Count the hints of a slice by zone; None where they are incomplete or too many for what zones should have."""
    found: dict[str, int] = {}
    for endpoint in content.endpoints:
        if endpoint.ready:
            if endpoint.zone_hint not in allocations:
                return None
            found[endpoint.zone_hint] = found.get(endpoint.zone_hint, 0) + 1
    if any(count + allotted.get(zone, 0) > allocations[zone].most for zone, count in found.items()):
        return None
    return found


def _at_home(content: SliceContent, allotted: dict[str, int]) -> SliceContent:
    """Hint every ready endpoint for its own zone, and count it there. Raises _Impossible."""
    endpoints = []
    for endpoint in content.endpoints:
        if endpoint.ready:
            if not endpoint.zone:
                raise _Impossible(NO_ZONE)
            allotted[endpoint.zone] = allotted.get(endpoint.zone, 0) + 1
            endpoint = replace(endpoint, zone_hint=endpoint.zone, node_hint="")
        endpoints.append(endpoint)
    return replace(content, endpoints=tuple(endpoints))


def _exchange(
    allocations: Mapping[str, _Allocation], allotted: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many endpoints zones give and receive, half a one being too little to move."""
    too_many, too_few = {}, {}
    for zone, allocation in allocations.items():
        over = allotted.get(zone, 0) - allocation.desired
        if over > 0:
            too_many[zone] = over
        elif over < 0:
            too_few[zone] = -over
    giving: dict[str, int] = {}
    receiving: dict[str, int] = {}
    while too_many and too_few:
        giver, receiver = max(too_many, key=too_many.__getitem__), max(too_few, key=too_few.__getitem__)
        more, fewer = too_many[giver], too_few[receiver]
        if max(more, fewer) < 1.0 or min(more, fewer) < 0.5:
            break
        giving[giver] = giving.get(giver, 0) + 1
        receiving[receiver] = receiving.get(receiver, 0) + 1
        too_many[giver] -= 1
        too_few[receiver] -= 1
    return giving, receiving


def _redistributed(
    content: SliceContent, giving: dict[str, int], receiving: dict[str, int], allotted: dict[str, int]
) -> SliceContent:
    """Hand endpoints of zones that give to zones that receive, counting both down."""
    endpoints = []
    for endpoint in content.endpoints:
        if endpoint.ready and giving.get(endpoint.zone) and (zone := next(iter(receiving), "")):
            _count_down(giving, endpoint.zone)
            _count_down(receiving, zone)
            allotted[endpoint.zone] -= 1
            allotted[zone] = allotted.get(zone, 0) + 1
            endpoint = replace(endpoint, zone_hint=zone)
        endpoints.append(endpoint)
    return replace(content, endpoints=tuple(endpoints))


def _count_down(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _plain(content: SliceContent) -> SliceContent:
    return replace(content, endpoints=tuple(_unhinted(endpoint) for endpoint in content.endpoints))


def _unhinted(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, zone_hint="", node_hint="")
