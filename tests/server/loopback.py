"""A server that is really listened for: TLS on loopback and a unix socket, in a thread of its own."""

import asyncio
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from homeport.api.exchange import User
from homeport.clock import WallClock
from homeport.server import Server
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from homeport.store.memory import MemoryStore
from tests.server.inprocess import WITHOUT_ACCOUNTS

TOKENS = {
    "secret": User("admin", "admin", ("system:masters", "system:authenticated")),
    "other": User("alice", "alice-uid", ("system:authenticated",)),
}


@dataclass(frozen=True, slots=True)
class Address:
    """How a running server is reached."""

    host: str
    port: int
    unix: Path
    kubeconfig: Path
    ca: Path
    pki: Pki
    stop: Callable[[], None]


@contextmanager
def listening(folder: Path, node_socket: str = "") -> Iterator[Address]:
    """Run a server until the block ends; errors of its thread are raised here."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[Address] = []
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        clock, rng = WallClock(), random.Random(1)
        settings = replace(WITHOUT_ACCOUNTS, node_socket=node_socket)
        pki = Pki(folder / "pki", clock, rng)
        store = MemoryStore()
        server = Server(store, clock, rng, settings, static_tokens=TOKENS, token_key=pki.token_key)
        listener = Listener(server.handle, settings.max_body_bytes)
        context = server_context(pki, server_names("10.244.0.1", "10.96.0.1", "cluster.local", "127.0.0.1"))
        host, port = await listener.listen_tls("127.0.0.1", 0, context)
        await listener.listen_unix(folder / "api.sock")
        admin = pki.client("admin", "admin", ("system:masters",))
        kubeconfig = folder / "kubeconfig"
        write_kubeconfig(kubeconfig, "test", f"https://{host}:{port}", pki.ca_pem, admin)
        async with server:
            found.append(Address(host, port, folder / "api.sock", kubeconfig, pki.ca_path, pki, end))
            ready.set()
            await stop.wait()
        await listener.close()
        await store.close()

    def end() -> None:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        if failures:
            raise failures[0]
        yield found[0]
    finally:
        if thread.is_alive() and loops:
            end()
        thread.join()
    if failures:
        raise failures[0]


def exchange(connection: socket.socket, request: bytes, until: bytes) -> bytes:
    """Send bytes, and return what comes until some bytes have come or the other side ends."""
    connection.sendall(request)
    received = b""
    while until not in received and (piece := connection.recv(65536)):
        received += piece
    return received
