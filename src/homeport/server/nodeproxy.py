"""Logs and streams: checked here, then handed to the node agent's socket (api-machinery 17, node 13.2, 13.3)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from homeport.api.exchange import Response
from homeport.errors import BadRequest, Cause, ServiceUnavailable
from homeport.server import failures
from homeport.server.objects import Tree
from homeport.server.services import Call, Services
from homeport.unix_sockets import connected

__all__ = ["NodeProxy", "Tunnel", "fetch"]

_NODE_PATHS: Final = {"log": "containerLogs", "exec": "exec", "attach": "attach", "portforward": "portForward"}
_HOP_HEADERS: Final = frozenset({"authorization", "content-length", "host", "transfer-encoding", "expect"})
_CHUNK: Final = 64 * 1024


@dataclass(slots=True)
class Tunnel(Response):
    """Not an answer but a connection: everything after the request's head goes both ways, untouched."""

    socket_path: str = ""
    head: bytes = b""


class NodeProxy:
    """Forwards what only the node can answer. Plain requests are streamed, upgrades are tunnelled."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._socket = services.settings.node_socket

    async def log(self, call: Call) -> Response:
        """Answer `pods/log`. Raises NotFound, BadRequest, Invalid."""
        pod = self._pod(call)
        _check_log_options(call, pod["metadata"]["name"])
        container = _container(pod, call.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            return Response(204)
        path = self._path(call, pod, container, drop=("container", "pretty"))
        return await self._forward(path)

    async def stream(self, call: Call) -> Response:
        """Answer `exec`, `attach` and `portforward`. Raises NotFound, BadRequest."""
        pod, name = self._pod(call), call.target.name
        if "dryRun" in call.query:
            raise BadRequest("dryRun is not supported")
        kind = call.target.subresource
        container = "" if kind == "portforward" else _container(pod, call.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            raise BadRequest(f"pod {name} does not have a host assigned")
        headers = call.request.headers
        if "upgrade" not in headers.get("connection", "").lower() or not headers.get("upgrade"):
            raise BadRequest("Upgrade request required")
        self._require_node()
        path = self._path(call, pod, container, drop=("container",))
        lines = [f"{call.request.method} {path} HTTP/1.1", "host: node"]
        lines += [f"{key}: {value}" for key, value in headers.items() if key not in _HOP_HEADERS]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return Tunnel(101, socket_path=self._socket, head=head)

    def _pod(self, call: Call) -> Tree:
        assert call.target.name is not None
        return self._services.storage.get(call.codec, call.target.namespace, call.target.name).tree

    def _path(self, call: Call, pod: Tree, container: str, drop: tuple[str, ...]) -> str:
        metadata = pod["metadata"]
        parts = [_NODE_PATHS[call.target.subresource], metadata["namespace"], metadata["name"]]
        if container:
            parts.append(container)
        query = urlencode([(key, value) for key, value in call.request.query if key not in drop])
        return "/" + "/".join(quote(part) for part in parts) + (f"?{query}" if query else "")

    def _require_node(self) -> None:
        if not self._socket:
            raise ServiceUnavailable("no node agent is connected to this server")

    async def _forward(self, path: str) -> Response:
        self._require_node()
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connected(Path(self._socket)))
        except OSError as error:
            raise failures.internal(f"dialing the node: {error}") from error
        writer.write(f"GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n".encode())
        try:
            status, headers = await _head(reader)
        except (asyncio.IncompleteReadError, ValueError) as error:
            writer.close()
            raise failures.internal(f"the node closed the connection: {error}") from error
        content_type = headers.get("content-type", "text/plain")
        return Response(status, [("content-type", content_type)], stream=_body(reader, writer, headers))


async def fetch(socket: Path, path: str) -> bytes:
    """Return what the node answers a plain request with. Raises OSError, ValueError, IncompleteReadError."""
    reader, writer = await asyncio.open_unix_connection(sock=connected(socket))
    writer.write(f"GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n".encode())
    try:
        status, headers = await _head(reader)
        body = b"".join([piece async for piece in _body(reader, writer, headers)])
    finally:
        writer.close()
    if status != 200:
        raise ValueError(f"the node answered {path} with status {status}")
    return body


async def _head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = raw.split("\r\n")
    headers = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines) if key}
    return int(status_line.split(" ", 2)[1]), headers


async def _body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]
) -> AsyncIterator[bytes]:
    """Yield a response's body as it comes: chunked, counted, or up to the end of the connection."""
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readline()).partition(b";")[0] or b"0", 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
        elif "content-length" in headers:
            left = int(headers["content-length"])
            while left and (piece := await reader.read(min(left, _CHUNK))):
                left -= len(piece)
                yield piece
        else:
            while piece := await reader.read(_CHUNK):
                yield piece
    finally:
        writer.close()


def _container(pod: Tree, asked: str) -> str:
    """Return the container meant. Raises BadRequest (17.10)."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    groups = ("initContainers", "containers", "ephemeralContainers")
    names = [each["name"] for group in groups for each in spec.get(group) or ()]
    if asked:
        if asked not in names:
            raise BadRequest(f"container {asked} is not valid for pod {name}")
        return asked
    annotated = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if annotated in names:
        return str(annotated)
    if len(names) == 1:
        return str(names[0])
    raise BadRequest(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")


def _check_log_options(call: Call, name: str) -> None:
    causes = []
    for option, least, words in (
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ):
        text = call.query.get(option)
        if text is None:
            continue
        value = _number(text)
        if value < least:
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {value}: {words}", option))
    if "sinceSeconds" in call.query and "sinceTime" in call.query:
        causes.append(
            Cause(
                "FieldValueForbidden",
                "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
                "[]",
            )
        )
    if causes:
        raise failures.invalid("PodLogOptions", "", name, causes)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
