"""The node's own HTTP API on a unix socket: logs, exec, attach, port-forward, health, pods.

The API server authenticates and authorises, then hands requests on to here. Source: `node` 13.2 and 13.3,
`api-machinery` 17.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from homeport.clock import Clock, parse_time
from homeport.errors import ApiError, BadRequest, InternalError, MethodNotAllowed, NotFound
from homeport.node.http import HttpRequest, read_request, send_response, send_stream, switch_protocols
from homeport.node.log_choice import LogUnavailable, choose_log
from homeport.node.logs import LogOptions, read_log
from homeport.node.runtime.contract import ExecSession, ExecSpec, RuntimeFailure
from homeport.node.runtime.logs import open_log
from homeport.node.stats import Stats, no_stats
from homeport.node.streams.multiplex import SpdySession
from homeport.node.streams.pipe import StreamPipe
from homeport.node.streams.portforward import forward_channels, forward_streams, requested_ports
from homeport.node.streams.remotecommand import Channels, Wanted, failure_status, serve_session
from homeport.node.streams.socket_channels import SUBPROTOCOLS, SocketChannels
from homeport.node.streams.spdy_channels import PROTOCOLS, SpdyChannels, negotiate
from homeport.node.streams.websocket import WebSocket, WebSocketPipe
from homeport.node.worker import PodWorker
from homeport.unix_sockets import bound

__all__ = ["Commands", "NodeServer", "Ports", "Workers"]

TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
PORT_PROTOCOL: Final = "portforward.k8s.io"
PORT_SUBPROTOCOLS: Final = (TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io")

Open = Callable[[], AbstractAsyncContextManager[ExecSession]]

_log = logging.getLogger(__name__)


class Workers(Protocol):
    """Where the pods of a node are found: an agent, or several that share one server."""

    @property
    def workers(self) -> Mapping[str, PodWorker]: ...

    def find(self, namespace: str, name: str) -> PodWorker | None: ...


class Commands(Protocol):
    """What opens a container's streams: a runtime, or several behind one door."""

    def exec(self, container_id: str, spec: ExecSpec) -> AbstractAsyncContextManager[ExecSession]: ...

    def attach(self, container_id: str) -> AbstractAsyncContextManager[ExecSession]: ...


