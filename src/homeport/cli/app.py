"""The click application: one command per module, imported when it is called."""

import click

__all__ = ["app"]


@click.group()
@click.version_option(package_name="homeport")
def app() -> None:
    """Stateful Kubernetes applications on one machine."""
