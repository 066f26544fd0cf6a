"""`expose`: a Service on a port of the host's loopback addresses."""

import asyncio
import socket
from typing import Any

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, run_async
from homeport.cli.objects import namespace_option
from homeport.cli.output import output_option, print_json, print_table

_WAIT_SECONDS = 15.0


@click.command(short_help="Open a Service on a port of this machine.")
@click.argument("what", required=False, metavar="[svc/NAME]")
@click.option("--port", "ports", multiple=True, metavar="LOCAL[:PORT]", help="Which port of the host, for which of it.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="A loopback address of the host: 127.0.0.1 (the default), ::1, or localhost for both.",
)
@click.option("--list", "listing", is_flag=True, help="Show what is exposed.")
@click.option("--remove", is_flag=True, help="Expose it no longer; with --port that port alone.")
@namespace_option
@cluster_option
@output_option
def expose(
    what: str | None,
    ports: tuple[str, ...],
    addresses: tuple[str, ...],
    listing: bool,
    remove: bool,
    namespace: str,
    cluster: str,
    output: str | None,
) -> None:
    """Let programs of the host reach a Service: homeport expose svc/db --port 15432.

    Listens on 127.0.0.1, or on --address, and balances each TCP connection as inside. Kept with the Service, over
    `down` and `up`.
    """
    if listing:
        _list(cluster, output)
        return
    if what is None:
        raise click.UsageError("name a Service, as in svc/db, or give --list")
    kind, separator, name = what.partition("/")
    if separator and kind not in ("svc", "service", "services"):
        raise fail(f"{what}: only Services are exposed")
    rows = run_async(_expose(name if separator else kind, ports, addresses, remove, namespace, cluster))
    if output == "json":
        print_json({"exposed": rows})
    elif remove:
        click.echo(f"{what} is no longer exposed" if rows else f"{what} was not exposed there")
    else:
        for row in rows:
            click.echo(f"{row['local']} → {row['namespace']}/{row['service']}:{row['port']}")


def _list(cluster: str, output: str | None) -> None:
    rows = directory_of(cluster).exposed()
    if output == "json":
        print_json({"exposed": rows})
        return
    if not rows:
        click.echo("nothing is exposed", err=True)
        return
    print_table(
        ("LOCAL", "NAMESPACE", "SERVICE", "PORT", "STATUS"),
        [(r["local"], r["namespace"], r["service"], str(r["port"]), r["error"] or "listening") for r in rows],
    )


async def _expose(
    name: str, ports: tuple[str, ...], addresses: tuple[str, ...], remove: bool, namespace: str, cluster: str
) -> list[dict[str, Any]]:
    from homeport.api.resources import find
    from homeport.engine.exposure import ANNOTATION, LOOPBACKS, ExposureError, exposures, text_of
    from homeport.errors import ApiError

    services, events = find("Service"), find("Event")
    async with connected(cluster) as client:
        try:
            service = await client.get(services, namespace, name)
            where = _addresses(addresses)
            known = exposures(service)
            wanted = [] if remove else _wanted(service, ports, where or [LOOPBACKS["IPv4"]])
            gone = _named(known, ports, where) if remove else []
            kept = [one for one in known if one not in gone]
            if not remove:
                _refuse_taken(directory_of(cluster).exposed(), wanted, known, (namespace, name))
            own = {one.place for one in wanted}
            text = text_of(kept if remove else [*(one for one in kept if one.place not in own), *wanted])
            before = (await client.list(events, namespace)).resource_version
            await client.patch(services, namespace, name, {"metadata": {"annotations": {ANNOTATION: text}}})
            fresh = {one.place for one in wanted if one not in known}
            async with asyncio.timeout(_WAIT_SECONDS):
                await _told(client, events, namespace, name, before, fresh)
        except ExposureError as error:
            raise fail(str(error)) from error
        except ApiError as error:
            raise fail(error.message) from error
        except TimeoutError:
            log = directory_of(cluster).logs / "expose.log"
            raise fail(f"not listening after {_WAIT_SECONDS:g} s; see {log}") from None
    chosen = gone if remove else wanted
    return [{"namespace": namespace, "service": name, "port": one.port, "local": str(one.place)} for one in chosen]


