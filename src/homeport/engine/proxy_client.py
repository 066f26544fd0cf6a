"""Asking a cluster's load balancer, from outside its network (homeport.proxy.inquiries)."""

import json
from typing import Any

from homeport.api.exchange import Request
from homeport.client.http import HttpTransport
from homeport.client.settings import unix_settings
from homeport.engine.directory import DataDirectory
from homeport.proxy.inquiries import read_carried
from homeport.proxy.model import Carried

__all__ = ["ProxyAway", "carried", "proxy_status", "until_applied"]


class ProxyAway(Exception):
    """This cluster's proxy does not answer: it is another program, or is being started."""


async def proxy_status(directory: DataDirectory) -> dict[str, Any]:
    """Return `means` (nftables or userspace), `services`, `healthy` and `lastError`. Raises ProxyAway."""
    return await _ask(directory, "/status")


async def carried(directory: DataDirectory) -> list[Carried]:
    """Return the connections the proxy joins in user space. Raises ProxyAway."""
    return read_carried(await _ask(directory, "/carried"))


async def until_applied(directory: DataDirectory, slices: str) -> None:
    """Return once the proxy leads connections as EndpointSlices say up to a resourceVersion. Raises ProxyAway."""
    await _ask(directory, "/applied", slices=slices)


async def _ask(directory: DataDirectory, path: str, **query: str) -> dict[str, Any]:
    transport = HttpTransport(unix_settings(str(directory.proxy_socket)))
    try:
        response = await transport.send(Request("GET", path, tuple(query.items())))
        if response.status != 200:
            raise ProxyAway(f"it answers {response.status}")
        tree: dict[str, Any] = json.loads(response.body)
        return tree
    except OSError as error:
        raise ProxyAway(error.strerror or str(error)) from error
    finally:
        await transport.close()
