"""`expose`: a Service on a port of the host's loopback address."""

import asyncio
import socket
from typing import Any

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, run_async
from homeport.cli.objects import namespace_option
from homeport.cli.output import output_option, print_json, print_table

_WAIT_SECONDS = 15.0


@click.command(short_help="Open a Service on a port of 127.0.0.1.")
@click.argument("what", required=False, metavar="[svc/NAME]")
@click.option("--port", "ports", multiple=True, metavar="LOCAL[:PORT]", help="Which port of the host, for which of it.")
@click.option("--list", "listing", is_flag=True, help="Show what is exposed.")
@click.option("--remove", is_flag=True, help="Expose it no longer; with --port that port alone.")
@namespace_option
@cluster_option
@output_option
def expose(
    what: str | None,
    ports: tuple[str, ...],
    listing: bool,
    remove: bool,
    namespace: str,
    cluster: str,
    output: str | None,
) -> None:
    """Let programs of the host reach a Service: homeport expose svc/db --port 15432.

    Listens on 127.0.0.1 and balances each TCP connection as inside. Kept with the Service, over `down` and `up`.
    """
    if listing:
        _list(cluster, output)
        return
    if what is None:
        raise click.UsageError("name a Service, as in svc/db, or give --list")
    kind, separator, name = what.partition("/")
    if separator and kind not in ("svc", "service", "services"):
        raise fail(f"{what}: only Services are exposed")
    rows = run_async(_expose(name if separator else kind, ports, remove, namespace, cluster))
    if output == "json":
        print_json({"exposed": rows})
    elif remove:
        click.echo(f"{what} is no longer exposed")
    else:
        for row in rows:
            click.echo(f"{row['local']} → {row['namespace']}/{row['service']}:{row['port']}")


def _list(cluster: str, output: str | None) -> None:
    rows = directory_of(cluster).exposed()
    if output == "json":
        print_json({"exposed": rows})
        return
    print_table(
        ("LOCAL", "NAMESPACE", "SERVICE", "PORT", "STATUS"),
        [(r["local"], r["namespace"], r["service"], str(r["port"]), r["error"] or "listening") for r in rows],
    )


async def _expose(
    name: str, ports: tuple[str, ...], remove: bool, namespace: str, cluster: str
) -> list[dict[str, Any]]:
    from homeport.api.resources import find
    from homeport.engine.exposure import ANNOTATION, ExposureError, exposures, text_of
    from homeport.errors import ApiError

    services, events = find("Service"), find("Event")
    async with connected(cluster) as client:
        try:
            service = await client.get(services, namespace, name)
            wanted = [] if remove and not ports else _wanted(service, ports, remove)
            known = exposures(service)
            gone = [] if not remove else [one for one in known if not ports or one.local in {w.local for w in wanted}]
            kept = [one for one in known if one not in gone]
            if not remove:
                _refuse_taken(directory_of(cluster).exposed(), wanted, known, (namespace, name))
            own = {one.local for one in wanted}
            text = text_of(kept if remove else [*(one for one in kept if one.local not in own), *wanted])
            before = (await client.list(events, namespace)).resource_version
            await client.patch(services, namespace, name, {"metadata": {"annotations": {ANNOTATION: text}}})
            fresh = {one.local for one in wanted if one not in known} if not remove else set()
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
    return [
        {"namespace": namespace, "service": name, "port": one.port, "local": f"127.0.0.1:{one.local}"} for one in chosen
    ]


def _wanted(service: Any, ports: tuple[str, ...], remove: bool) -> list[Any]:
    """Return the exposures asked for; without --port the first port, on the same one of the host if it is free."""
    from homeport.engine.exposure import Exposure, ExposureError, exposures

    name, spec = service["metadata"]["name"], service["spec"]
    if spec.get("clusterIP") in (None, "", "None"):
        raise fail(f"Service {name} has no address of its own; expose one with a clusterIP")
    tcp = [port["port"] for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
    if not tcp:
        raise fail(f"Service {name} has no TCP port")
    if not ports:
        for one in exposures(service):
            if one.port == tcp[0]:
                return [one]
        return [Exposure(_free(tcp[0]), tcp[0])]
    found = []
    for text in ports:
        one = Exposure.parse(text if ":" in text else f"{text}:{tcp[0]}")
        if one.port not in tcp and not remove:
            raise ExposureError(f"Service {name} has no TCP port {one.port}; it has {', '.join(map(str, tcp))}")
        found.append(one)
    return found


def _free(preferred: int) -> int:
    """Return a port of the loopback address nobody listens on: the preferred one if an ordinary user may have it."""
    for port in (preferred, 0) if preferred >= 1024 else (0,):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise fail("no port is free on 127.0.0.1")


def _refuse_taken(rows: list[dict[str, Any]], wanted: list[Any], known: list[Any], own: tuple[str, str]) -> None:
    """End with an error for a port that leads elsewhere, or that was asked for before and cannot be used."""
    there = {row["local"]: row for row in rows}
    for one in wanted:
        row = there.get(f"127.0.0.1:{one.local}")
        if row is None:
            continue
        if (row["namespace"], row["service"]) != own:
            other = f"{row['namespace']}/{row['service']}"
            raise fail(f"port {one.local} leads to Service {other} already; choose another with --port")
        if row["error"] and one in known:
            raise fail(f"127.0.0.1:{one.local} cannot be used: {row['error']}; choose another with --port")


async def _told(client: Any, events: Any, namespace: str, name: str, since: str, ports: set[int]) -> None:
    """Wait until the engine has said of each port what became of it."""
    from homeport.engine.expose_process import EXPOSED, FAILED

    if not ports:
        return
    about = f"involvedObject.kind=Service,involvedObject.name={name}"
    async with client.watch(events, namespace, resource_version=since, field_selector=about) as changes:
        async for change in changes:
            reason, message = change.object.get("reason"), change.object.get("message", "")
            if reason not in (EXPOSED, FAILED) or change.kind == "DELETED":
                continue
            port = int(message.split(" ")[0].rpartition(":")[2])
            if port in ports and reason == FAILED:
                raise fail(message)
            ports.discard(port)
            if not ports:
                return
