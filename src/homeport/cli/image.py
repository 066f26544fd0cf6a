"""`image`: load archives, list what is here, let one image stand for another. Works whether the engine runs or not."""

from pathlib import Path

import click

from homeport.cli.cluster import cluster_option, directory_of, fail
from homeport.cli.output import output_option, print_json, print_table

__all__ = ["add_alias", "image"]


@click.group()
def image() -> None:
    """Images: load, list, alias."""


def add_alias(data: Path, text: str) -> str:
    """Keep the alias `PATTERN=TARGET[ ARG…]` for a cluster; return how it reads. Ends the command on a bad one."""
    from homeport.node.images.local import alias

    images = data / "images"
    images.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return str(alias(images, text))
    except ValueError as error:
        raise fail(
            f"image alias {text!r}: {error}; write PATTERN=TARGET, as in 'nginx:*=homeport.local/host'"
        ) from error


@image.command()
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@cluster_option
@output_option
def load(archive: Path, cluster: str, output: str | None) -> None:
    """Load a docker-archive or OCI layout, as a tar file or a directory."""
    from homeport.node.images.local import load_archive
    from homeport.node.images.store import BadImage

    directory = directory_of(cluster)
    directory.create()
    try:
        loaded = load_archive(directory.path / "images", archive)
    except (BadImage, OSError) as error:
        raise fail(f"{archive}: {error}") from error
    if output == "json":
        print_json([{"reference": one.reference, "id": one.id, "sizeBytes": one.size_bytes} for one in loaded])
        return
    for one in loaded:
        click.echo(f"loaded {one.reference} ({one.id[:19]})")


@image.command("list")
@cluster_option
@output_option
def list_(cluster: str, output: str | None) -> None:
    """Show the images and aliases of a cluster."""
    from homeport.node.images.aliases import AliasTable
    from homeport.node.images.local import list_images

    images = directory_of(cluster).path / "images"
    found = list_images(images)
    aliases = AliasTable(images).list()
    if output == "json":
        print_json(
            {
                "images": [{"reference": one.reference, "id": one.id, "sizeBytes": one.size_bytes} for one in found],
                "aliases": [str(one) for one in aliases],
            }
        )
        return
    print_table(
        ("IMAGE", "ID", "SIZE"),
        [
            (one.reference, one.id.removeprefix("sha256:")[:12], f"{one.size_bytes / 1e6:.1f} MB")
            if one.id.startswith("sha256:")
            else (one.reference, "-", "-")
            for one in found
        ],
    )
    for one in aliases:
        click.echo(f"alias {one}")


@image.command(short_help="Let one image stand for others.")
@click.argument("text", metavar="PATTERN=TARGET[ ARG…]")
@cluster_option
def alias(text: str, cluster: str) -> None:
    """Run images matching PATTERN as TARGET: 'nginx:*=homeport.local/host nginx -g "daemon off;"'."""
    click.echo(f"alias {add_alias(directory_of(cluster).path, text)}")
