"""`top`: connections by Service and pod, as the kernel of the cluster's network counts them."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from homeport.cli.cluster import cluster_option, connected, directory_of, fail, not_running, run_async
from homeport.cli.objects import namespace_option
from homeport.cli.output import output_option, print_json, print_table


@click.command(short_help="Show the connections to Services, by pod.")
@click.argument("what", type=click.Choice(["svc", "service", "services"]), metavar="svc")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@cluster_option
@output_option
def top(
    what: str, names: tuple[str, ...], namespace: str, all_namespaces: bool, cluster: str, output: str | None
) -> None:
    """Show the connections to Services, by pod: homeport top svc, homeport top svc web.

    LIVE are connections under way; PICKS also those that ended and that the kernel remembers, two minutes for TCP.
    NEW tells whether new connections may be led there.
    """
    rows = run_async(_top(names, None if all_namespaces else namespace, cluster))
    if output == "json":
        print_json({"endpoints": rows})
        return
    headers = ("SERVICE", "PORT", "POD", "ENDPOINT", "LIVE", "PICKS", "NEW")
    print_table(
        [*(["NAMESPACE"] if all_namespaces else []), *headers],
        [
            [
                *([row["namespace"]] if all_namespaces else []),
                row["service"],
                row["port"],
                row["pod"] or "-",
                row["endpoint"],
                str(row["live"]),
                str(row["picks"]),
                "yes" if row["listed"] else "no",
            ]
            for row in rows
        ],
    )


async def _top(names: tuple[str, ...], namespace: str | None, cluster: str) -> list[dict[str, Any]]:
    from homeport.api.resources import find
    from homeport.engine.balancing import proxy_settings
    from homeport.engine.flows import FlowsError, cluster_flows

    directory = directory_of(cluster)
    settings = directory.load()
    if settings is None:
        raise not_running(cluster)
    async with connected(cluster) as client:
        services = (await client.list(find("Service"), namespace)).items
        slices = (await client.list(find("EndpointSlice", "discovery.k8s.io"), namespace)).items
    known = {service["metadata"]["name"] for service in services}
    for name in names:
        if name not in known:
            raise fail(f'services "{name}" not found')
    try:
        flows = await cluster_flows(directory)
    except FlowsError as error:
        raise fail(f"the connections of cluster {cluster!r} cannot be listed: {error}") from error
    served = proxy_settings(settings)
    chosen = [service for service in services if not names or service["metadata"]["name"] in names]
    return [row for service in chosen for side in served for row in rows_of(service, slices, flows, side)]


def rows_of(
    service: Mapping[str, Any], slices: Iterable[Mapping[str, Any]], flows: Iterable[Any], settings: Any
) -> list[dict[str, Any]]:
    """Return a row for each endpoint of each port of a Service, in one family; none without a virtual address there."""
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
        for load in tally(rules, flows)
    ]