def _addresses(words: tuple[str, ...]) -> list[str]:
    """Return the loopback addresses asked for, empty for none. Raises ExposureError."""
    from homeport.engine.exposure import LOOPBACKS, loopback

    texts = [text.strip() for word in words for text in word.split(",")]
    found = [one for text in texts for one in (LOOPBACKS.values() if text == "localhost" else [loopback(text)])]
    return list(dict.fromkeys(found))


def _named(known: list[Any], ports: tuple[str, ...], addresses: list[str]) -> list[Any]:
    """Return those of the exposures that are to go. Raises ExposureError."""
    from homeport.engine.exposure import Exposure

    locals_ = {Exposure.parse(text if ":" in text else f"{text}:1").local for text in ports}
    return [one for one in known if (not ports or one.local in locals_) and (not addresses or one.address in addresses)]


def _wanted(service: Any, ports: tuple[str, ...], addresses: list[str]) -> list[Any]:
    """Return the exposures asked for; without --port the first port, on the same one of the host if it is free."""
    from homeport.engine.exposure import Exposure, ExposureError, exposures

    name, spec = service["metadata"]["name"], service["spec"]
    if spec.get("clusterIP") in (None, "", "None"):
        raise fail(f"Service {name} has no address of its own; expose one with a clusterIP")
    tcp = [port["port"] for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
    if not tcp:
        raise fail(f"Service {name} has no TCP port")
    if not ports:
        known = [one for one in exposures(service) if one.port == tcp[0] and one.address in addresses]
        new = [one for one in addresses if one not in {each.address for each in known}]
        local = _free(known[0].local if known else tcp[0], new) if new else 0
        return [*known, *(Exposure(local, tcp[0], address) for address in new)]
    found = []
    for text in ports:
        one = Exposure.parse(text if ":" in text else f"{text}:{tcp[0]}")
        if one.port not in tcp:
            raise ExposureError(f"Service {name} has no TCP port {one.port}; it has {', '.join(map(str, tcp))}")
        found += [Exposure(one.local, one.port, address) for address in addresses]
    return found


def _free(preferred: int, addresses: list[str]) -> int:
    """Return a port nobody listens on at any of the addresses: the preferred one if an ordinary user may have it."""
    first, *others = addresses
    for port in (preferred, 0, 0, 0) if preferred >= 1024 else (0, 0, 0):
        try:
            found = _bound(first, port)
            for address in others:
                _bound(address, found)
        except OSError as error:
            reason = error.strerror or str(error)
            continue
        return found
    raise fail(f"no port can be opened on {', '.join(addresses)}: {reason}")


def _bound(address: str, port: int) -> int:
    """Return the number of a port that could be opened just now. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, port))
        return int(probe.getsockname()[1])


def _refuse_taken(rows: list[dict[str, Any]], wanted: list[Any], known: list[Any], own: tuple[str, str]) -> None:
    """End with an error for a port that leads elsewhere, or that was asked for before and cannot be used."""
    there = {row["local"]: row for row in rows}
    for one in wanted:
        row = there.get(str(one.place))
        if row is None:
            continue
        if (row["namespace"], row["service"]) != own:
            other = f"{row['namespace']}/{row['service']}"
            raise fail(f"port {one.local} leads to Service {other} already; choose another with --port")
        if row["error"] and one in known:
            raise fail(f"{one.place} cannot be used: {row['error']}; choose another with --port")


async def _told(client: Any, events: Any, namespace: str, name: str, since: str, places: set[Any]) -> None:
    """Wait until the engine has said of each place what became of it."""
    from homeport.engine.expose_process import EXPOSED, FAILED
    from homeport.engine.exposure import Place

    if not places:
        return
    about = f"involvedObject.kind=Service,involvedObject.name={name}"
    async with client.watch(events, namespace, resource_version=since, field_selector=about) as changes:
        async for change in changes:
            reason, message = change.object.get("reason"), change.object.get("message", "")
            if reason not in (EXPOSED, FAILED) or change.kind == "DELETED":
                continue
            place = Place.read(message.split(" ")[0])
            if place in places and reason == FAILED:
                raise fail(message)
            places.discard(place)
            if not places:
                return
