"""Packing endpoints into slices: what stays in place stays, and as few slices as possible change.

The order of preference is: keep endpoints where they are; fill slices that change anyhow, fullest first; then one
unchanged slice that takes all leftovers, the tightest; then new slices. Nothing is ever rebalanced, because moving
an endpoint costs every watcher two slices. Source: services-dns 11, rule 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from homeport.controllers.endpointslice.model import Endpoint, Slice

__all__ = ["Packing", "pack"]


@dataclass(frozen=True, slots=True)
class Packing:
    """New contents per existing slice name, the endpoints of each new slice, and the slices left empty."""

    changed: Mapping[str, tuple[Endpoint, ...]]
    created: tuple[tuple[Endpoint, ...], ...]
    emptied: tuple[Slice, ...]


def pack(existing: Sequence[Slice], desired: Sequence[Endpoint], *, limit: int) -> Packing:
    """Spread `desired` over `existing` slices of the same ports, at most `limit` endpoints in each."""
    missing = {endpoint.identity: endpoint for endpoint in desired}
    changed: dict[str, list[Endpoint]] = {}
    unchanged: dict[str, list[Endpoint]] = {}
    emptied = []
    for item in existing:
        kept = [missing.pop(e.identity) for e in item.content.endpoints if e.identity in missing]
        if not kept:
            emptied.append(item)
        elif tuple(kept) == item.content.endpoints:
            unchanged[item.name] = kept
        else:
            changed[item.name] = kept
    leftovers = list(missing.values())
    for name in sorted(changed, key=lambda name: -len(changed[name])):
        room = max(0, limit - len(changed[name]))
        changed[name] += leftovers[:room]
        leftovers = leftovers[room:]
    created = []
    while leftovers:
        room_for_all = {name: kept for name, kept in unchanged.items() if len(kept) + len(leftovers) <= limit}
        if room_for_all:
            name = max(room_for_all, key=lambda name: len(room_for_all[name]))
            changed[name] = unchanged.pop(name) + leftovers
            break
        created.append(tuple(leftovers[:limit]))
        leftovers = leftovers[limit:]
    return Packing({name: tuple(endpoints) for name, endpoints in changed.items()}, tuple(created), tuple(emptied))


def with_hints(endpoint: Endpoint, distribution: str) -> Endpoint:
    """Return the endpoint hinted for its own zone and node, as `trafficDistribution` asks (services-dns 11.2)."""
    if not endpoint.ready or not endpoint.zone or not distribution:
        return endpoint
    node = endpoint.node if distribution == "PreferSameNode" else ""
    return replace(endpoint, zone_hint=endpoint.zone, node_hint=node)
