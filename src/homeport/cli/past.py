"""`why … --since`: what lately became of what is asked about."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from homeport.cli.cluster import connected, directory_of, fail, not_running

__all__ = ["SECONDS", "echo_past", "past"]

_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Seconds(click.ParamType):  # type: ignore[type-arg]  # generic in some releases of click alone
    """A length of time such as 30s, 1.5m or 1h; seconds without a unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", value)
        if found is None:
            self.fail(f"{value!r} is no length of time, such as 30s or 5m", param, ctx)
        return float(found[1]) * _UNITS[found[2] or ""]


SECONDS: Final = _Seconds()


async def past(what: str, names: tuple[str, ...], namespace: str, cluster: str, seconds: float) -> list[Any]:
    """Return the moments of the last `seconds` that concern what `why` was asked about, oldest first."""
    from homeport.errors import ApiError

    settings = directory_of(cluster).load()
    if settings is None:
        raise not_running(cluster)
    async with connected(cluster) as client:
        try:
            found = [
                moment
                for where, concern in await _concerns(client, what, names, namespace, settings.domain)
                for moment in await _moments(client, where, concern, seconds)
            ]
        except ApiError as error:
            raise fail(error.message) from error
    return sorted(found, key=lambda moment: -moment.age_seconds)


async def _moments(client: Any, namespace: str, concern: Any, seconds: float) -> list[Any]:
    from homeport.explain.history import Change, timeline

    changes = [
        Change(one["kind"], one["name"], one["ageSeconds"], one["old"], one["new"])
        for one in await client.history(namespace, seconds)
    ]
    return timeline(changes, concern)


async def _concerns(client: Any, what: str, names: tuple[str, ...], namespace: str, domain: str) -> list[Any]:
    from homeport.client.manifests import resource_of
    from homeport.explain.connections import wanted
    from homeport.explain.history import Concern
    from homeport.explain.names import asked
    from homeport.explain.workloads import WORKLOADS

    if what in ("conn", "connection"):
        connection = wanted(names)
        found = await _named(client, asked(connection.service, namespace, domain))
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
    if kind not in (*WORKLOADS, "Job"):
        raise fail(f"--since: changes are remembered of pods and Services, not of a {kind}")
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


def echo_past(moments: list[Any], seconds: float, now: float) -> None:
    """Print a timeline in local time. `now` is the present, epoch seconds."""
    if not moments:
        click.echo(f"No change is remembered of the last {seconds:g} s.")
        return
    click.echo(f"In the last {seconds:g} s:")
    for one in moments:
        at = datetime.fromtimestamp(now - one.age_seconds, UTC).astimezone()
        shown = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
        click.echo(f"  {shown} ({one.age_seconds:.1f} s ago) {one.object}: {one.says}")
