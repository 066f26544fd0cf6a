"""The DNS process: answers inside the cluster's network and on the host's loopback, forwards with the host's routes.

Its main thread never leaves the host's network namespace; a helper thread enters the cluster's for as long as it takes
to open the listening sockets there. Sockets stay in the namespace they were opened in.
"""

import argparse
import asyncio
import json
import logging
import random
import socket
import threading
from pathlib import Path
from typing import Final

from homeport.clock import WallClock
from homeport.engine.directory import DataDirectory, write_atomically
from homeport.engine.node_process import run_until_told
from homeport.engine.ports import Ports
from homeport.engine.settings import ClusterSettings
from homeport.node import syscalls
from homeport.node.namespaces import Holder, enter, find_holder

__all__ = ["main"]

DNS_PORT: Final = 53
LOOPBACK: Final = "127.0.0.1"
IP_FREEBIND: Final = 15
"""Bind before the address is there (ip(7)): the node may still be setting up the cluster's network."""


def _pair(address: str, port: int, *, free: bool = False) -> tuple[socket.socket, socket.socket]:
    """Return a UDP and a listening TCP socket on the same port; port 0 finds one that is free for both."""
    for _ in range(50):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if free:
            for sock in (udp, tcp):
                sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        try:
            udp.bind((address, port))
            tcp.bind((address, udp.getsockname()[1]))
            tcp.listen(128)
        except OSError:
            udp.close()
            tcp.close()
            if port:
                raise
            continue
        return udp, tcp
    raise OSError("no port is free for both UDP and TCP")


def _host_pair(ports: Ports, wanted: int) -> tuple[socket.socket, socket.socket]:
    """Listen on loopback: on the wanted port, else the one used last, else any."""
    try:
        pair = _pair(LOOPBACK, wanted or ports.last("dns"))
    except OSError:
        if wanted:
            raise
        pair = _pair(LOOPBACK, 0)
    ports.keep("dns", pair[0].getsockname()[1])
    return pair


def _inside(holder: Holder, address: str) -> tuple[socket.socket, socket.socket]:
    """Open the cluster's own sockets from a thread that enters its network."""
    opened: list[tuple[socket.socket, socket.socket]] = []
    trouble: list[OSError] = []

    def work() -> None:
        try:
            enter(holder, user=False, mount=False, net=True)
            # In a network namespace without any address the kernel takes every address for a broadcast one, and a
            # socket bound to such sends from whatever address is nearest. One address, and it looks properly.
            syscalls.loopback_up()
            opened.append(_pair(address, DNS_PORT, free=True))
        except OSError as error:
            trouble.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]
    return opened[0]


async def serve(
    directory: DataDirectory, settings: ClusterSettings, sockets: list[tuple[socket.socket, socket.socket]]
) -> None:
    """Serve until cancelled."""
    from homeport.client.http import HttpTransport
    from homeport.client.informer import InformerFactory
    from homeport.client.rest import RestClient
    from homeport.client.settings import unix_settings
    from homeport.dns.feed import Feed
    from homeport.dns.forward import Forwarder
    from homeport.dns.hostconf import HostResolvers
    from homeport.dns.name import fold, from_text
    from homeport.dns.server import DnsServer
    from homeport.dns.settings import REVERSE_ROOTS, DnsSettings

    rng = random.Random()
    served = DnsSettings(
        zones=(fold(from_text(settings.domain)), *REVERSE_ROOTS),
        fallthrough=REVERSE_ROOTS,
        own_addresses=(settings.dns_address,),
    )
    forwarder = Forwarder({(): HostResolvers().current}, rng, asyncio.get_running_loop().time)
    server = DnsServer(served, WallClock(), rng, forwarder.ask)
    factory = InformerFactory(RestClient(HttpTransport(unix_settings(str(directory.api_socket))), "homeport-dns"), rng)
    feed = Feed(factory, server)
    for udp, tcp in sockets:
        await server.serve_udp(udp)
        await server.serve_tcp(tcp)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(factory.run())
            group.create_task(feed.run())
    finally:
        await server.close()
        await forwarder.close()


def main() -> None:
    """Run the process: `python -m homeport.engine.dns_process --data DIRECTORY`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    directory = DataDirectory(parser.parse_args().data)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = directory.load()
    if settings is None:
        raise SystemExit(f"{directory.path} holds no cluster")
    host = _host_pair(Ports(directory), settings.dns_port)
    sockets = [host]
    holder = find_holder(directory.run)
    if holder is not None:
        enter(holder, user=True, mount=False, net=False)
        sockets.append(_inside(holder, settings.dns_address))
    address, port = host[0].getsockname()
    write_atomically(directory.run / "dns.json", json.dumps({"host": address, "port": port}) + "\n")
    run_until_told(serve(directory, settings, sockets))


if __name__ == "__main__":
    main()
