"""`up`: start the engine if need be, apply, wait until everything is ready, show what is there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from homeport.cli.cluster import INTERRUPTED, cluster_option, connected, directory_of, down_command, fail, run_async
from homeport.cli.output import output_option, print_json
from homeport.cli.waiting import ExpectedNode, Target, wait_until_ready
from homeport.client.manifests import Manifest, ManifestError, read_manifests
from homeport.engine.settings import FAMILIES, PARTS

DEFAULT_TIMEOUT = 180.0
NODE_SECONDS = 15.0


def _parts(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(part for part in (word.strip() for word in value.split(",")) if part)


def _families(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    known = {family.lower(): family for family in FAMILIES}
    words = [word.strip().lower() for word in value.split(",")]
    if set(words) - known.keys() or len(set(words)) < len(words):
        raise click.BadParameter(f"{value!r}: choose ipv4, ipv6, or both in the order they are to have")
    return tuple(known[word] for word in words)


@click.command(short_help="Start the engine, apply manifests, wait until all is ready.")
@click.option(
    "-f", "--filename", "sources", multiple=True, metavar="FILE|DIR|-", help="Manifests to apply; may be repeated."
)
@cluster_option
@click.option("--no-wait", is_flag=True, help="Return once everything is applied.")
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    default=DEFAULT_TIMEOUT,
    show_default=True,
    help="How long to wait for ready.",
)
@click.option(
    "--image", "images", multiple=True, metavar="PATTERN=TARGET", help="Run images matching PATTERN as TARGET (kept)."
)
@click.option("--without", callback=_parts, metavar="PART,…", help=f"Leave parts out: {', '.join(PARTS)}.")
@click.option(
    "--ip-families",
    "families",
    callback=_families,
    metavar="FAMILY[,FAMILY]",
    help="Address families of pods and Services, the default one first: ipv4, ipv6, ipv4,ipv6 or ipv6,ipv4 (kept).",
)
@click.option(
    "--api-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the API on 127.0.0.1; 0 chooses one."
)
@click.option(
    "--dns-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port of the DNS on 127.0.0.1; 0 chooses one."
)
@click.option(
    "--dns",
    "dns_options",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set the DNS server: cache=30, lag=2, stub=corp.example=10.0.0.53, … (kept; `homeport dns -h` lists them).",
)
@click.option(
    "--node-ports/--no-node-ports", default=None, help="Let node ports be reached on 127.0.0.1 of the host (kept)."
)
@click.option("--token-file", "tokens", type=click.Path(exists=True, dir_okay=False), help="Static tokens (CSV).")
@click.option("--disable-admission", callback=_parts, metavar="PLUGIN,…", help="Leave admission plugins out.")
@click.option(
    "--feature-gates",
    callback=_parts,
    metavar="NAME=true,…",
    help="Open a gate: MaxUnavailableStatefulSet=true (kept).",
)
@click.option("-n", "--namespace", default="default", show_default=True, help="For objects that name none.")
@output_option
def up(
    sources: tuple[str, ...],
    cluster: str,
    no_wait: bool,
    timeout: float,
    images: tuple[str, ...],
    without: tuple[str, ...] | None,
    families: tuple[str, ...] | None,
    api_port: int | None,
    dns_port: int | None,
    dns_options: tuple[str, ...],
    node_ports: bool | None,
    tokens: str | None,
    disable_admission: tuple[str, ...] | None,
    feature_gates: tuple[str, ...] | None,
    namespace: str,
    output: str | None,
) -> None:
    """Start the engine when it is not running, apply manifests, wait until all is ready.

    Exits with 0 only when everything is ready; else says which object waits for what.
    """
    from homeport.engine.directory import DirectoryError
    from homeport.engine.launch import LaunchError, start
    from homeport.engine.settings import ClusterSettings, SettingsError

    try:
        manifests = read_manifests(sources) if sources else []
        directory = directory_of(cluster)
        stored = directory.load()
        base = stored or ClusterSettings(name=cluster)
        settings = base.changed(
            without=without,
            families=families,
            api_port=api_port,
            dns_port=dns_port,
            node_ports=node_ports,
            dns_options=_dns_options(dns_options),
            tokens=str(Path(tokens).absolute()) if tokens else None,
            disabled_admission=disable_admission,
            feature_gates=_gates(feature_gates),
        )
        if stored is not None and settings.families[0] != stored.families[0]:
            raise SettingsError(
                f"cluster {cluster!r} was made with {stored.families[0]} as its default address family, which stays;"
                " choose another cluster with --name, or remove this one with `homeport down --purge`"
            )
        if directory.process("control") is None:
            settings = _without_ipv6(settings)
            _look_at_host(settings)
        _alias(directory.path, images)
    except (ManifestError, SettingsError, DirectoryError) as error:
        raise fail(str(error)) from error
    with _said_to_run_on(directory):
        try:
            started = start(directory, settings)
        except (SettingsError, DirectoryError, LaunchError) as error:
            raise fail(str(error)) from error
        if started is not None:
            click.echo(f"cluster {cluster!r} started in {started:.2f} s", err=True)
        run_async(_up(cluster, settings.domain, manifests, namespace, None if no_wait else timeout, output, settings))


@contextmanager
def _said_to_run_on(directory: Any) -> Iterator[None]:
    """When Ctrl-C ends the command, tell that the engine goes on without it."""
    try:
        yield
    except (KeyboardInterrupt, click.exceptions.Exit) as end:
        interrupted = isinstance(end, KeyboardInterrupt) or end.exit_code == INTERRUPTED
        if interrupted and directory.process("control") is not None:
            cluster = directory.path.name
            down = down_command(cluster)
            click.echo(f"interrupted; cluster {cluster!r} runs on, `{down}` stops it", err=True)
        raise


def _without_ipv6(settings: Any) -> Any:
    """Return settings this host's kernel can serve: without IPv6, where it has none and IPv4 is wanted as well."""
    from homeport.cli.doctor import has_ipv6
    from homeport.engine.settings import SettingsError

    if "IPv6" not in settings.families or has_ipv6():
        return settings
    if settings.families[0] == "IPv6":
        raise SettingsError(
            "this host's kernel has IPv6 switched off; use --ip-families ipv4, or see `homeport doctor`"
        )
    click.echo(
        "this host's kernel has IPv6 switched off: the cluster speaks IPv4 alone (see `homeport doctor`)", err=True
    )
    return settings.changed(families=("IPv4",))


