"""The node process: inside the cluster's namespaces, it turns pods into processes and Services into rules."""

import argparse
import asyncio
import logging
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

from homeport.clock import Clock, WallClock
from homeport.engine.directory import DataDirectory
from homeport.engine.settings import ClusterSettings
from homeport.node.images.outside import OutsideThreads
from homeport.node.namespaces import enter, find_holder
from homeport.node.runtime.contract import Runtime

__all__ = ["main"]

_log = logging.getLogger(__name__)


class Ending:
    """How this process ends: alone, leaving pods to its successor, or with every pod."""

    def __init__(self) -> None:
        self.stop_pods = False


SWITCH_SECONDS: Final = 0.0002
"""How long a thread that returns from the kernel waits for the interpreter: a pod's way leads through three threads."""

PULLERS: Final = 2
"""Threads that fetch images."""

PATIENCE_SECONDS: Final = 10.0
"""How long containers may take to end when the whole cluster stops."""


async def serve(directory: DataDirectory, settings: ClusterSettings, ending: Ending, outside: Executor) -> None:
    """Serve until cancelled; `ending` tells whether pods end with it, `outside` reaches image registries."""
    from homeport.client.http import HttpTransport
    from homeport.client.informer import InformerFactory
    from homeport.client.rest import RestClient
    from homeport.client.settings import unix_settings
    from homeport.node import sockets
    from homeport.node.main import at_once
    from homeport.node.network.bridge import BridgeNetwork
    from homeport.node.network.settings import NetworkSettings
    from homeport.proxy.inquiries import serve_inquiries

    clock = WallClock()
    network = BridgeNetwork(NetworkSettings(settings.ranges), directory.path / "network")
    async with AsyncExitStack() as stack:
        await network.start()
        stack.push_async_callback(network.close)
        inside = sockets.listen(*settings.api_address_inside)
        stack.callback(inside.close)
        transport = HttpTransport(unix_settings(str(directory.api_socket)))
        stack.push_async_callback(transport.close)
        async with asyncio.TaskGroup() as group:
            group.create_task(sockets.offer(directory.listener_socket, {"api": inside}))
            departed = at_once
            if settings.runs("proxy"):
                informers = InformerFactory(RestClient(transport, "homeport-proxy"), random.Random())
                proxy = _proxy(informers, clock, settings)
                departed = proxy.departed
                group.create_task(informers.run())
                group.create_task(proxy.run())
                group.create_task(serve_inquiries(proxy, directory.proxy_socket))
            if settings.runs("node"):
                client = RestClient(transport, "kubelet")
                group.create_task(_node(directory, settings, client, clock, network, ending, outside, departed))


def _proxy(informers: Any, clock: Clock, settings: ClusterSettings) -> Any:
    from homeport.engine.balancing import proxy_settings
    from homeport.proxy.shell import Proxy

    return Proxy(informers, clock, proxy_settings(settings))


async def _node(
    directory: DataDirectory,
    settings: ClusterSettings,
    client: Any,
    clock: Clock,
    network: Any,
    ending: Ending,
    outside: Executor,
    departed: Callable[[str], Awaitable[None]],
) -> None:
    from homeport.node.images.aliases import AliasTable
    from homeport.node.images.local import LocalImages
    from homeport.node.images.registry import RegistryPuller
    from homeport.node.images.store import ImageStore
    from homeport.node.main import run_node
    from homeport.node.runtime.oci import OciRuntime
    from homeport.node.settings import NodeSettings

    runtime = await OciRuntime.open(directory.path, clock, cluster=settings.name)
    images = directory.path / "images"
    store = ImageStore(images)
    try:
        await run_node(
            NodeSettings(
                settings.node_name,
                directory.path,
                settings.domain,
                settings.name_servers,
                tuple(str(ranges.pods) for ranges in settings.ranges),
            ),
            client,
            clock,
            runtime,
            LocalImages(store, AliasTable(images), RegistryPuller(store, outside)),
            network,
            departed,
        )
    finally:
        if ending.stop_pods:
            await stop_containers(runtime)
        await runtime.close()


async def stop_containers(runtime: Runtime) -> None:
    """Ask every container to end, and wait until those have that can hear it, or for ten seconds."""
    exits = runtime.exits()
    listening: set[str] = set()
    for container in await runtime.containers():
        if container.exit is None:
            await runtime.signal(container.id, signal.SIGTERM)
            if hears(Path(f"/proc/{container.pid}/status"), signal.SIGTERM):
                listening.add(container.id)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while listening:
                listening.discard((await anext(exits)).container_id)


def hears(status: Path, number: signal.Signals) -> bool:
    """Tell whether the first process of a pid namespace notices a signal: it has a handler for it, or awaits it.

    The kernel drops a signal for such a process when its action would be the default one (pid_namespaces(7)), so there
    is nothing to wait for. False as well for one that has ended.
    """
    try:
        text = status.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    masks = (int(line.split()[1], 16) for line in text.splitlines() if line.startswith(("SigBlk:", "SigCgt:")))
    return any(mask >> (number - 1) & 1 for mask in masks)


def main() -> None:
    """Run the process: `python -m homeport.engine.node_process --data DIRECTORY`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    directory = DataDirectory(parser.parse_args().data)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = directory.load()
    holder = find_holder(directory.run)
    if settings is None or holder is None:
        raise SystemExit(f"{directory.path}: no cluster runs there")
    sys.setswitchinterval(SWITCH_SECONDS)
    enter(holder, net=False)
    outside = OutsideThreads(PULLERS)  # the host's network stays theirs
    enter(holder, user=False, mount=False)
    ending = Ending()
    run_until_told(serve(directory, settings, ending, outside), ending)


def run_until_told(work: Awaitable[None], ending: Ending | None = None) -> None:
    """Run `work` until it ends or a signal asks for the end: SIGTERM, or SIGUSR1 with all pods."""
    import uvloop

    async def guarded() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
        if ending is not None:
            loop.add_signal_handler(signal.SIGUSR1, _end_with_pods, ending, task)
        try:
            await task
        except asyncio.CancelledError:
            _log.info("told to end")

    uvloop.run(guarded())


def _end_with_pods(ending: Ending, task: asyncio.Future[None]) -> None:
    ending.stop_pods = True
    task.cancel()


if __name__ == "__main__":
    main()
