"""`kubeconfig`: where it is, or merged into another."""

from pathlib import Path

import click

from homeport.cli.cluster import cluster_option, directory_of, fail, up_command


@click.command(short_help="Print the path of the kubeconfig; merge it into yours.")
@cluster_option
@click.option(
    "--merge",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    is_flag=False,
    flag_value=Path("~/.kube/config"),
    help="Merge into FILE (~/.kube/config when none is given) and make it the current context.",
)
def kubeconfig(cluster: str, target: Path | None) -> None:
    """Print the path of the kubeconfig: KUBECONFIG=$(homeport kubeconfig) kubectl get pods."""
    directory = directory_of(cluster)
    if not directory.kubeconfig.exists():
        raise fail(f"cluster {cluster!r} has no kubeconfig yet; start it with `{up_command(cluster)}`")
    if target is None:
        click.echo(directory.kubeconfig)
        return
    from homeport.engine.kubeconfig import MergeError, merge_into

    path = target.expanduser()
    try:
        context = merge_into(path, directory.kubeconfig)
    except MergeError as error:
        raise fail(str(error)) from error
    click.echo(f"{path}: context {context!r} is current")
