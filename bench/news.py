"""From a pod's readiness to the right answer at a client, run inside a cluster's network by `bench.cluster`.

    homeport run -- python -m bench.news API_SOCKET ROUNDS

A real pod waits for a readiness gate; the gate is opened and shut, ROUNDS times. The clock starts when a watcher is
told of the pod's new readiness; the client asks the name server for the pod's name, and connects to its Service's
virtual address, over and over. Prints JSON on one line: milliseconds, every one of them.
"""

import asyncio
import json
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.client.http import HttpTransport
from homeport.client.informer import Informer
from homeport.client.rest import RestClient
from homeport.client.settings import unix_settings
from homeport.dns.exchange import encode_query
from homeport.dns.message import Query
from homeport.dns.name import from_text
from homeport.dns.records import Question, RRType

GATE: Final = "bench.local/open"
NAME_SERVER: Final = ("10.96.0.10", 53)
PATIENCE_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 0.0005
ACCEPT: Final = """
import socket
listener = socket.create_server(("", 8080), backlog=4096)
while True:
    listener.accept()[0].close()
"""
PODS, SERVICES = find("Pod"), find("Service")
POD: Final = {
    "metadata": {"name": "gated", "labels": {"app": "gated"}},
    "spec": {
        "hostname": "gated",
        "subdomain": "gated",
        "readinessGates": [{"conditionType": GATE}],
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "homeport.local/host", "command": ["python3", "-c", ACCEPT]}],
    },
}


def service(name: str, **spec: object) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "gated"}, "ports": [{"port": 8080}], **spec}}


class Client:
    """Asks for the pod in the two ways there are."""

    def __init__(self, virtual: str, pod: str) -> None:
        self._virtual, self._pod = virtual, socket.inet_aton(pod)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(NAME_SERVER)
        question = Question(from_text("gated.gated.default.svc.cluster.local"), RRType.A)
        self._question = encode_query(Query(7, 0, question, True, False))

    async def finds(self) -> bool:
        """Tell whether the pod's name leads to it. Everything but its address and absence is a fault."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._socket, self._question)
        data = await loop.sock_recv(self._socket, 512)
        if data[7]:
            assert data[-4:] == self._pod, data
        return bool(data[7])

    async def connects(self) -> bool:
        """Tell whether the virtual address leads to the pod; nobody behind it is refused."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as asker:
            asker.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(asker, (self._virtual, 8080))
            except ConnectionRefusedError:
                return False
        return True

    def close(self) -> None:
        self._socket.close()


async def until(ask: Callable[[], Awaitable[bool]], wanted: bool, since: float) -> float:
    """Ask until the answer is the wanted one; return the milliseconds since a moment.

    Not faster than need be: who is asked has the same processors to do what is waited for.
    """
    while await ask() is not wanted:  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(PAUSE_SECONDS)
    return (time.perf_counter() - since) * 1000


class Told:
    """A watcher's copy of the pod; knows when it was told of its readiness."""

    def __init__(self, client: RestClient) -> None:
        self.informer = Informer(client, PODS, "default", rng=random.Random(1))
        self.informer.on_change(self._look)
        self._ready, self._since, self._moved = False, 0.0, asyncio.Event()

    def _look(self, obj: Any) -> None:
        conditions = (obj.get("status") or {}).get("conditions") or ()
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        if obj["metadata"]["name"] == "gated" and ready is not self._ready:
            self._ready, self._since = ready, time.perf_counter()
            self._moved.set()

    async def moved(self) -> float:
        """Return when the pod's readiness changed, once it has."""
        await self._moved.wait()
        self._moved.clear()
        return self._since


async def measure(api: str, rounds: int) -> dict[str, list[float]]:
    transport = HttpTransport(unix_settings(api))
    client = RestClient(transport, "bench")
    found: dict[str, list[float]] = {}
    await client.create(SERVICES, service("gated", clusterIP="None"), "default")
    front = await client.create(SERVICES, service("front"), "default")
    await client.create(PODS, POD, "default")
    told = Told(client)
    watching = asyncio.create_task(told.informer.run())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (address := await started(client)):  # noqa: ASYNC110 - asked for as any client does
                await asyncio.sleep(0.02)
        asker = Client(front["spec"]["clusterIP"], address)
        await until(asker.finds, False, 0.0)
        for _ in range(rounds):
            for ready, word in ((True, "ready"), (False, "unready")):
                gate = {"status": {"conditions": [{"type": GATE, "status": str(ready)}]}}
                await client.patch(PODS, "default", "gated", gate, kind=PatchType.STRATEGIC, subresource="status")
                async with asyncio.timeout(PATIENCE_SECONDS):
                    since = await told.moved()
                    late = await asyncio.gather(*(until(ask, ready, since) for ask in (asker.finds, asker.connects)))
                for way, taken in zip(("answer", "connection"), late, strict=True):
                    found.setdefault(f"{word}_to_{way}", []).append(round(taken, 3))
        asker.close()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await client.delete(PODS, "default", "gated", grace_seconds=0)
        for name in ("gated", "front"):
            await client.delete(SERVICES, "default", name)
        await transport.close()
    return found


async def started(client: RestClient) -> str:
    """Return the pod's address once all but the gate is done, else nothing."""
    status = (await client.get(PODS, "default", "gated")).get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    return str(status.get("podIP", "")) if conditions.get("ContainersReady") == "True" else ""


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2])))))
