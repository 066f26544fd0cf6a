"""The load balancer as a plain client of a real API over HTTPS: restarts, and a past that is forgotten meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from homeport.client.http import HttpTransport
from homeport.client.informer import InformerFactory
from homeport.client.kubeconfig import load_kubeconfig
from homeport.client.rest import RestClient
from homeport.clock import WallClock
from homeport.proxy.shell import Proxy
from tests.dns.test_service import SERVICES, SLICES, api, forget, forgotten, free_port
from tests.dns.worked import endpoints, service
from tests.proxy.kernel_model import KernelModel
from tests.proxy.test_shell import SETTINGS

WEB, GONE = "10.96.7.1 . tcp . 80", "10.96.7.2 . tcp . 80"


def web(*addresses: str) -> dict[str, object]:
    return endpoints("default", "web", *((address, "", True) for address in addresses), ports=(("http", 8080),))


@asynccontextmanager
async def balancing(folder: Path, kernel: KernelModel) -> AsyncIterator[Proxy]:
    transport = HttpTransport(load_kubeconfig(folder / "kubeconfig"))
    informers = InformerFactory(RestClient(transport, "homeport-proxy"), random.Random(1))
    proxy = Proxy(informers, WallClock(), (SETTINGS,), kernel=lambda: kernel, forget_flows=lambda _: 0)
    tasks = [asyncio.create_task(informers.run()), asyncio.create_task(proxy.run())]
    try:
        yield proxy
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await transport.close()


async def version_of(client: RestClient) -> str:
    (only,) = [one for one in (await client.list(SLICES, "default")).items if one["metadata"]["name"] == "web-1"]
    return str(only["metadata"]["resourceVersion"])


async def until(holds: Callable[[], bool]) -> None:
    """Look again and again until something holds that gives no event."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def led_to(kernel: KernelModel) -> set[str]:
    return {target for (kind, key), target in kernel.elements.items() if kind == "endpoints" and key.startswith(WEB)}


async def test_it_lists_again_when_the_past_it_missed_is_forgotten(tmp_path: Path) -> None:
    """Its rules go on serving while the API is away; then what went goes, and what came comes (410 Gone)."""
    port, kernel = free_port(), KernelModel()
    async with api(tmp_path, port) as client:
        for number, name in enumerate(("web", "gone")):
            await client.create(SERVICES, service("default", name, ("http", 80), cluster=f"10.96.7.{number + 1}"))
        await client.create(SLICES, web("10.244.0.5"))
        running = balancing(tmp_path, kernel)
        proxy = await running.__aenter__()
        before = await version_of(client)
        async with asyncio.timeout(20):
            await proxy.applied(before)
        assert led_to(kernel) == {"10.244.0.5 . 8080"}
        assert ("services", GONE) in kernel.elements
    try:
        async with api(tmp_path, free_port()) as elsewhere:  # not where it looks
            await elsewhere.delete(SERVICES, "default", "gone")
            await elsewhere.patch(SLICES, "default", "web-1", {"endpoints": web("10.244.0.6")["endpoints"]})
        await forget(tmp_path)
        assert led_to(kernel) == {"10.244.0.5 . 8080"}
        async with api(tmp_path, port) as client:
            assert await forgotten(client, before)
            async with asyncio.timeout(20):
                await proxy.applied(await version_of(client))
            await until(lambda: ("services", GONE) not in kernel.elements)
            assert led_to(kernel) == {"10.244.0.6 . 8080"}
    finally:
        await running.__aexit__(None, None, None)