def _look_at_host(settings: Any) -> None:
    """End with an error now when what was asked for cannot run here, instead of waiting for it in vain."""
    from homeport.cli.doctor import lacking, nftables

    missing = lacking() if settings.runs("node") else []
    if missing:
        lines = [f"  {one.what}: {one.found}; mend it: {one.remedy}" for one in missing]
        raise fail("\n".join(["this host lacks what the cluster needs (`homeport doctor` tells all):", *lines]))
    filter_ = nftables()
    if settings.runs("proxy") and not filter_.fine:
        click.echo(f"nftables: {filter_.found}; mend it: {filter_.remedy}", err=True)


def _dns_options(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the words checked; None when there are none: the kept ones stay."""
    from homeport.dns.options import OptionError, parse_options
    from homeport.engine.settings import SettingsError

    try:
        parse_options(words)
    except OptionError as error:
        raise SettingsError(str(error)) from error
    return words or None


def _gates(words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the gates that are open; None when nothing was said: the kept ones stay."""
    from homeport.api.gates import parse_gates
    from homeport.engine.settings import SettingsError

    try:
        return None if words is None else parse_gates(words)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _alias(data: Path, images: Sequence[str]) -> None:
    from homeport.cli.image import add_alias

    for text in images:
        add_alias(data, text)


async def _up(
    cluster: str,
    domain: str,
    manifests: list[Manifest],
    namespace: str,
    timeout: float | None,
    output: str | None,
    settings: Any,
) -> None:
    from homeport.cli.overview import overview, print_overview
    from homeport.cli.progress import Progress

    waiting = partial(wait_until_ready, applied=partial(_applied, directory_of(cluster)))
    async with connected(cluster) as client:
        with Progress() as progress:
            node = _node(cluster, settings)
            if timeout is not None and manifests:
                # Pods made before there is a node would carry a warning about it for ever.
                await waiting(client, [], min(timeout, NODE_SECONDS), node=node, progress=progress)
            targets = await _apply_all(client, manifests, namespace)
            late: list[str] = []
            if timeout is not None:
                late = await waiting(client, targets, timeout, node=node, progress=progress)
        seen = await overview(client, domain, {t.namespace for t in targets if t.namespace} or {namespace})
        if output == "json":
            print_json({"ready": not late, "waiting": late, **seen})
        else:
            print_overview(seen)
        for line in late:
            click.echo(f"not ready after {timeout:g} s: {line}", err=True)
        if late:
            raise click.exceptions.Exit(1)


async def _apply_all(client: Any, manifests: list[Manifest], namespace: str) -> list[Target]:
    """Apply in order, namespaces first; every failure is told before the command ends with one."""
    from homeport.client.apply import apply
    from homeport.errors import ApiError

    targets: list[Target] = []
    failed = False
    for manifest in sorted(manifests, key=lambda one: one.resource.kind != "Namespace"):
        where = manifest.namespace(namespace)
        try:
            outcome, _ = await apply(client, manifest.resource, manifest.tree, where)
        except ApiError as error:
            failed = True
            click.echo(f"Error: {manifest.source}: {error.message}", err=True)
            continue
        click.echo(f"{manifest.resource.singular}/{manifest.name} {outcome.value}", err=True)
        targets.append(Target(manifest.resource, where, manifest.name))
    if failed:
        raise click.exceptions.Exit(1)
    return targets


async def _applied(directory: Any, slices: str) -> None:
    """Wait until this cluster's own proxy leads connections as EndpointSlices say; another one cannot be asked."""
    from homeport.engine.proxy_client import ProxyAway, until_applied

    with suppress(ProxyAway):
        await until_applied(directory, slices)


def _node(cluster: str, settings: Any) -> ExpectedNode | None:
    """Return the node to wait for: it must have looked at its pods in this life of the engine."""
    control = directory_of(cluster).process("control")
    if control is None or not settings.runs("node"):
        return None
    return ExpectedNode(settings.node_name, control.details.get("started", 0.0))
