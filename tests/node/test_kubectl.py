"""kubectl, old (SPDY) and new (WebSocket), against a whole server and node in one process with simulated programs."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from homeport.clock import WallClock
from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.simulated import Script, SimulatedExec
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from tests.node.world import World, ready

KUBECTLS = [
    pytest.param(path, id=name)
    for name, path in (("new", "/usr/bin/kubectl"), ("old", "/opt/kubectl120/usr/bin/kubectl"))
]


async def shell(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
    """A few programs: what a test needs, no more."""
    match command.argv:
        case ("echo", *words):
            streams.print((" ".join(words) + "\n").encode())
        case ("cat",):
            while data := await streams.stdin.get():
                streams.print(data)
        case ("fail", code):
            streams.print_error(b"it failed\n")
            return int(code)
        case ("big", size):
            for _ in range(int(size)):
                streams.print(b"x" * 1000)
    return 0


class Cluster:
    """A world that kubectl can reach."""

    def __init__(self, world: World, kubeconfig: Path, kubectl: str, home: Path) -> None:
        self.world, self._kubeconfig, self._kubectl, self._home = world, kubeconfig, kubectl, home

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._kubectl, "--kubeconfig", str(self._kubeconfig), "--cache-dir", str(self._home), *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self._home)},
        )  # fmt: skip

    async def kubectl(self, *arguments: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            out, err = await process.communicate(stdin)
        return process.returncode or 0, out, err


@asynccontextmanager
async def cluster(kubectl: str, data: Path) -> AsyncIterator[Cluster]:
    if not shutil.which(kubectl):
        pytest.skip(f"{kubectl} is not installed")
    clock = WallClock()
    world = World(data, clock=clock, node_socket=str(data / "run" / "node.sock"))
    world.runtime.handler = shell
    settings = world.server.settings
    pki = Pki(data / "pki", clock, random.Random(1))
    listener = Listener(world.server.handle, settings.max_body_bytes)
    names = server_names(settings.advertise[0], "10.96.0.1", settings.cluster_domain, "127.0.0.1")
    async with world.server:
        host, port = await listener.listen_tls("127.0.0.1", 0, server_context(pki, names))
        world.server.discovery.use_address(f"{host}:{port}")
        admin = pki.client("admin", "homeport:admin", ("system:masters",))
        write_kubeconfig(data / "kubeconfig", "homeport", f"https://{host}:{port}", pki.ca_pem, admin)
        world.start_node()
        try:
            yield Cluster(world, data / "kubeconfig", kubectl, data / "home")
        finally:
            await world.kill_node()
            await listener.close()


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_exec_carries_output_input_and_exit_codes(kubectl: str, tmp_path: Path) -> None:
    async with cluster(kubectl, tmp_path) as c:
        await c.world.pod("web")
        await c.world.until("web", ready)
        assert await c.kubectl("exec", "web", "--", "echo", "hello", "you") == (0, b"hello you\n", b"")
        code, _, err = await c.kubectl("exec", "web", "--", "fail", "7")
        assert code == 7
        assert b"it failed" in err
        sent = random.Random(2).randbytes(300_000)
        code, out, err = await c.kubectl("exec", "-i", "web", "--", "cat", stdin=sent)
        assert (code, out) == (0, sent)
        code, out, _ = await c.kubectl("exec", "web", "--", "big", "2000")
        assert (code, len(out)) == (0, 2_000_000)


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_logs_are_read_whole_by_tail_and_followed_to_the_end(kubectl: str, tmp_path: Path) -> None:
    async with cluster(kubectl, tmp_path) as c:
        c.world.runtime.script = lambda spec: Script(runs_for=1.0, output=("one", "two", "three"))
        await c.world.pod("job", restartPolicy="Never")
        await c.world.until("job", lambda pod: pod["status"].get("containerStatuses", [{}])[0].get("started") is True)
        assert (await c.kubectl("logs", "-f", "job"))[:2] == (0, b"one\ntwo\nthree\n")
        assert (await c.kubectl("logs", "--tail", "1", "job"))[:2] == (0, b"three\n")
        code, _, err = await c.kubectl("logs", "--previous", "job")
        assert code == 1
        assert b'previous terminated container "main" in pod "job" not found' in err


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_attach_talks_to_the_main_process(kubectl: str, tmp_path: Path) -> None:
    async with cluster(kubectl, tmp_path) as c:
        await c.world.pod("web", {"name": "main", "stdin": True, "stdinOnce": True})
        await c.world.until("web", ready)
        _, out, err = await c.kubectl("attach", "-i", "web", stdin=b"echo me")
        assert b"echo me" in out, err


@pytest.mark.parametrize("kubectl", KUBECTLS)
async def test_port_forward_carries_connections_and_reports_refusals(kubectl: str, tmp_path: Path) -> None:
    async with cluster(kubectl, tmp_path) as c:
        await c.world.pod("web")
        await c.world.until("web", ready)

        async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            data = await reader.readline()
            writer.write(data.upper())
            await writer.drain()

        c.world.reach.listeners[8080] = upper
        process = await c.start("port-forward", "web", ":8080", ":9090")
        assert process.stdout is not None
        try:
            ports = []
            while len(ports) < 2:
                line = (await process.stdout.readline()).decode()
                if "127.0.0.1" in line:
                    ports.append(int(line.split("127.0.0.1:")[1].split(" ")[0]))
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
                writer.write(b"hello\n")
                assert await reader.read() == b"HELLO\n"
                writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[1])
            writer.write(b"hello\n")
            with_refusal = await asyncio.gather(reader.read(), return_exceptions=True)
            assert with_refusal[0] == b"" or isinstance(with_refusal[0], ConnectionError)
            writer.close()
        finally:
            process.kill()
            _, err = await process.communicate()
        if kubectl.startswith("/opt") or b"error forwarding" in err:
            assert b"Connection refused" in err
