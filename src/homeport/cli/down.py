"""`down`: stop everything; data is kept unless purged."""

import click

from homeport.cli.cluster import cluster_option, directory_of, fail


@click.command()
@cluster_option
@click.option("--purge", is_flag=True, help="Remove the cluster's data as well.")
def down(cluster: str, purge: bool) -> None:
    """Stop the engine and every pod. Objects, claims and images are kept for the next `up`."""
    from homeport.engine.launch import LaunchError, stop

    directory = directory_of(cluster)
    if not directory.path.exists():
        click.echo(f"no cluster {cluster!r}: nothing to stop", err=True)
        return
    try:
        stopped = stop(directory)
    except LaunchError as error:
        raise fail(str(error)) from error
    if purge:
        from homeport.engine.purge import PurgeError
        from homeport.engine.purge import purge as remove

        try:
            remove(directory.path)
        except PurgeError as error:
            raise fail(f"{directory.path}: cannot be removed whole: {error}") from error
    what = "stopped" if stopped else "was not running"
    click.echo(
        f"cluster {cluster!r} {what}; " + ("data removed" if purge else f"data kept in {directory.path}"), err=True
    )
