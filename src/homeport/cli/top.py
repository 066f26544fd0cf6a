"""`top`: connections by Service and pod, as the kernel of the cluster's network counts them, and user space."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, not_running, run_async
from homeport.cli.objects import namespace_option
from homeport.cli.output import output_option, print_json, print_table


@click.command(short_help="Show the connections to Services, by pod.")
@click.argument("what", metavar="svc")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@cluster_option
@output_option
def top(
    what: str, names: tuple[str, ...], namespace: str, all_namespaces: bool, cluster: str, output: str | None
) -> None:
    """Show the connections to Services, by pod: homeport top svc, homeport top svc web.

    LIVE are connections under way; PICKS also those that ended and that the kernel remembers, two minutes for TCP, or
    all that were joined in user space. NEW tells whether new connections may be led there.
    """
    kind, _, inline = what.partition("/")
    if kind not in ("svc", "service", "services"):
        raise click.UsageError(f"{what}: connections are counted for Services: homeport top svc, homeport top svc/web")
    names = (*([inline] if inline else []), *names)
    rows, unbalanced = run_async(_top(names, None if all_namespaces else namespace, cluster))
    sums = totals(rows)
    if output == "json":
        print_json({"services": sums, "endpoints": rows})
        return
    lines = []
    for total in sums:
        own = [row for row in rows if (row["namespace"], row["service"]) == (total["namespace"], total["service"])]
        lines += [_line(row, "yes" if row["listed"] else "no") for row in own]
        if len(own) > 1:
            lines.append(_line({**total, "port": "", "pod": "total", "endpoint": ""}, ""))
    headers = ("NAMESPACE", "SERVICE", "PORT", "POD", "ENDPOINT", "LIVE", "PICKS", "NEW")
    first = 0 if all_namespaces else 1
    if not lines and not unbalanced:
        click.echo("No Services found" + ("." if all_namespaces else f" in {namespace} namespace."), err=True)
        return
    if lines:
        print_table(headers[first:], [line[first:] for line in lines])
    for name, why in unbalanced.items():
        if name in names or not lines:
            click.echo(f"Service {name}: {why}", err=True)


def _line(row: Mapping[str, Any], new: str) -> tuple[str, ...]:
    return (
        row["namespace"], row["service"], row["port"], row["pod"] or "-", row["endpoint"],
        str(row["live"]), str(row["picks"]), new,
    )  # fmt: skip


def totals(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the sums of each Service, in the order of its first row."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        namespace, name = row["namespace"], row["service"]
        total = found.setdefault((namespace, name), {"namespace": namespace, "service": name, "live": 0, "picks": 0})
        total["live"] += row["live"]
        total["picks"] += row["picks"]
    return list(found.values())


def _unbalanced(service: Mapping[str, Any]) -> str:
    """Say why connections to a Service are not counted; empty when they are, should there be any."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return f"is an alias of {spec.get('externalName')}, connections lead out of the cluster"
    if spec.get("clusterIP") == "None":
        return "is headless, its clients connect to the pods themselves and are not counted"
    return "has no endpoint and no connection"


async def _top(
    names: tuple[str, ...], namespace: str | None, cluster: str
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the rows, and why the Services without any have none."""
    from homeport.api.resources import find
    from homeport.engine.balancing import proxy_settings
    from homeport.explain.model import near

    directory = directory_of(cluster)
    settings = directory.load()
    if settings is None:
        raise not_running(cluster)
    async with connected(cluster) as client:
        services = (await client.list(find("Service"), namespace)).items
        slices = (await client.list(find("EndpointSlice", "discovery.k8s.io"), namespace)).items
    names = tuple(name.rpartition("/")[2] for name in names)
    known = {service["metadata"]["name"] for service in services}
    for name in names:
        if name not in known:
            where = f" in namespace {namespace}" if namespace else ""
            raise fail(f'services "{name}" not found{where}{near(name, services)}')
    flows, joined = await _connections(directory)
    chosen = [service for service in services if not names or service["metadata"]["name"] in names]
    found = [
        (service, [row for side in proxy_settings(settings) for row in rows_of(service, slices, flows, side, joined)])
        for service in chosen
    ]
    empty = {service["metadata"]["name"]: _unbalanced(service) for service, rows in found if not rows}
    return [row for _, rows in found for row in rows], empty


async def _connections(directory: Any) -> tuple[list[Any], list[Any]]:
    """Return what the kernel leads, and what the proxy joins itself; the latter alone where it balances all by itself.

    A proxy that is another program tells nothing of what it joins.
    """
    from homeport.engine.flows import FlowsError, cluster_flows
    from homeport.engine.proxy_client import ProxyAway, carried, proxy_status

    try:
        joined = await carried(directory)
        alone = (await proxy_status(directory))["means"] == "userspace"
    except ProxyAway:
        joined, alone = [], False
    if alone:
        return [], joined
    try:
        return await cluster_flows(directory), joined
    except FlowsError as error:
        raise fail(f"the connections of cluster {directory.path.name!r} cannot be listed: {error}") from error


def rows_of(
    service: Mapping[str, Any],
    slices: Iterable[Mapping[str, Any]],
    flows: Iterable[Any],
    settings: Any,
    joined: Iterable[Any] = (),
) -> list[dict[str, Any]]:
    """Return a row for each endpoint of each port of a Service, in one family; none without a virtual address there.

    flows   what the kernel leads
    joined  what the proxy joins in user space, in either family
    """
    from homeport.proxy import codec
    from homeport.proxy.flows import tally
    from homeport.proxy.rules import decide

    found = codec.service(service, settings.version)
    if found is None:
        return []
    own = [one for one in slices if codec.slice_service(one) == found.key]
    rules = decide(found, {port: codec.endpoints(own, port, settings.version) for port in found.ports}, settings)
    pods = {
        address: entry["targetRef"].get("name", "")
        for one in own
        for entry in one.get("endpoints") or ()
        if (entry.get("targetRef") or {}).get("kind") == "Pod"
        for address in entry.get("addresses") or ()
    }
    numbers = dict(zip(rules.ports, (port.port for port in found.ports), strict=True))
    return [
        {
            "namespace": found.key[0],
            "service": found.key[1],
            "port": f"{numbers[load.port]}/{load.port.protocol.upper()}",
            "pod": pods.get(str(load.target.address), ""),
            "endpoint": str(load.target),
            "live": load.live,
            "picks": load.remembered,
            "listed": load.listed,
        }
        for load in tally(rules, flows, [one for one in joined if one.target.address.version == settings.version])
    ]
