"""What the proxy tells its own machine over a unix socket: how it is, what it carries, and when it has caught up.

`GET /status`, `GET /carried`, and `GET /applied?slices=VERSION`, which is answered once every change of EndpointSlices
up to that resourceVersion is in effect.
"""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from homeport.proxy.answers import Answer, converse
from homeport.proxy.model import Carried, Target
from homeport.unix_sockets import bound

__all__ = ["Asked", "read_carried", "serve_inquiries"]


class Asked(Protocol):
    """A proxy, as far as it is asked here."""

    def describe(self) -> Mapping[str, Any]: ...

    def carried(self) -> list[Carried]: ...

    async def applied(self, slices: str) -> None: ...


async def serve_inquiries(proxy: Asked, path: Path) -> None:
    """Answer until cancelled."""
    listening = bound(path)
    try:
        server = await asyncio.start_unix_server(partial(converse, partial(_answer, proxy)), sock=listening)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
    finally:
        listening.close()
        path.unlink(missing_ok=True)


async def _answer(proxy: Asked, path: str, query: Mapping[str, str]) -> Answer:
    match path:
        case "/status":
            return Answer(200, json.dumps(proxy.describe()))
        case "/carried":
            return Answer(200, json.dumps({"carried": [_shown(one) for one in proxy.carried()]}))
        case "/applied":
            version = query.get("slices", "")
            if not version.isdecimal():
                return Answer(400)
            await proxy.applied(version)
            return Answer(200, "{}")
    return Answer(404)


def _shown(one: Carried) -> dict[str, Any]:
    namespace, name = one.key
    return {
        "namespace": namespace,
        "service": name,
        "protocol": one.protocol,
        "port": one.port,
        "address": str(one.target.address),
        "number": one.target.port,
        "live": one.live,
        "picks": one.picks,
    }


def read_carried(tree: Mapping[str, Any]) -> list[Carried]:
    """Return what `/carried` told."""
    return [
        Carried(
            (one["namespace"], one["service"]),
            one["protocol"],
            one["port"],
            Target(ip_address(one["address"]), one["number"]),
            one["live"],
            one["picks"],
        )
        for one in tree["carried"]
    ]