class Ports(Protocol):
    """Where connections into pods are made: the node's reach, or another way."""

    async def dial(self, pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


class NodeServer:
    """Listens on `path` until cancelled."""

    def __init__(
        self, path: Path, agent: Workers, runtime: Commands, reach: Ports, clock: Clock, stats: Stats = no_stats
    ) -> None:
        self._path, self._agent, self._runtime, self._reach, self._clock = path, agent, runtime, reach, clock
        self._stats = stats
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve; ends by cancellation only, closing what is open."""
        self._path.parent.mkdir(0o700, parents=True, exist_ok=True)
        listening = bound(self._path)
        try:
            server = await asyncio.start_unix_server(self._accept, sock=listening)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                server.close()
        finally:
            listening.close()
            for task in self._connections:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except ConnectionError as error:
            _log.debug("a client left: %s", error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
        except ValueError as error:
            await _refuse(writer, BadRequest(str(error)))
            return
        if request is None:
            return
        try:
            await self._answer(request, reader, writer)
        except ApiError as error:
            await _refuse(writer, error)

    async def _answer(self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; raises ApiError before anything was sent."""
        match request.path:
            case ("healthz",):
                await send_response(writer, 200, "text/plain; charset=utf-8", b"ok")
            case ("stats", "summary"):
                body = json.dumps(await self._stats()).encode()
                await send_response(writer, 200, "application/json", body)
            case ("pods",):
                await send_response(writer, 200, "application/json", self._pods())
            case ("containerLogs", namespace, name, container):
                await self._logs(request, self._pod(namespace, name), container, reader, writer)
            case ("exec" | "attach" as what, namespace, name, container):
                opened = self._opener(what, request, self._pod(namespace, name), container)
                await self._command(opened, request, reader, writer)
            case ("portForward", namespace, name):
                await self._forward(self._pod(namespace, name), request, reader, writer)
            case _:
                raise NotFound("the node does not serve this path")

    def _pod(self, namespace: str, name: str) -> PodWorker:
        worker = self._agent.find(namespace, name)
        if worker is None:
            raise NotFound(f'pods "{name}" not found')
        return worker

    def _pods(self) -> bytes:
        items = [dict(worker.pod.tree) for worker in self._agent.workers.values()]
        return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}).encode()

    # Logs

    async def _logs(
        self,
        request: HttpRequest,
        worker: PodWorker,
        container: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if request.method != "GET":
            raise MethodNotAllowed("logs are read with GET")
        options = _log_options(request, self._clock)
        try:
            chosen = choose_log(worker, container, previous=request.flag("previous"))
        except LogUnavailable as error:
            raise BadRequest(str(error)) from error
        if not chosen.path.exists():  # nothing was printed yet
            if chosen.ended is None or not options.follow:
                await send_response(writer, 200, "text/plain", b"")
                return
            os.close(open_log(chosen.path))
        sending = send_stream(writer, "text/plain", read_log(chosen.path, options, chosen.ended))
        await _until(sending, reader.read(1))  # nothing more is asked: what comes is the end

    # Commands

    def _opener(self, what: str, request: HttpRequest, worker: PodWorker, container: str) -> Open:
        live = worker.live_container(container)
        if live is None:
            raise InternalError(f'container not found ("{container}")')
        if what == "attach":
            return lambda: self._runtime.attach(live.container_id)
        words = tuple(request.all("command"))
        if not words:
            raise BadRequest("you must specify at least 1 command for the container")
        spec = ExecSpec(words, tty=request.flag("tty"), stdin=request.flag("stdin"))
        return lambda: self._runtime.exec(live.container_id, spec)

    async def _command(
        self, opened: Open, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        tty = request.flag("tty")
        wanted = Wanted(request.flag("stdin"), request.flag("stdout"), request.flag("stderr") and not tty, tty)
        match request.headers.get("upgrade", "").lower():
            case "websocket":
                pipe = StreamPipe(reader, writer, request.rest)
                peer = WebSocket(pipe, request.target, request.headers, SUBPROTOCOLS)
                if await peer.accept():
                    over_socket = SocketChannels(peer, wanted)
                    await over_socket.greet()
                    await _run(opened, wanted, over_socket, over_socket.run())
                    await peer.close()
            case "spdy/3.1":
                protocol = await _spdy_protocol(request, writer)
                if protocol is None:
                    return
                upgraded = {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": protocol}
                session = SpdySession(await switch_protocols(request, reader, writer, upgraded))
                over_spdy = SpdyChannels(session, protocol, wanted)
                await _run(opened, wanted, over_spdy, over_spdy.run(), over_spdy)
            case _:
                raise BadRequest("Upgrade request required")

    # Port-forward

    async def _forward(
        self, worker: PodWorker, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        pod = worker.pod

        async def dial(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            sandbox = worker.preparation.sandbox
            if sandbox is None:
                raise ConnectionRefusedError("pod is not running")
            return await self._reach.dial(sandbox.pid, port)

        describe = f"pod {pod.name}, uid {pod.uid}"
        match request.headers.get("upgrade", "").lower():
            case "websocket":
                pipe = StreamPipe(reader, writer, request.rest)
                peer = WebSocket(pipe, request.target, request.headers, PORT_SUBPROTOCOLS)
                ports = [] if peer.subprotocol == TUNNEL else _ports(request)
                if not await peer.accept():
                    return
                work = (
                    forward_streams(SpdySession(WebSocketPipe(peer)), dial, describe)
                    if peer.subprotocol == TUNNEL
                    else forward_channels(peer, ports, dial, describe)
                )
                await _until(work, worker.gone.wait())
                await peer.close()
            case "spdy/3.1":
                offered = request.headers.get("x-stream-protocol-version", "")
                if PORT_PROTOCOL not in [name.strip() for name in offered.split(",")]:
                    raise BadRequest(f"unable to upgrade: unable to negotiate protocol: client supports [{offered}]")
                upgraded = {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": PORT_PROTOCOL}
                session = SpdySession(await switch_protocols(request, reader, writer, upgraded))
                await _until(forward_streams(session, dial, describe), worker.gone.wait())
                await session.close()
            case _:
                raise BadRequest("Upgrade request required")


async def _refuse(writer: asyncio.StreamWriter, error: ApiError) -> None:
    await send_response(writer, error.status_code, "application/json", json.dumps(error.as_status()).encode())


async def _spdy_protocol(request: HttpRequest, writer: asyncio.StreamWriter) -> str | None:
    """Return the protocol agreed on; when there is none, say so and return None."""
    offered = request.headers.get("x-stream-protocol-version", "")
    if not offered:
        raise BadRequest("unable to upgrade: X-Stream-Protocol-Version header is required")
    protocol = negotiate(offered)
    if protocol is None:
        writer.write(
            "HTTP/1.1 403 Forbidden\r\n"
            f"X-Accepted-Stream-Protocol-Versions: {', '.join(PROTOCOLS)}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
    return protocol


async def _run(
    opened: Open, wanted: Wanted, channels: Channels, reading: Coroutine[Any, Any, None],
    gathering: SpdyChannels | None = None,
) -> None:  # fmt: skip
    """Serve a command on channels whose client is listened to meanwhile."""
    listening = asyncio.create_task(reading)
    try:
        if gathering is not None and not await gathering.gather():
            return
        try:
            async with opened() as session:
                await serve_session(session, wanted, channels)
        except RuntimeFailure as failure:
            with contextlib.suppress(ConnectionError):
                await channels.finish(failure_status(failure.message))
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def _until(work: Coroutine[Any, Any, None], over: Coroutine[Any, Any, object]) -> None:
    """Do `work`, but no longer than until `over` returns: the client left, or the pod did."""
    working, ending = asyncio.create_task(work), asyncio.create_task(over)
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, ending):
            task.cancel()
        await asyncio.wait((working, ending))


def _ports(request: HttpRequest) -> list[int]:
    try:
        return requested_ports(request.all("ports"))
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _log_options(request: HttpRequest, clock: Clock) -> LogOptions:
    def number(name: str) -> int | None:
        text = request.first(name)
        return int(text) if text else None

    try:
        seconds, moment = number("sinceSeconds"), request.first("sinceTime")
        since = clock.now() - seconds if seconds is not None else parse_time(moment) if moment else None
        return LogOptions(
            follow=request.flag("follow"),
            timestamps=request.flag("timestamps"),
            tail_lines=number("tailLines"),
            since=since,
            limit_bytes=number("limitBytes"),
            stream=request.first("stream") or "All",
        )
    except ValueError as error:
        raise BadRequest(f"bad log options: {error}") from error
