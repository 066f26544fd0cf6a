"""The API of a simulated cluster on a real address: HTTPS on loopback, for any client, with a kubeconfig.

Address, certificates and kubeconfig are of the process, not of the simulated world: no randomness and no clock of the
world is used for them, and they stay when the world is restored.
"""

import asyncio
import random
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Final

from homeport.api.exchange import Request, Response
from homeport.clock import WallClock
from homeport.node.server import NodeServer
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from homeport.testing.fleet import Fleet
from homeport.testing.simulation import Simulation

__all__ = ["ServedApi"]

_HOST: Final = "127.0.0.1"
_NAME: Final = "homeport-test"
_HANDSHAKE_SECONDS: Final = 1e7
"""Virtual seconds a client may take for its handshake: hours may pass meanwhile."""


class ServedApi:
    """An address, and whoever serves it now. `directory` holds the certificates and `kubeconfig`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="homeport-api-"))
        try:
            self._socket = socket.create_server((_HOST, 0), backlog=512)
            self.host, self.port = self._socket.getsockname()[:2]
            pki = Pki(self.directory / "pki", WallClock(), random.SystemRandom())
            self._context = server_context(pki, server_names(_HOST, "10.96.0.1", "cluster.local", _HOST))
            admin = pki.client("admin", "homeport:admin", ("system:masters",))
            write_kubeconfig(self.kubeconfig, _NAME, self.url, pki.ca_pem, admin)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
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

        async def answer(request: Request) -> Response:
            response = await simulation.server.handle(request)
            told()
            if response.stream is not None:
                response.stream = _heard(response.stream, told)
            return response

        self._listener = Listener(answer, simulation.server.settings.max_body_bytes)
        await self._listener.adopt_tls(self._socket.dup(), self._context, handshake_seconds=_HANDSHAKE_SECONDS)
        simulation.server.discovery.use_address(f"{self.host}:{self.port}")
        fleet = Fleet(simulation)
        reach = next(iter(simulation.machines.values())).reach
        self._socket_path = simulation.node_socket
        node = NodeServer(simulation.node_socket, fleet, fleet, reach, simulation.clock)
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
        shutil.rmtree(self.directory, ignore_errors=True)


async def _heard(stream: AsyncIterator[bytes], told: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in stream:
            told()
            yield piece
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
