"""The DNS process: answers inside the cluster's network and on the host's loopback, forwards with the host's routes.

Its main thread never leaves the host's network namespace; a helper thread enters the cluster's for as long as it takes
to open the listening sockets there. Sockets stay in the namespace they were opened in.
"""

import argparse
import json
import logging
import random
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

from homeport.clock import WallClock
from homeport.dns.sockets import DNS_PORT, LOOPBACK, TLS_PORT, Sockets, open_sockets, open_status, tls_context
from homeport.engine.directory import DataDirectory, write_atomically
from homeport.engine.node_process import run_until_told
from homeport.engine.ports import Ports
from homeport.engine.settings import ClusterSettings
from homeport.node import syscalls
from homeport.node.namespaces import Holder, enter, find_holder

__all__ = ["main"]

_log = logging.getLogger(__name__)


def _host_sockets(ports: Ports, wanted: int, *, tls: bool) -> Sockets:
    """Listen on loopback: on the wanted port, else the one used last, else any; TLS always as the last two."""
    tls_port = _free_or_last(ports.last("dns-tls")) if tls else None
    try:
        opened = open_sockets(LOOPBACK, wanted or ports.last("dns"), tls_port=tls_port)
    except OSError:
        if wanted:
            raise
        opened = open_sockets(LOOPBACK, 0, tls_port=tls_port)
    ports.keep("dns", opened.resolver.port)
    if opened.tls_port:
        ports.keep("dns-tls", opened.tls_port)
    return opened


def _free_or_last(port: int) -> int:
    """Return the port if nobody listens on it, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return 0
    return port


def _inside(holder: Holder, addresses: Sequence[str], *, tls: bool) -> list[Sockets]:
    """Open the cluster's own sockets, on each address, from a thread that enters its network."""
    opened: list[Sockets] = []
    trouble: list[OSError] = []

    def work() -> None:
        try:
            enter(holder, user=False, mount=False, net=True)
            # In a network namespace without any address the kernel takes every address for a broadcast one, and a
            # socket bound to such sends from whatever address is nearest. One address, and it looks properly.
            syscalls.loopback_up()
            tls_port = TLS_PORT if tls else None
            opened.extend([open_sockets(address, DNS_PORT, tls_port=tls_port, free=True) for address in addresses])
        except OSError as error:
            trouble.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]
    return opened


def _tls(directory: DataDirectory, settings: ClusterSettings) -> ssl.SSLContext:
    """Return what DNS over TLS is served with: a certificate of the cluster's authority."""
    from homeport.server.pki import Pki

    pki = Pki(directory.pki, WallClock(), random.Random())
    service = "kube-dns.kube-system.svc"
    names = [service, f"{service}.{settings.domain}", "localhost", *settings.name_servers, LOOPBACK]
    pki.server(names, "dns", "kube-dns")
    return tls_context(pki.path("dns", "crt"), pki.path("dns", "key"))


def _status(port: int) -> socket.socket | None:
    """Open the status page's port; names are served without it when it belongs to somebody else."""
    try:
        return open_status(port)
    except OSError as error:
        _log.warning("no status page: port %d of %s: %s", port, LOOPBACK, error.strerror)
        return None


async def serve(
    directory: DataDirectory,
    settings: ClusterSettings,
    sockets: list[Sockets],
    tls: ssl.SSLContext | None,
    status: socket.socket | None,
) -> None:
    """Serve until cancelled."""
    from homeport.client.http import HttpTransport
    from homeport.client.rest import RestClient
    from homeport.client.settings import unix_settings
    from homeport.dns.options import parse_options
    from homeport.dns.service import run_service
    from homeport.garbage import settle_heap

    options = parse_options(settings.dns_options)
    client = RestClient(HttpTransport(unix_settings(str(directory.api_socket))), "homeport-dns")
    served = options.settings(settings.domain, settings.name_servers)
    await run_service(
        client, served, options, sockets, WallClock(), random.Random(), tls=tls, status=status, on_synced=settle_heap
    )


def main() -> None:
    """Run the process: `python -m homeport.engine.dns_process --data DIRECTORY`."""
    from homeport.dns.options import parse_options
    from homeport.dns.service import answer_promptly

    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    directory = DataDirectory(parser.parse_args().data)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = directory.load()
    if settings is None:
        raise SystemExit(f"{directory.path} holds no cluster")
    options = parse_options(settings.dns_options)
    tls = _tls(directory, settings) if options.tls else None
    status = _status(options.status)
    host = _host_sockets(Ports(directory), settings.dns_port, tls=tls is not None)
    sockets = [host]
    holder = find_holder(directory.run)
    if holder is not None:
        enter(holder, user=True, mount=False, net=False)
        sockets += _inside(holder, settings.name_servers, tls=tls is not None)
    endpoint = {"host": LOOPBACK, "port": host.resolver.port}
    if tls is not None:
        endpoint["tls_port"] = host.tls_port
    write_atomically(directory.run / "dns.json", json.dumps(endpoint) + "\n")
    answer_promptly()
    run_until_told(serve(directory, settings, sockets, tls, status))


if __name__ == "__main__":
    main()
