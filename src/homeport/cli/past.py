"""`why … --since`: what lately became of what is asked about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from homeport.cli.cluster import connected, directory_of, fail, not_running
from homeport.cli.looking import owner_of
from homeport.cli.moments import clock_time, length
from homeport.cli.output import folded, screen_columns
from homeport.clock import WallClock, milli_time, parse_time

__all__ = ["Past", "past"]


@dataclass(frozen=True, slots=True)
class Past:
    """What happened in the `seconds` before `end`, oldest first; before `known` (epoch seconds) nothing is known."""

    moments: tuple[Any, ...]
    seconds: float
    end: float
    known: float

    def as_json(self, now: float) -> dict[str, Any]:
        return {"history": [one.as_json(now) for one in self.moments], "knownSince": milli_time(self.known)}

    def echo(self, now: float) -> None:
        """Print a timeline in local time. `now` is the present, epoch seconds."""
        span = f"the last {self.seconds:g} s" if now - self.end < 1 else f"the {self.seconds:g} s before"
        click.echo(f"In {span}:" if self.moments else f"No change is remembered of {span}.")
        if self.end - self.seconds < self.known:
            click.echo(f"  {clock_time(self.known)} ({length(now - self.known)} ago): nothing older is remembered")
        for one in self.moments:
            shown = f"  {clock_time(one.at)} ({length(now - one.at)} ago) {one.object}: {one.says}"
            click.echo(folded(shown, screen_columns()))


async def past(
    what: str, names: tuple[str, ...], namespace: str, cluster: str, seconds: float, moment: float | None
) -> Past:
    """Return what happened in the `seconds` before a moment, or the present, to what `why` was asked about."""
    from homeport.errors import ApiError
    from homeport.explain.history import Change, timeline

    settings = directory_of(cluster).load()
    if settings is None:
        raise not_running(cluster)
    end = WallClock().now() if moment is None else moment
    nodes = [ranges.gateway for ranges in settings.ranges]
    found, known = [], 0.0
    async with connected(cluster) as client:
        try:
            for where, concern in await _concerns(client, what, names, namespace, settings.domain, nodes):
                told = await client.history(where, end - seconds)
                known = max(known, parse_time(told["knownSince"]))
                found += timeline(map(Change.read, told["changes"]), concern)
        except ApiError as error:
            raise fail(error.message) from error
    moments = sorted((one for one in found if moment is None or one.at <= moment), key=lambda one: one.at)
    return Past(tuple(moments), seconds, end, known)


async def _concerns(
    client: Any, what: str, names: tuple[str, ...], namespace: str, domain: str, nodes: Sequence[Any]
) -> list[Any]:
    from homeport.client.manifests import resource_of
    from homeport.explain.history import Concern
    from homeport.explain.names import asked
    from homeport.explain.wanted import wanted

    if what in ("conn", "connection"):
        connection = wanted(names)
        namespace, text = connection.namespace or namespace, connection.service
        if connection.address is not None:
            kind, where, name = await owner_of(client, connection.address, connection.port, nodes)
            if kind != "Service":
                own, there = Concern(pods=frozenset((connection.pod,))), Concern(pods=frozenset((name,)))
                return [(namespace, own.with_pod(name))] if where == namespace else [(namespace, own), (where, there)]
            text = f"{name}.{where}.svc.{domain}."
        found = await _named(client, asked(text, namespace, domain))
        if found and found[0][0] == namespace:
            return [(namespace, found[0][1].with_pod(connection.pod))]
        return [(namespace, Concern(pods=frozenset((connection.pod,)))), *found]
    if what in ("name", "dns"):
        return await _named(client, asked(names[0], namespace, domain))
    kind, name = resource_of(what).kind, names[0]
    if kind == "Pod":
        return [(namespace, Concern(pods=frozenset((name,))))]
    if kind == "Service":
        return [(namespace, Concern.of_service(name, await _service(client, namespace, name)))]
    if kind == "Node":
        raise fail("--since: what became of nodes is not remembered")
    owners = {(kind, name)}
    if kind == "Deployment":
        owners |= await _sets(client, namespace, name)
    return [(namespace, Concern(owners=frozenset(owners)))]


async def _named(client: Any, meanings: list[Any]) -> list[Any]:
    """Return what a name depends on, in its first meaning that is there, else in its first."""
    from homeport.explain.history import Concern

    services = [await _service(client, one.namespace, one.service) for one in meanings]
    there = [number for number, service in enumerate(services) if service is not None] or [0]
    return [
        (meanings[number].namespace, Concern.of_name(meanings[number], services[number]))
        for number in there[:1]
        if meanings
    ]


async def _service(client: Any, namespace: str, name: str) -> Any:
    from homeport.api.resources import find
    from homeport.errors import NotFound

    try:
        return await client.get(find("Service"), namespace, name)
    except NotFound:
        return None


async def _sets(client: Any, namespace: str, deployment: str) -> set[tuple[str, str]]:
    from homeport.api.resources import find

    listing = await client.list(find("ReplicaSet", "apps"), namespace)
    return {
        ("ReplicaSet", item["metadata"]["name"])
        for item in listing.items
        if any(ref.get("name") == deployment for ref in item["metadata"].get("ownerReferences") or ())
    }
