"""`proxy`: the load balancer alone, for a cluster of anybody's."""

import os
import random
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import click

from homeport.cli.cluster import fail


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="How to reach the cluster; $KUBECONFIG, else ~/.kube/config by default.",
)
@click.option("--context", default="", help="A context of the kubeconfig; its current one by default.")
@click.option("--pods", default="10.244.0.0/16", show_default=True, metavar="CIDR", help="The pods' addresses.")
@click.option("--services", default="10.96.0.0/16", show_default=True, metavar="CIDR", help="The virtual addresses.")
@click.option("--node", default="", help="The name endpoints give for this machine.")
@click.option("--zone", default="", help="Its zone, for topology hints.")
@click.option("--node-address", "addresses", multiple=True, metavar="ADDRESS", help="Where node ports answer.")
@click.option("--real-address", "real", multiple=True, metavar="ADDRESS", help="Leave it alone, though in --services.")
def proxy(
    kubeconfig: Path | None,
    context: str,
    pods: str,
    services: str,
    node: str,
    zone: str,
    addresses: tuple[str, ...],
    real: tuple[str, ...],
) -> None:
    """Balance a cluster's Services in the network namespace this is started in, as a client of its API.

    Needs to list and watch Services and EndpointSlices (examples/proxy/rbac.yaml), and the right to set packet-filter
    rules here. Ends by SIGTERM or Ctrl-C, and leaves its rules serving; `nft delete table ip homeport` removes them.
    """
    import logging

    from homeport.client.kubeconfig import KubeconfigError, load_kubeconfig
    from homeport.engine.node_process import run_until_told
    from homeport.proxy.kernel import NftablesError, NftablesMissing
    from homeport.proxy.model import ProxySettings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    try:
        served = ProxySettings(
            pods=IPv4Network(pods),
            services=IPv4Network(services),
            node_addresses=tuple(map(IPv4Address, addresses)),
            real_addresses=tuple(map(IPv4Address, real)),
            node=node,
            zone=zone,
        )
        settings = load_kubeconfig(path, context)
    except (KubeconfigError, ValueError) as error:
        raise fail(str(error)) from error
    click.echo(f"balancing {services} of {settings.server}", err=True)
    try:
        run_until_told(_serve(settings, served))
    except* (NftablesError, NftablesMissing) as errors:
        raise fail(str(errors.exceptions[0])) from errors


async def _serve(settings: Any, served: Any) -> None:
    import asyncio

    from homeport.client.http import HttpTransport
    from homeport.client.informer import InformerFactory
    from homeport.client.rest import RestClient
    from homeport.clock import WallClock
    from homeport.proxy.shell import Proxy

    transport = HttpTransport(settings)
    informers = InformerFactory(RestClient(transport, "homeport-proxy"), random.Random())
    proxy = Proxy(informers, WallClock(), served)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(informers.run())
            group.create_task(proxy.run())
    finally:
        await transport.close()
