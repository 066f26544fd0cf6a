"""The API of one cluster, served: store, certificates, server and its listeners, put together from the settings."""

import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from homeport.api.exchange import User
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessSource, InProcessTransport
from homeport.client.rest import RestClient
from homeport.clock import Clock
from homeport.engine.directory import DataDirectory
from homeport.engine.ports import Ports
from homeport.engine.settings import ClusterSettings
from homeport.server.app import Server
from homeport.server.authentication import read_token_file
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from homeport.server.settings import Settings
from homeport.store.sqlite import SqliteStore

__all__ = ["ServedApi", "serve_api"]

MASTERS: Final = ("system:masters", "system:authenticated")


@dataclass(frozen=True, slots=True)
class ServedApi:
    """A running API server: where it is, and what else needs to know of it.

    url      as in the kubeconfig
    context  for further listeners with the same certificate, such as the one inside the cluster's network
    ca       PEM text of the authority that signed it
    """

    server: Server
    listener: Listener
    url: str
    context: ssl.SSLContext
    ca: str

    def client(self, component: str) -> RestClient:
        """Return a client inside this process, acting as the component of that name."""
        user = User(f"system:{component}", groups=MASTERS)
        return RestClient(InProcessTransport(self.server.handle, user, shared=True), component)

    def informers(self, component: str, rng: random.Random) -> InformerFactory:
        """Return informers inside this process: the server tells them what they would list and watch."""
        return InformerFactory(self.client(component), rng, source=InProcessSource(self.server.feeds.open))


@asynccontextmanager
async def serve_api(
    directory: DataDirectory, settings: ClusterSettings, clock: Clock, rng: random.Random
) -> AsyncIterator[ServedApi]:
    """Serve on loopback and on the unix socket, and write the kubeconfig. Raises StoreError, PortTaken, OSError."""
    pki = Pki(directory.pki, clock, rng)
    served = _server_settings(directory, settings)
    tokens = read_token_file(Path(settings.tokens).read_text("utf-8")) if settings.tokens else {}
    store = await SqliteStore.open(directory.state)
    try:
        server = Server(store, clock, rng, served, static_tokens=tokens, token_key=pki.token_key)
        listener = Listener(server.handle, served.max_body_bytes)
        try:
            async with server:
                yield await _listen(directory, settings, pki, server, listener)
        finally:
            await listener.close()
    finally:
        await store.close()


def _server_settings(directory: DataDirectory, settings: ClusterSettings) -> Settings:
    return Settings(
        service_cidrs=tuple(ranges.services for ranges in settings.ranges),
        advertise=settings.api_address_inside,
        cluster_domain=settings.domain,
        authorization="RBAC",
        disabled_admission=frozenset(settings.disabled_admission),
        feature_gates=frozenset(settings.feature_gates),
        node_socket=str(directory.node_socket) if settings.runs("node") else "",
    )


async def _listen(
    directory: DataDirectory, settings: ClusterSettings, pki: Pki, server: Server, listener: Listener
) -> ServedApi:
    await listener.listen_unix(directory.api_socket)
    first = server.settings.kubernetes_address
    context = server_context(pki, server_names(settings.gateway, first, settings.domain, settings.api_host))

    async def listen(port: int) -> int:
        return (await listener.listen_tls(settings.api_host, port, context))[1]

    port = await Ports(directory).bind("api", settings.api_port, listen)
    url = f"https://{settings.api_host}:{port}"
    server.discovery.use_address(f"{settings.api_host}:{port}")
    admin = pki.client("admin", "homeport:admin", MASTERS[:1])
    write_kubeconfig(directory.kubeconfig, f"homeport-{settings.name}", url, pki.ca_pem, admin)
    return ServedApi(server, listener, url, context, pki.ca_pem.decode())
