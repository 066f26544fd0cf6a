"""What the proxy is asked over its socket, by whoever is allowed to open it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from homeport.engine.directory import DataDirectory
from homeport.engine.proxy_client import ProxyAway, carried, proxy_status, until_applied
from homeport.proxy.inquiries import serve_inquiries
from homeport.proxy.model import Carried, Target

STATUS = {"means": "nftables", "services": 3, "healthy": True, "lastError": ""}
LOADS = [
    Carried(("default", "web"), "tcp", "http", Target(ip_address("10.244.0.2"), 8080), 1, 7),
    Carried(("default", "web"), "udp", "53", Target(ip_address("fd00::2"), 53), 0, 2),
]


class Told:
    """Answers as it was told to."""

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.waited_for, self.caught_up = asyncio.Event(), asyncio.Event()

    def describe(self) -> Mapping[str, Any]:
        return STATUS

    def carried(self) -> list[Carried]:
        return LOADS

    async def applied(self, slices: str) -> None:
        self.versions.append(slices)
        self.waited_for.set()
        await self.caught_up.wait()


@asynccontextmanager
async def asked(folder: Path) -> AsyncIterator[tuple[Told, DataDirectory]]:
    directory, told = DataDirectory(folder), Told()
    directory.run.mkdir()
    serving = asyncio.create_task(serve_inquiries(told, directory.proxy_socket))
    await asyncio.sleep(0)
    try:
        yield told, directory
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert not directory.proxy_socket.exists()


async def test_what_is_told_arrives_as_it_was(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, directory):
        assert directory.proxy_socket.stat().st_mode & 0o777 == 0o600
        assert await proxy_status(directory) == STATUS
        assert await carried(directory) == LOADS


async def test_who_asks_for_a_version_waits_for_it(tmp_path: Path) -> None:
    async with asked(tmp_path) as (told, directory):
        waiting = asyncio.create_task(until_applied(directory, "17"))
        await told.waited_for.wait()
        assert not waiting.done()
        told.caught_up.set()
        await asyncio.wait_for(waiting, 10)
        assert told.versions == ["17"]
        with pytest.raises(ProxyAway, match="400"):
            await until_applied(directory, "soon")


async def test_nobody_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ProxyAway, match="No such file"):
        await proxy_status(DataDirectory(tmp_path))
