"""The control process: store, API server, controllers and scheduler, in the host's network namespace.

It starts the namespace keeper, the node and the DNS process, and keeps them running. Ended by SIGTERM it stops pods in
good order; ended any other way it leaves them running for the next engine to take over.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import homeport
from homeport.clock import Clock, WallClock
from homeport.engine.directory import DataDirectory, DirectoryError
from homeport.engine.ports import PortTaken
from homeport.engine.serving import ServedApi, serve_api
from homeport.engine.settings import ClusterSettings, SettingsError
from homeport.errors import ApiError
from homeport.garbage import collect_rarely
from homeport.node.runtime.state import living_sandboxes
from homeport.store.contract import StoreError

__all__ = ["main"]

_log = logging.getLogger(__name__)


class Refusal(Exception):
    """The engine cannot start; the text is for the person who tried."""


class Control:
    """One cluster's control plane, from start to stop."""

    def __init__(self, directory: DataDirectory, settings: ClusterSettings, clock: Clock, rng: random.Random) -> None:
        self.directory, self.settings, self.clock, self.rng = directory, settings, clock, rng

    async def run(self, on_ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then end in good order: whoever writes first, the server last."""
        async with serve_api(self.directory, self.settings, self.clock, self.rng) as api:
            await self._bootstrap(api)
            on_ready()
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(part(api)) for part in self._parts()]
                await stop.wait()
                for task in running:
                    task.cancel()

    async def _bootstrap(self, api: ServedApi) -> None:
        from homeport.engine.bootstrap import bootstrap, mark_node_lost

        client = api.client("homeport-engine")
        await bootstrap(client, self.settings)
        if self.settings.runs("node") and not living_sandboxes(self.directory.run):
            await mark_node_lost(client, self.settings.node_name, self.clock.now())
        self.directory.record(
            "control",
            os.getpid(),
            started=self.clock.now(),
            server=api.url,
            node=self.settings.node_name,
            kubernetes=api.server.settings.git_version,
            homeport=homeport.__version__,
        )

    def _parts(self) -> list[Callable[[ServedApi], Coroutine[Any, Any, None]]]:
        settings = self.settings
        parts: list[Callable[[ServedApi], Coroutine[Any, Any, None]]] = []
        if settings.runs("controllers"):
            parts.append(self._controllers)
        if settings.runs("scheduler"):
            parts.append(self._scheduler)
        if settings.runs("node") or settings.runs("dns") or settings.runs("proxy"):
            parts.append(self._machine)
        return parts

    async def _controllers(self, api: ServedApi) -> None:
        from homeport.controllers.roster import Settings, controllers
        from homeport.controllers.volumes.directories import LocalDirectories

        informers = api.informers("kube-controller-manager", self.rng)
        gates = frozenset(self.settings.feature_gates)
        settings = Settings(
            api.ca,
            LocalDirectories(self.directory.path / "volumes"),
            feature_gates=gates,
            balancer_pools=[ranges.balancers for ranges in self.settings.ranges],
        )
        roster = controllers(api.client, self.clock, informers, settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(informers.run())
            for controller in roster:
                group.create_task(controller.run())

    async def _scheduler(self, api: ServedApi) -> None:
        from homeport.scheduler.controller import Scheduler

        name = "default-scheduler"
        informers = api.informers(name, self.rng)
        scheduler = Scheduler(api.client(name), self.clock, informers, self.rng)
        async with asyncio.TaskGroup() as group:
            group.create_task(informers.run())
            group.create_task(scheduler.run())

    async def _machine(self, api: ServedApi) -> None:
        """Start what lives in the cluster's namespaces."""
        from homeport.engine.expose_process import node_port_addresses, until_wanted
        from homeport.engine.machine import Machine

        machine = Machine(self.directory, self.settings)
        await machine.run(
            lambda listening: api.listener.adopt_tls(listening, api.context),
            lambda: until_wanted(
                api.client("homeport-expose"), self.rng, node_ports=node_port_addresses(self.settings)
            ),
        )


def _refusal(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


async def _main(directory: DataDirectory, say: Callable[[dict[str, Any]], None]) -> None:
    settings = directory.load()
    if settings is None:
        raise Refusal(f"{directory.path} holds no cluster; start it with `homeport up`")
    directory.create()
    directory.lock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    control = Control(directory, settings, WallClock(), random.Random())
    try:
        await control.run(lambda: say({"ready": True}), stop)
    finally:
        directory.forget("control")


def main() -> None:
    """Run the process: `python -m homeport.engine.control --data DIRECTORY [--ready FD]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ready", type=int, help="descriptor on which readiness or the reason against it is told")
    parser.add_argument("--lock", type=int, help="descriptor to close when ready, so that others may start or stop us")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    told: list[bool] = []

    def say(message: dict[str, Any]) -> None:
        if told:
            return
        told.append(True)
        if arguments.lock is not None:
            os.close(arguments.lock)
        if arguments.ready is not None:
            with suppress(BrokenPipeError), open(arguments.ready, "w", encoding="utf-8") as channel:
                channel.write(json.dumps(message) + "\n")  # whoever waited may have given up; the cluster stays

    import uvloop

    collect_rarely()
    try:
        uvloop.run(_main(DataDirectory(arguments.data), say))
    except (
        Refusal,
        DirectoryError,
        SettingsError,
        PortTaken,
        ApiError,
        StoreError,
        OSError,
        ValueError,
        sqlite3.Error,
    ) as error:
        say({"error": _refusal(error)})
        _log.error("%s", _refusal(error))
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
