"""The expose process: ports of the host's loopback address that lead to Services, without root.

It stays in the host's network namespace and listens there. A helper thread has entered the cluster's network for good
and does one thing: open sockets. A socket stays in the namespace it was opened in, so connecting it leads into the
cluster, where the packet filter balances it as any other connection. Which ports there are follows from the Services.
"""

import argparse
import asyncio
import json
import logging
import random
import socket
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from homeport.clock import WallClock
from homeport.engine.directory import DataDirectory, write_atomically
from homeport.engine.exposure import LOOPBACKS, Goal, Place, goals
from homeport.engine.node_process import run_until_told
from homeport.engine.settings import ClusterSettings
from homeport.node.namespaces import enter, find_holder

__all__ = ["EXPOSED", "FAILED", "Exposer", "main", "node_port_addresses", "until_wanted"]

EXPOSED, FAILED = "Exposed", "ExposeFailed"
"""Reasons of the events by which a Service learns what became of its wish."""
CONNECT_SECONDS: Final = 10.0
_CHUNK: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends a reset (socket(7))."""

_log = logging.getLogger(__name__)


def node_port_addresses(settings: ClusterSettings) -> tuple[str, ...]:
    """Return the host's addresses on which node ports are opened: one of each family the cluster speaks."""
    families = dict.fromkeys(("IPv4", *settings.families)) if settings.node_ports else ()
    return tuple(LOOPBACKS[family] for family in families)


async def until_wanted(client: Any, rng: random.Random, *, node_ports: Sequence[str]) -> None:
    """Return once some Service is to be reached from the host."""
    from homeport.api.resources import find
    from homeport.client.informer import InformerFactory

    informers = InformerFactory(client, rng)
    wanted = asyncio.Event()
    services = informers.informer(find("Service"))
    services.on_change(lambda obj: wanted.set() if goals([obj], node_ports=node_ports) else None)
    following = asyncio.ensure_future(informers.run())
    waiting = asyncio.ensure_future(wanted.wait())
    try:
        await asyncio.wait((following, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (following, waiting):
            task.cancel()
        await asyncio.gather(following, waiting, return_exceptions=True)


class Exposer:
    """Listeners on the host, brought in line with goals.

    inside  returns a new TCP socket in the cluster's network for an address; called in an executor of its own
    """

    def __init__(self, inside: Callable[[str], socket.socket], executor: ThreadPoolExecutor) -> None:
        self._inside, self._executor = inside, executor
        self._servers: dict[Place, asyncio.Server] = {}
        self._goals: dict[Place, Goal] = {}
        self._flows: set[asyncio.Task[None]] = set()
        self.failed: dict[Place, str] = {}

    async def follow(self, wanted: dict[Place, Goal]) -> set[Place]:
        """Listen for these goals and no others; return the places of which something is new to tell.

        Connections there are go on. What could not be opened is in `failed`, and tried again by the next call.
        """
        for place in self._servers.keys() - wanted.keys():
            self._servers.pop(place).close()
        news = {place for place, goal in wanted.items() if self._goals.get(place) != goal}
        self._goals, failed = dict(wanted), {}
        for place in wanted.keys() - self._servers.keys():
            try:
                self._servers[place] = await asyncio.start_server(self._accept(place), place.address, place.port)
            except OSError as error:
                failed[place] = error.strerror or str(error)
        news |= {place for place in failed.keys() ^ self.failed.keys() if place in wanted}
        self.failed = failed
        return news

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for flow in self._flows:
            flow.cancel()

    def _accept(self, place: Place) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            flow = asyncio.ensure_future(self._carry(place, reader, writer))
            self._flows.add(flow)
            flow.add_done_callback(self._flows.discard)

        return accept

    async def _carry(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, end of stream by end of stream; where nobody answers, the client sees a reset."""
        broken = False
        ends = [writer]
        try:
            answers, inner = await self._connect(self._goals[place])
            ends.append(inner)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, inner))
                group.create_task(_pump(answers, writer))
        except* (OSError, KeyError) as errors:  # a goal may be gone by the time its last client is accepted
            _log.debug("a connection to %s broke: %s", place, errors.exceptions[0])
            broken = True
        finally:
            for end in ends:
                if broken:
                    _reset(end)
                end.close()

    async def _connect(self, goal: Goal) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        sock = await loop.run_in_executor(self._executor, self._inside, goal.address)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.sock_connect(sock, (goal.address, goal.port))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if not writer.is_closing():
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


def open_socket(address: str) -> socket.socket:
    """Return a TCP socket for an address's family in the network namespace of the calling thread."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def serve(directory: DataDirectory, settings: ClusterSettings, executor: ThreadPoolExecutor) -> None:
    """Follow the Services until cancelled."""
    from homeport.api.resources import find
    from homeport.client.events import EventRecorder
    from homeport.client.http import HttpTransport
    from homeport.client.informer import InformerFactory
    from homeport.client.rest import RestClient
    from homeport.client.settings import unix_settings

    transport = HttpTransport(unix_settings(str(directory.api_socket)))
    client = RestClient(transport, "homeport-expose")
    informers = InformerFactory(client, random.Random())
    services = informers.informer(find("Service"))
    recorder = EventRecorder(client, WallClock(), "homeport-expose")
    changed = asyncio.Event()
    services.on_change(lambda _: changed.set())
    exposer = Exposer(open_socket, executor)
    told: list[dict[str, Any]] | None = None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(informers.run())
            group.create_task(recorder.run())
            await services.synced.wait()
            while True:
                changed.clear()
                wanted = goals(services.list(), node_ports=node_port_addresses(settings))
                news = await exposer.follow(wanted)
                if (rows := _rows(wanted, exposer.failed)) != told:
                    write_atomically(directory.run / "expose.json", json.dumps(rows) + "\n")
                    told = rows
                for place in sorted(news):
                    service = services.get(wanted[place].namespace, wanted[place].name)
                    if service is None:
                        continue
                    if place in exposer.failed:
                        recorder.warning(service, FAILED, f"{place} cannot be used: {exposer.failed[place]}")
                    else:
                        recorder.normal(service, EXPOSED, f"{place} leads to port {wanted[place].port}")
                await changed.wait()
    finally:
        exposer.close()
        await transport.close()


def _rows(wanted: dict[Place, Goal], failed: dict[Place, str]) -> list[dict[str, Any]]:
    """Return what `homeport status` and `homeport expose --list` are told."""
    return [
        {
            "namespace": goal.namespace,
            "service": goal.name,
            "port": goal.port,
            "local": str(place),
            "error": failed.get(place, ""),
        }
        for place, goal in sorted(wanted.items())
    ]


def main() -> None:
    """Run the process: `python -m homeport.engine.expose_process --data DIRECTORY`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    directory = DataDirectory(parser.parse_args().data)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings, holder = directory.load(), find_holder(directory.run)
    if settings is None or holder is None:
        raise SystemExit(f"{directory.path}: no cluster runs there")
    enter(holder, user=True, mount=False, net=False)
    with ThreadPoolExecutor(1, initializer=partial(enter, holder, user=False, mount=False)) as executor:
        run_until_told(serve(directory, settings, executor))


if __name__ == "__main__":
    main()
