"""The node's own HTTP API over its real socket, with simulated programs."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from homeport.clock import WallClock
from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.logs import LogFile
from homeport.node.runtime.simulated import Script, SimulatedExec
from tests.node.streams.peers import get, spdy, web_socket
from tests.node.world import World, phase, ready, waiting_reason


@asynccontextmanager
async def node(data: Path) -> AsyncIterator[World]:
    world = World(data, clock=WallClock())
    async with world.server:
        world.start_node()
        try:
            yield world
        finally:
            await world.kill_node()


async def echo(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
    while data := await streams.stdin.get():
        streams.print(data)
    streams.print_error(b"done")
    return 3


async def test_health_pods_and_unknown_paths(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        await w.pod("web")
        await w.until("web", ready)
        socket = w.settings.socket
        assert await get(socket, "/healthz") == (200, b"ok")
        status, body = await get(socket, "/pods")
        assert (status, [pod["metadata"]["name"] for pod in json.loads(body)["items"]]) == (200, ["web"])
        assert (await get(socket, "/elsewhere"))[0] == 404
        assert (await get(socket, "/containerLogs/default/nobody/main"))[0] == 404
        assert (await get(socket, "/exec/default/web/main?command=ls"))[0] == 400
        assert socket.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"])
async def test_exec_over_websocket_ends_with_a_status(tmp_path: Path, protocol: str) -> None:
    async with node(tmp_path) as w:
        w.runtime.handler = echo if protocol.startswith("v5") else lambda spec, command, streams: fail(streams)
        await w.pod("web")
        await w.until("web", ready)
        target = "/exec/default/web/main?command=cat&stdin=true&stdout=true&stderr=true"
        received: dict[int, bytes] = {}
        async with web_socket(w.settings.socket, target, protocol) as socket:
            assert socket.subprotocol == protocol
            if protocol.startswith("v5"):
                await socket.send(b"\x00hello ")
                await socket.send(b"\x00you")
                await socket.send(b"\xff\x00")
            async for message in socket:
                received = collect(received, message)
            assert socket.close_code == 1000
        if protocol.startswith("v5"):
            assert received[1] == b"hello you"
        assert received[2] == b"done"
        assert json.loads(received[3])["details"]["causes"][0]["message"] == "3"


async def fail(streams: SimulatedExec) -> int:
    streams.print_error(b"done")
    return 3


def collect(received: dict[int, bytes], message: str | bytes) -> dict[int, bytes]:
    import base64

    if isinstance(message, str):
        channel, data = int(message[0]), base64.b64decode(message[1:])
    else:
        channel, data = message[0], message[1:]
    return {**received, channel: received.get(channel, b"") + data}


async def test_exec_over_spdy_ends_with_a_status(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        w.runtime.handler = echo
        await w.pod("web")
        await w.until("web", ready)
        target = "/exec/default/web/main?command=cat&stdin=true&stdout=true&stderr=true"
        async with spdy(w.settings.socket, target, "v4.channel.k8s.io") as client:
            error = await client.open({"streamType": "error"}, finished=True)
            stdin = await client.open({"streamType": "stdin"})
            stdout = await client.open({"streamType": "stdout"})
            stderr = await client.open({"streamType": "stderr"})
            await client.send(stdin, b"x" * 100_000, finished=True)
            await client.closed.wait()
            assert client.received[stdout] == b"x" * 100_000
            assert client.received[stderr] == b"done"
            assert json.loads(client.received[error])["reason"] == "NonZeroExitCode"


async def test_a_terminal_is_resized(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        sizes: list[tuple[int, int]] = []

        async def look(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
            assert command.tty
            await streams.stdin.get()
            sizes.extend(streams.sizes)
            return 0

        w.runtime.handler = look
        await w.pod("web")
        await w.until("web", ready)
        target = "/exec/default/web/main?command=sh&stdin=true&stdout=true&tty=true"
        async with web_socket(w.settings.socket, target, "v5.channel.k8s.io") as socket:
            await socket.send(b'\x04{"Width":80,"Height":24}')
            await socket.send(b'\x04{"Width":100,"Height":30}')
            await asyncio.sleep(0.05)
            await socket.send(b"\x00go")
            async for _ in socket:
                continue
        assert sizes == [(80, 24), (100, 30)]


async def test_a_client_that_leaves_ends_the_command(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        ended = asyncio.Event()

        async def forever(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()
            return 0

        w.runtime.handler = forever
        await w.pod("web")
        await w.until("web", ready)
        target = "/exec/default/web/main?command=sleep&stdout=true"
        async with web_socket(w.settings.socket, target, "v5.channel.k8s.io"):
            pass
        async with asyncio.timeout(5):
            await ended.wait()


async def test_port_forward_over_channels(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        await w.pod("web")
        await w.until("web", ready)

        async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()

        w.reach.listeners[8080] = upper
        async with web_socket(
            w.settings.socket, "/portForward/default/web?ports=8080,9", "v4.channel.k8s.io"
        ) as socket:
            await socket.send(b"\x00hello\n")
            received: dict[int, bytes] = {}
            while b"refused" not in received.get(3, b"") or b"HELLO" not in received.get(0, b""):
                received = collect(received, await socket.recv())
        assert received[0] == (8080).to_bytes(2, "little") + b"HELLO\n"
        assert received[3].startswith((9).to_bytes(2, "little") + b"error forwarding port 9 to pod web, uid ")


async def test_logs_say_why_there_are_none(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        w.images.pull_seconds = 3600
        await w.pod("slow", {"name": "main", "image": "big:1"})
        await w.until("slow", lambda pod: waiting_reason(pod) == "ContainerCreating")
        status, body = await get(w.settings.socket, "/containerLogs/default/slow/main")
        text = 'container "main" in pod "slow" is waiting to start: ContainerCreating'
        assert (status, json.loads(body)["message"]) == (400, text)


async def test_logs_of_a_finished_pod_stay_and_are_selected(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        w.runtime.script = lambda spec: Script(runs_for=0.05, output=("one", "two", "three"))
        await w.pod("job", restartPolicy="Never")
        await w.until("job", lambda pod: phase(pod) == "Succeeded")
        base = "/containerLogs/default/job/main"
        socket = w.settings.socket
        assert await get(socket, base) == (200, b"one\ntwo\nthree\n")
        assert await get(socket, f"{base}?tailLines=2") == (200, b"two\nthree\n")
        assert await get(socket, f"{base}?limitBytes=5") == (200, b"one\nt")
        assert await get(socket, f"{base}?sinceSeconds=1&stream=Stderr") == (200, b"")
        stamped = (await get(socket, f"{base}?timestamps=true&tailLines=1"))[1]
        assert stamped.endswith(b"Z three\n")
        assert len(stamped.split(b" ")[0]) == len("2026-01-01T00:00:00.000000000Z")


async def test_a_log_is_followed_from_before_its_first_line(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        specs: list[ContainerSpec] = []

        def silent(spec: ContainerSpec) -> Script:
            specs.append(spec)
            return Script()

        w.runtime.script = silent
        await w.pod("web")
        await w.until("web", ready)
        log = specs[0].log_path
        assert await get(w.settings.socket, "/containerLogs/default/web/main") == (200, b"")
        assert not log.exists()
        reader, writer = await asyncio.open_unix_connection(str(w.settings.socket))
        writer.write(b"GET /containerLogs/default/web/main?follow=true HTTP/1.1\r\nHost: node\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        file = LogFile(log, w.clock, lambda job: job())
        file.write("stdout", b"at last\n")
        await asyncio.wait_for(reader.readuntil(b"at last\n"), 5)
        file.close()
        writer.close()


async def test_a_reader_of_logs_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with node(tmp_path) as w:
        w.runtime.script = lambda spec: Script(output=("one",))
        await w.pod("web")
        await w.until("web", ready)
        before = open_descriptors()
        reader, writer = await asyncio.open_unix_connection(str(w.settings.socket))
        writer.write(b"GET /containerLogs/default/web/main?follow=true HTTP/1.1\r\nHost: node\r\n\r\n")
        await reader.readuntil(b"one\n")
        assert open_descriptors() > before
        writer.close()
        async with asyncio.timeout(5):
            while open_descriptors() > before:  # noqa: ASYNC110 - nobody is told of a closed descriptor
                await asyncio.sleep(0.01)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
