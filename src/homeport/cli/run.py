"""`run`: a program of the host, inside the cluster's network, with the cluster's names."""

import sys

import click

from homeport.cli.cluster import cluster_option, directory_of, fail, not_running


@click.command(
    short_help="Run a program of the host in the cluster's network.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@cluster_option
@click.option("-n", "--namespace", default="default", show_default=True, help="Whose short names resolve.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(cluster: str, namespace: str, command: tuple[str, ...]) -> None:
    """Run CMD in the cluster's network: homeport run -- dig +short web-0.nginx.default.svc.cluster.local"""
    from homeport.engine.inside import InsideError, run_inside
    from homeport.node.namespaces import find_holder

    directory = directory_of(cluster)
    settings = directory.load()
    holder = find_holder(directory.run)
    if settings is None or holder is None:
        raise not_running(cluster)
    search = [f"{namespace}.svc.{settings.domain}", f"svc.{settings.domain}", settings.domain]
    try:
        sys.exit(run_inside(holder, command, settings.name_servers, search))
    except InsideError as error:
        raise fail(str(error), 127) from error
