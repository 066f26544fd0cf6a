"""`proxy` of pods and Services: an HTTP request passed on to what listens there (api-machinery 17.15)."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import httptools

from homeport.api.exchange import Response
from homeport.api.resources import find
from homeport.errors import BadRequest, ServiceUnavailable
from homeport.server import failures
from homeport.server.podtunnel import PodTunnel, Unreachable
from homeport.server.services import Call, Services

__all__ = ["Proxy"]

_HOP_BY_HOP: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int


class Proxy:
    """Finds what a name stands for and speaks HTTP/1.1 with it, one connection per request."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pods = services.codec(find("Pod"))
        self._service_codec = services.codec(find("Service"))
        self._endpoints = services.codec(find("Endpoints"))
        self._socket = services.settings.node_socket

    async def handle(self, call: Call) -> Response:
        """Pass the request on and answer with what comes back. Raises NotFound, BadRequest, ServiceUnavailable."""
        namespace = call.target.namespace or ""
        kind = call.codec.resource.singular
        scheme, name, port = _split(call.target.name or "", kind)
        if kind == "pod":
            place = self._pod(namespace, name, port)
        else:
            places = self._places(namespace, name, port)
            if not places:
                raise _nobody(call.target.name or "")
            place = self._services.rng.choice(places)
        base, path = _paths(call)
        if not path:
            return Response(301, [("location", f"{base}/{_query(call)}")])
        if scheme == "https":
            raise ServiceUnavailable("error trying to reach service: only plain HTTP is passed on")
        if not self._socket:
            raise ServiceUnavailable("error trying to reach service: no node agent is connected to this server")
        try:
            return await _exchange(self._socket, place, call, path, base)
        except Unreachable as error:
            raise ServiceUnavailable(f"error trying to reach service: {error}") from error

    def _pod(self, namespace: str, name: str, port: str) -> Place:
        pod = self._services.storage.get(self._pods, namespace, name).tree
        if not port:
            ports = [each for container in pod["spec"]["containers"] for each in container.get("ports") or ()]
            port = str(ports[0]["containerPort"]) if ports else "80"
        if not pod["spec"].get("nodeName"):
            raise ServiceUnavailable("error trying to reach service: address not allowed")
        return Place(namespace, name, _number(port, "pod", name))

    def _places(self, namespace: str, name: str, port: str) -> list[Place]:
        """Return the ready pods behind a Service's port. Raises NotFound, ServiceUnavailable."""
        storage, wanted = self._services.storage, port
        if port.isdigit():
            service = storage.get(self._service_codec, namespace, name)
            numbered = [each for each in service.tree["spec"].get("ports") or () if str(each["port"]) == port]
            if not numbered:
                raise ServiceUnavailable(f'no service port {port} found for service "{name}"')
            wanted = numbered[0].get("name", "")
        endpoints = storage.find(self._endpoints, namespace, name)
        if endpoints is None:
            raise failures.not_found(self._service_codec.resource, name)
        subsets = endpoints.tree.get("subsets") or ()
        if not subsets:
            raise _nobody(name)
        return [
            Place(namespace, address["targetRef"]["name"], each["port"])
            for subset in subsets
            for each in subset.get("ports") or ()
            if each.get("name", "") == wanted
            for address in subset.get("addresses") or ()
            if self._is_of_its_pod(namespace, address)
        ]

    def _is_of_its_pod(self, namespace: str, address: Mapping[str, Any]) -> bool:
        """Tell whether an address says which pod of the namespace has it, and that pod does."""
        reference = address.get("targetRef") or {}
        if reference.get("namespace") != namespace or not reference.get("name"):
            return False
        pod = self._services.storage.find(self._pods, namespace, reference["name"])
        addresses = () if pod is None else pod.tree.get("status", {}).get("podIPs") or ()
        return any(each.get("ip") == address.get("ip") for each in addresses)


def _split(text: str, kind: str) -> tuple[str, str, str]:
    """Return scheme, name and port of `[scheme:]name[:port]`. Raises BadRequest."""
    match text.split(":"):
        case [name] if name:
            return "http", name, ""
        case [name, port] if name:
            return "http", name, port
        case [("" | "http" | "https") as scheme, name, port] if name:
            return scheme or "http", name, port
    raise BadRequest(f'invalid {kind} request "{text}"')


def _number(port: str, kind: str, name: str) -> int:
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequest(f'invalid {kind} request "{name}:{port}"')
    return int(port)


def _nobody(what: str) -> ServiceUnavailable:
    return ServiceUnavailable(f'no endpoints available for service "{what}"')


def _paths(call: Call) -> tuple[str, str]:
    """Return the path up to `proxy`, and what follows it: "" when not even a slash does."""
    marker = f"/{call.target.name}/proxy"
    at = call.request.path.index(marker) + len(marker)
    return call.request.path[:at], call.request.path[at:]


def _query(call: Call) -> str:
    return "?" + urlencode(call.request.query) if call.request.query else ""


async def _exchange(socket: str, place: Place, call: Call, path: str, base: str) -> Response:
    tunnel = await PodTunnel.open(socket, place.namespace, place.pod, place.port)
    try:
        await tunnel.send(_request(call, place, path))
        reader = _Reader(tunnel)
        await reader.head()
    except BaseException:
        await tunnel.close()
        raise
    headers = [pair for pair in reader.headers if pair[0] not in _HOP_BY_HOP]
    headers = [(key, base + value if key == "location" and value.startswith("/") else value) for key, value in headers]
    return Response(reader.status, headers, stream=reader.body())


def _request(call: Call, place: Place, path: str) -> bytes:
    request = call.request
    lines = [f"{request.method} {quote(path)}{_query(call)} HTTP/1.1", f"host: {place.pod}:{place.port}"]
    lines += [f"{key}: {value}" for key, value in request.headers.items() if key not in _HOP_BY_HOP]
    lines += [f"content-length: {len(request.body)}", "connection: close"]
    lines += [f"x-forwarded-uri: {request.path}", "x-forwarded-proto: https"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + request.body


class _Reader:
    """Reads one HTTP response out of a tunnel."""

    def __init__(self, tunnel: PodTunnel) -> None:
        self._tunnel = tunnel
        self._pieces = tunnel.pieces()
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: list[bytes] = []
        self._head_done = self._done = False
        self.headers: list[tuple[str, str]] = []
        self.status = 0

    # -- httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._head_done = self.status >= 200
        if not self._head_done:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        self._waiting.append(body)

    def on_message_complete(self) -> None:
        self._done = self._head_done

    async def head(self) -> None:
        """Read up to the end of the headers. Raises Unreachable."""
        while not self._head_done:
            await self._read()

    async def _read(self) -> bool:
        """Take one more piece in; False at the end of the stream."""
        try:
            piece = await anext(self._pieces)
            self._parser.feed_data(piece)
        except StopAsyncIteration:
            if not self._head_done:
                raise Unreachable("EOF") from None
            return False
        except httptools.HttpParserError as error:
            raise Unreachable(f"malformed HTTP response: {error}") from error
        return True

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body; closes the tunnel at its end."""
        try:
            while True:
                if self._waiting:
                    yield b"".join(self._waiting)
                    self._waiting.clear()
                if self._done or not await self._read():
                    break
            if self._waiting:
                yield b"".join(self._waiting)
        finally:
            await self._tunnel.close()
