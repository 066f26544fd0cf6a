"""`dns`: the DNS server alone, for a cluster of anybody's."""

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from homeport.cli.cluster import fail
from homeport.dns.options import OPTIONS, DnsOptions, OptionError, parse_options

DEFAULT_LISTEN = "127.0.0.1:5353"


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a flag for every option of the server."""
    for option in reversed(OPTIONS.values()):
        if option.name == "tls":
            continue  # said by --tls-listen
        if option.value:
            add = click.option(f"--{option.name}", metavar=option.value, multiple=option.many, help=option.help)
        else:
            add = click.option(f"--{option.name}", is_flag=True, help=option.help)
        command = add(command)
    return command


def _words(given: dict[str, Any]) -> list[str]:
    """Return the flags as the words `parse_options` reads."""
    words: list[str] = []
    for name in OPTIONS:
        value = given.get(name.replace("-", "_"))
        if isinstance(value, tuple):
            words += (f"{name}={one}" for one in value)
        elif value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f"{name}={value}")
    return words


def _address(text: str) -> tuple[str, int]:
    from ipaddress import ip_address

    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
        number = int(port)
    except ValueError:
        separator = ""
    if not separator or not 0 <= number <= 65535:
        raise fail(f"{text!r}: an address to listen on reads ADDRESS:PORT, as in {DEFAULT_LISTEN}")
    return host, number


@click.command(short_help="Serve the names of any cluster, by a kubeconfig.")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="How to reach the cluster; $KUBECONFIG, else ~/.kube/config by default.",
)
@click.option("--context", default="", help="A context of the kubeconfig; its current one by default.")
@click.option("--domain", default="cluster.local", show_default=True, help="The cluster's domain.")
@click.option(
    "--listen",
    "listens",
    multiple=True,
    default=[DEFAULT_LISTEN],
    show_default=True,
    metavar="ADDRESS:PORT",
    help="UDP and TCP; may be repeated, as for an address of each family.",
)
@click.option("--tls-listen", metavar="ADDRESS:PORT", help="DNS over TLS, on an address of --listen.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its key (PEM).")
@_flags
def dns(
    kubeconfig: Path | None,
    context: str,
    domain: str,
    listens: tuple[str, ...],
    tls_listen: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    **given: Any,
) -> None:
    """Serve a cluster's names, as a client of its API: any Kubernetes of 1.21 or later.

    Needs to list and watch Services, EndpointSlices and Namespaces, and pods with --pods verified
    (examples/dns/rbac.yaml). Ends by SIGTERM or Ctrl-C.
    """
    import logging

    from homeport.client.kubeconfig import KubeconfigError, load_kubeconfig
    from homeport.dns.name import from_text
    from homeport.dns.service import answer_promptly
    from homeport.dns.sockets import open_sockets, open_status, tls_context
    from homeport.engine.node_process import run_until_told
    from homeport.garbage import collect_rarely

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if tls_listen is not None and (tls_cert is None or tls_key is None):
        raise fail("--tls-listen needs --tls-cert and --tls-key")
    places = [_address(one) for one in listens]
    tls_place = _address(tls_listen) if tls_listen is not None else None
    if tls_place is not None and tls_place[0] not in {host for host, _ in places}:
        raise fail(f"--tls-listen {tls_listen}: use an address of --listen, {', '.join(host for host, _ in places)}")
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    try:
        options = parse_options(_words(given))
        from_text(domain)
        settings = load_kubeconfig(path, context)
        tls = tls_context(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    except (OptionError, KubeconfigError, ValueError) as error:
        raise fail(str(error)) from error
    except OSError as error:
        raise fail(f"{tls_cert}, {tls_key}: {error.strerror or error}") from error
    sockets: list[Any] = []
    try:
        for host, port in places:
            tls_port = tls_place[1] if tls_place is not None and tls_place[0] == host else None
            sockets.append(_opened(_shown(host, port), partial(open_sockets, host, port, tls_port=tls_port)))
        status = _opened(f"--status {options.status}", partial(open_status, options.status))
    except click.ClickException:
        for one in sockets:
            one.close()
        raise
    where = ", ".join(_shown(one.resolver.host, one.resolver.port) for one in sockets)
    click.echo(f"serving {domain} of {settings.server} on {where}", err=True)
    answer_promptly()
    collect_rarely()
    run_until_told(_serve(settings, domain, options, sockets, tls, status))


def _opened(what: str, opening: Callable[[], Any]) -> Any:
    """Return what was opened, or end the command with what could not be."""
    try:
        return opening()
    except OSError as error:
        raise fail(f"{what}: {error.strerror or error}") from error


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _serve(
    settings: Any, domain: str, options: DnsOptions, sockets: Sequence[Any], tls: Any, status: Any
) -> None:
    from homeport.client.http import HttpTransport
    from homeport.client.rest import RestClient
    from homeport.clock import WallClock
    from homeport.dns.service import run_service
    from homeport.garbage import settle_heap

    transport = HttpTransport(settings)
    own = tuple(one.resolver.host for one in sockets if one.resolver.host not in ("0.0.0.0", "::"))
    try:
        await run_service(
            RestClient(transport, "homeport-dns"),
            options.settings(domain, own),
            options,
            sockets,
            WallClock(),
            random.Random(),
            tls=tls,
            status=status,
            on_synced=settle_heap,
        )
    finally:
        await transport.close()
