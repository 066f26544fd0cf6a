"""`proxy`: the load balancer alone, for a cluster of anybody's."""

import os
import random
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import click

from homeport.cli.cluster import fail


@click.command(short_help="Balance the Services of any cluster, by a kubeconfig.")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="How to reach the cluster; $KUBECONFIG, else ~/.kube/config by default.",
)
@click.option("--context", default="", help="A context of the kubeconfig; its current one by default.")
@click.option(
    "--pods",
    default="10.244.0.0/16",
    show_default=True,
    metavar="CIDR[,CIDR]",
    help="The pods' addresses, of IPv4, IPv6 or both.",
)
@click.option(
    "--services",
    default="10.96.0.0/16",
    show_default=True,
    metavar="CIDR[,CIDR]",
    help="The virtual addresses, of the same families.",
)
@click.option("--node", default="", help="The name endpoints give for this machine.")
@click.option("--zone", default="", help="Its zone, for topology hints.")
@click.option("--node-address", "addresses", multiple=True, metavar="ADDRESS", help="Where node ports answer.")
@click.option("--real-address", "real", multiple=True, metavar="ADDRESS", help="Leave it alone, though in --services.")
@click.option(
    "--means",
    type=click.Choice(["auto", "nftables", "userspace"]),
    default="auto",
    show_default=True,
    help="The packet filter, sockets of this process, or whichever there is.",
)
def proxy(
    kubeconfig: Path | None,
    context: str,
    pods: str,
    services: str,
    node: str,
    zone: str,
    addresses: tuple[str, ...],
    real: tuple[str, ...],
    means: str,
) -> None:
    """Balance a cluster's Services in the network namespace this is started in, as a client of its API.

    Needs to list and watch Services and EndpointSlices (examples/proxy/rbac.yaml), and the right to set packet-filter
    rules here. Ends by SIGTERM or Ctrl-C, and leaves its rules serving; `nft delete table ip homeport` (`ip6` for
    IPv6) removes them.
    """
    import logging

    from homeport.client.kubeconfig import KubeconfigError, load_kubeconfig
    from homeport.engine.node_process import run_until_told
    from homeport.garbage import collect_rarely
    from homeport.proxy.kernel import NftablesError, NftablesMissing
    from homeport.proxy.model import ProxySettings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    try:
        served = [
            ProxySettings(
                pods=pod_range,
                services=service_range,
                node_addresses=_of(service_range.version, addresses),
                real_addresses=_of(service_range.version, real),
                node=node,
                zone=zone,
            )
            for pod_range, service_range in _ranges(pods, services)
        ]
        settings = load_kubeconfig(path, context)
    except (KubeconfigError, ValueError) as error:
        raise fail(str(error)) from error
    click.echo(f"balancing {services} of {settings.server}", err=True)
    collect_rarely()
    try:
        run_until_told(_serve(settings, served, means))
    except* (NftablesError, NftablesMissing) as errors:
        raise fail(str(errors.exceptions[0])) from errors


def _ranges(pods: str, services: str) -> list[tuple[Any, Any]]:
    """Return the pods' and the virtual addresses of each family. Raises ValueError."""
    pairs = [_networks("--pods", pods), _networks("--services", services)]
    if pairs[0].keys() != pairs[1].keys():
        raise ValueError(f"--pods {pods} and --services {services}: give one range of each family to both")
    return [(pairs[0][version], services_range) for version, services_range in pairs[1].items()]


def _networks(option: str, text: str) -> dict[int, Any]:
    try:
        return {net.version: net for net in map(ip_network, text.split(","))}
    except ValueError as error:
        raise ValueError(f"{option} {text}: {error}; write a range as in 10.244.0.0/16,fd00:10:244::/64") from None


def _of(version: int, texts: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(address for address in map(ip_address, texts) if address.version == version)


async def _serve(settings: Any, served: Any, means: str) -> None:
    import asyncio

    from homeport.client.http import HttpTransport
    from homeport.client.informer import InformerFactory
    from homeport.client.rest import RestClient
    from homeport.clock import WallClock
    from homeport.garbage import settle_heap
    from homeport.proxy.shell import Means, Proxy

    transport = HttpTransport(settings)
    informers = InformerFactory(RestClient(transport, "homeport-proxy"), random.Random())
    proxy = Proxy(informers, WallClock(), served, means=Means(means))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(informers.run())
            group.create_task(proxy.run())
            await proxy.settled()
            settle_heap()
    finally:
        await transport.close()
