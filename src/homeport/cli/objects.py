"""`get`, `apply`, `delete`, `logs`, `exec`: for people without kubectl, thin over the same API."""

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

import click

from homeport.api.resources import RESOURCES, Resource
from homeport.cli.cluster import cluster_option, connected, fail, run_async
from homeport.cli.output import print_json, print_table, print_yaml
from homeport.client.manifests import ManifestError, read_manifests, resource_of


@dataclass(frozen=True, slots=True)
class _Printed:
    """One collection's table."""

    resource: Resource
    headers: list[str]
    rows: list[list[str]]


namespace_option = click.option("-n", "--namespace", default="default", show_default=True, help="Which namespace.")


def _resource(word: str) -> Any:
    try:
        return resource_of(word)
    except ManifestError as error:
        raise fail(str(error)) from error


@click.command(short_help="Show objects.")
@click.argument("what")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@click.option("-l", "--selector", default="", help="Only objects with these labels.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml", "wide", "name"]), help="How to print.")
@cluster_option
def get(
    what: str, names: tuple[str, ...], namespace: str, all_namespaces: bool, selector: str, output: str, cluster: str
) -> None:
    """Show objects: `homeport get pods`, `homeport get sts/web -o yaml`."""
    word, _, inline = what.partition("/")
    wanted = [*([inline] if inline else []), *names]
    run_async(_get(word, wanted, None if all_namespaces else namespace, selector, output, cluster))


async def _get(
    word: str, names: list[str], namespace: str | None, selector: str, output: str | None, cluster: str
) -> None:
    from homeport.errors import ApiError

    async with connected(cluster) as client:
        try:
            resources = _resources(word)
            if output in ("json", "yaml", "name"):
                found = [
                    one for resource in resources for one in await _fetch(client, resource, namespace, names, selector)
                ]
                _print_objects(found, output, single=len(names) == 1 and len(resources) == 1)
                return
            tables = [await _rows(client, one, namespace, names, selector, wide=output == "wide") for one in resources]
            _print_tables(resources, [table for table in tables if table is not None], namespace)
        except ApiError as error:
            raise fail(error.message) from error


def _resources(words: str) -> list[Any]:
    """Return what `pods`, `sts,svc` and `all` stand for; `all` is a category, and leaves most kinds out."""
    found: list[Any] = []
    for word in words.split(","):
        found += [one for one in RESOURCES if "all" in one.categories] if word == "all" else [_resource(word)]
    return found


async def _fetch(client: Any, resource: Resource, namespace: str | None, names: list[str], selector: str) -> list[Any]:
    where = namespace if resource.namespaced else None
    if names:
        return [await client.get(resource, where, name) for name in names]
    return list((await client.list(resource, where, label_selector=selector)).items)


def _print_objects(found: list[Any], output: str, *, single: bool) -> None:
    if output == "name":
        for obj in found:
            group = obj["apiVersion"].rpartition("/")[0]
            click.echo(f"{obj['kind'].lower()}{'.' + group if group else ''}/{obj['metadata']['name']}")
        return
    tree = found[0] if single else {"apiVersion": "v1", "kind": "List", "items": found}
    if output == "json":
        print_json(tree)
    else:
        print_yaml(tree)


async def _rows(
    client: Any, resource: Resource, namespace: str | None, names: list[str], selector: str, *, wide: bool
) -> _Printed | None:
    """Return a collection as it is printed, None when there is nothing in it."""
    from homeport.client.tables import fetch_table

    where = namespace if resource.namespaced else None
    table = await fetch_table(client, resource, where, label_selector=selector)
    columns = [n for n, column in enumerate(table.columns) if wide or not column.priority]
    rows = [row for row in table.rows if not names or row.name in names]
    for name in names:
        if not any(row.name == name for row in rows):
            raise fail(f'{resource.group_resource} "{name}" not found')
    if not rows:
        return None
    everywhere = resource.namespaced and namespace is None
    headers = [*(["NAMESPACE"] if everywhere else []), *(table.columns[n].name.upper() for n in columns)]
    cells = [[*([row.namespace] if everywhere else []), *(row.cells[n] for n in columns)] for row in rows]
    return _Printed(resource, headers, cells)


def _print_tables(resources: list[Resource], tables: list[_Printed], namespace: str | None) -> None:
    if not tables:
        click.echo("No resources found" + (f" in {namespace} namespace." if namespace else "."), err=True)
    for number, table in enumerate(tables):
        if number:
            click.echo()
        if len(resources) > 1:
            place = table.headers.index("NAME")
            kind = table.resource.singular
            table = replace(table, rows=[[*r[:place], f"{kind}/{r[place]}", *r[place + 1 :]] for r in table.rows])
        print_table(table.headers, table.rows)


