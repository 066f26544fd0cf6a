"""The machine's side of the engine: namespace keeper, node process, DNS process, and the listener handed out of it."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from homeport.engine.directory import DataDirectory
from homeport.engine.processes import Supervisor
from homeport.engine.settings import ClusterSettings
from homeport.node import sockets
from homeport.node.holder_client import ensure_holder
from homeport.node.runtime.state import living_sandboxes

__all__ = ["Machine"]

_log = logging.getLogger(__name__)


class Machine:
    """Runs the processes that live in the cluster's namespaces, for as long as `run` runs."""

    def __init__(self, directory: DataDirectory, settings: ClusterSettings) -> None:
        self._directory, self._settings = directory, settings

    async def run(
        self, adopt: Callable[[socket.socket], Awaitable[None]], exposing: Callable[[], Awaitable[None]]
    ) -> None:
        """Start everything; `adopt` is given each listener opened inside the cluster's network for the API.

        exposing  returns once a Service is to be reached from the host; until then there is no process for it
        """
        run = self._directory.run
        alive = living_sandboxes(run)
        holder = await ensure_holder(run, self._directory.logs / "holder.log", join=alive)
        _log.info("namespace keeper: process %d", holder.pid)
        node = Supervisor(self._directory, "node", "homeport.engine.node_process", farewell=signal.SIGUSR1)
        dns = Supervisor(self._directory, "dns", "homeport.engine.dns_process")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(adopt))
            if self._settings.runs("node") or self._settings.runs("proxy"):
                group.create_task(node.run())
            if self._settings.runs("dns"):
                group.create_task(dns.run())
            group.create_task(self._expose(exposing))

    async def _expose(self, exposing: Callable[[], Awaitable[None]]) -> None:
        await exposing()
        await Supervisor(self._directory, "expose", "homeport.engine.expose_process").run()

    async def _receive(self, adopt: Callable[[socket.socket], Awaitable[None]]) -> None:
        """Take in listeners of the cluster's network as the node opens them."""
        await sockets.receive(self._directory.listener_socket, lambda _, listening: adopt(listening))
