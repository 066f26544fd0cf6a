"""The API of a simulated cluster on a real address: HTTPS on loopback, for any client, with a kubeconfig.

Address, certificates and kubeconfig are of the process, not of the simulated world: no randomness and no clock of the
world is used for them, and they stay when the world is restored.
"""

import asyncio
import random
import shutil
import socket
import tempfile
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from homeport.api.exchange import Request, Response
from homeport.clock import WallClock
from homeport.errors import Timeout
from homeport.node.server import NodeServer
from homeport.server.app import Server
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from homeport.testing.faults import FaultyTransport, refusal
from homeport.testing.fleet import Fleet
from homeport.testing.simulation import Simulation

__all__ = ["ServedApi"]

_HOST: Final = "127.0.0.1"
_NAME: Final = "homeport-test"
_PARTY: Final = "clients"
_BOOKMARK: Final = b'{"type":"BOOKMARK"'
"""How a piece of a watch begins that is no news."""
_HANDSHAKE_SECONDS: Final = 1e7
"""Virtual seconds a client may take for its handshake: hours may pass meanwhile."""


class ServedApi:
    """An address, and whoever serves it now. `directory` holds the certificates and `kubeconfig`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="homeport-api-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        try:
            self._socket = socket.create_server((_HOST, 0), backlog=512)
            self.host, self.port = self._socket.getsockname()[:2]
            pki = Pki(self.directory / "pki", WallClock(), random.SystemRandom())
            self._context = server_context(pki, server_names(_HOST, "10.96.0.1", "cluster.local", _HOST))
            admin = pki.client("admin", "homeport:admin", ("system:masters",))
            write_kubeconfig(self.kubeconfig, _NAME, self.url, pki.ca_pem, admin)
        except BaseException:
            self._remove()
            raise
        self._listener: Listener | None = None
        self._streams: asyncio.Task[None] | None = None
        self._socket_path: Path | None = None

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    async def serve(self, simulation: Simulation, told: Callable[[], None]) -> None:
        """Answer for a cluster from now on, on the loop this runs on; `told` is called with every word to a client."""

        way = FaultyTransport(_Server(simulation.server), simulation.faults, _PARTY)

        async def answer(request: Request) -> Response:
            try:
                response = await way.send(request)
            except OSError as error:
                response = refusal(Timeout(str(error)))
            told()
            if response.stream is not None:
                response.stream = _heard(response.stream, told)
            return response

        self._listener = Listener(answer, simulation.server.settings.max_body_bytes)
        await self._listener.adopt_tls(self._socket.dup(), self._context, handshake_seconds=_HANDSHAKE_SECONDS)
        simulation.server.discovery.use_address(f"{self.host}:{self.port}")
        fleet = Fleet(simulation)
        self._socket_path = simulation.node_socket
        node = NodeServer(simulation.node_socket, fleet, fleet, fleet, simulation.clock)
        self._streams = asyncio.create_task(node.run(), name="streams of pods")

    async def stop(self) -> None:
        """Serve no longer; who connects waits for the next `serve`."""
        if self._streams is not None:
            self._streams.cancel()
            await asyncio.wait([self._streams])
            self._streams = None
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the address up and remove the files."""
        self._socket.close()
        self._remove()


class _Server:
    """The server as a transport of requests whose sender it has yet to find out."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def send(self, request: Request) -> Response:
        return await self._server.handle(request)

    async def close(self) -> None:
        """Nothing is held."""


async def _heard(stream: AsyncIterator[bytes], told: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    """Pass a stream on; a watch that breaks just ends."""
    try:
        with suppress(ConnectionResetError):
            async for piece in stream:
                if not piece.startswith(_BOOKMARK):
                    told()
                yield piece
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