@click.command()
@click.option(
    "-f",
    "--filename",
    "sources",
    multiple=True,
    required=True,
    metavar="FILE|DIR|-",
    help="Manifests; may be repeated.",
)
@namespace_option
@cluster_option
def apply(sources: tuple[str, ...], namespace: str, cluster: str) -> None:
    """Create or change objects to be as the manifests say."""
    run_async(_apply(sources, namespace, cluster))


async def _apply(sources: tuple[str, ...], namespace: str, cluster: str) -> None:
    from homeport.client.apply import apply as apply_object
    from homeport.errors import ApiError

    try:
        manifests = read_manifests(sources)
    except ManifestError as error:
        raise fail(str(error)) from error
    failures = 0
    async with connected(cluster) as client:
        for manifest in manifests:
            where = manifest.namespace(namespace)
            try:
                outcome, _ = await apply_object(client, manifest.resource, manifest.tree, where)
                click.echo(f"{manifest.resource.singular}/{manifest.name} {outcome.value}")
            except ApiError as error:
                failures += 1
                click.echo(f"Error: {manifest.source}: {error.message}", err=True)
    if failures:
        raise click.exceptions.Exit(1)


@click.command(short_help="Delete objects.")
@click.argument("what", required=False)
@click.argument("names", nargs=-1)
@click.option(
    "-f", "--filename", "sources", multiple=True, metavar="FILE|DIR|-", help="Delete what these manifests name."
)
@namespace_option
@cluster_option
def delete(what: str | None, names: tuple[str, ...], sources: tuple[str, ...], namespace: str, cluster: str) -> None:
    """Delete objects: `homeport delete pod web-0`, `homeport delete -f shop.yaml`."""
    if bool(what) == bool(sources):
        raise click.UsageError("name what to delete (KIND NAME, KIND/NAME) or give -f FILE")
    run_async(_delete(what, names, sources, namespace, cluster))


async def _delete(
    what: str | None, names: tuple[str, ...], sources: tuple[str, ...], namespace: str, cluster: str
) -> None:
    from homeport.errors import ApiError

    targets: list[tuple[Any, str | None, str]] = []
    if sources:
        try:
            targets = [(m.resource, m.namespace(namespace), m.name) for m in reversed(read_manifests(sources))]
        except ManifestError as error:
            raise fail(str(error)) from error
    elif what is not None:
        word, _, inline = what.partition("/")
        resource = _resource(word)
        chosen = [*([inline] if inline else []), *names]
        if not chosen:
            raise click.UsageError(f"name the {resource.plural} to delete")
        targets = [(resource, namespace if resource.namespaced else None, name) for name in chosen]
    failed = False
    async with connected(cluster) as client:
        for resource, where, name in targets:
            try:
                await client.delete(resource, where, name)
                click.echo(f'{resource.singular} "{name}" deleted')
            except ApiError as error:
                failed = True
                click.echo(f"Error: {error.message}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("pod")
@click.option("-c", "--container", default="", help="Which container; needed when there are several.")
@click.option("-f", "--follow", is_flag=True, help="Stay and print what comes.")
@click.option("--previous", is_flag=True, help="The container's life before the last restart.")
@click.option("--tail", type=int, help="Only the last N lines.")
@namespace_option
@cluster_option
def logs(
    pod: str, container: str, follow: bool, previous: bool, tail: int | None, namespace: str, cluster: str
) -> None:
    """Print what a pod's container wrote."""
    query = [
        *([("container", container)] if container else []),
        *([("follow", "true")] if follow else []),
        *([("previous", "true")] if previous else []),
        *([("tailLines", str(tail))] if tail is not None else []),
    ]
    run_async(_logs(pod.removeprefix("pod/"), tuple(query), namespace, cluster))


async def _logs(pod: str, query: tuple[tuple[str, str], ...], namespace: str, cluster: str) -> None:
    from homeport.api.exchange import Request
    from homeport.api.resources import find
    from homeport.errors import error_from_status

    async with connected(cluster) as client:
        path = find("Pod").path(namespace, pod, "log")
        response = await client.transport.send(Request("GET", path, query))
        if response.status != 200:
            raise fail(error_from_status(response.status, json.loads(response.body)).message)
        out = sys.stdout.buffer
        out.write(response.body)
        if response.stream is not None:
            async for part in response.stream:
                out.write(part)
                out.flush()
