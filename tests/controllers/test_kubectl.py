"""`kubectl rollout` understands what the controllers report, new and old."""

import asyncio
import contextlib
import os
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from homeport.api.resources import find
from homeport.client.informer import InformerFactory
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.clock import WallClock
from homeport.server.app import Server
from homeport.server.kubeconfig import write_kubeconfig
from homeport.server.listener import Listener, server_names
from homeport.server.pki import Pki, server_context
from homeport.server.settings import Settings
from homeport.store.memory import MemoryStore
from homeport.testing.kubelet import FakeKubelet
from homeport.testing.world import ADMIN, everything

BINARIES = {"new": "/usr/bin/kubectl", "old": "/opt/kubectl120/usr/bin/kubectl"}

MANIFEST = """
apiVersion: apps/v1
kind: {kind}
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: main, image: "app:1", resources: {{limits: {{cpu: "0.5"}}}}}}]}}
"""

NODES = find("Node")

Run = Callable[..., Awaitable[str]]


@asynccontextmanager
async def kubectl(binary: str, home: Path) -> AsyncIterator[Run]:
    """Serve a cluster over TLS, its pods run by a fake kubelet; yield what runs one kubectl command."""
    clock, rng = WallClock(), random.Random(1)
    settings = Settings(disabled_admission=frozenset({"ServiceAccount"}))
    pki = Pki(home / "pki", clock, rng)
    server = Server(MemoryStore(), clock, rng, settings, token_key=pki.token_key)
    listener = Listener(server.handle, settings.max_body_bytes)
    names = server_names(settings.advertise[0], "10.96.0.1", settings.cluster_domain, "127.0.0.1")
    host, port = await listener.listen_tls("127.0.0.1", 0, server_context(pki, names))
    admin = pki.client("admin", "homeport:admin", ("system:masters",))
    write_kubeconfig(home / "kubeconfig", "homeport", f"https://{host}:{port}", pki.ca_pem, admin)
    environment = {**os.environ, "HOME": str(home), "KUBECONFIG": str(home / "kubeconfig")}

    async def run(*arguments: str, stdin: str = "") -> str:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            binary, *arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert process.returncode == 0, f"{arguments}: {output.decode()}"
        return output.decode()

    async with server:
        transport = InProcessTransport(server.handle, ADMIN)
        informers = InformerFactory(RestClient(transport, "controllers"), rng)
        kubelet = FakeKubelet(RestClient(transport, "kubelet"), clock, informers)
        runners = [informers, *everything(lambda name: RestClient(transport, name), clock, informers), kubelet]
        tasks = [asyncio.create_task(runner.run()) for runner in runners]
        await informers.synced()
        await make_node(RestClient(transport, "test"))
        try:
            yield run
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks)
            await listener.close()


async def make_node(client: RestClient) -> None:
    """Make the node the fake kubelet plays, ready from the start."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
    await client.create(NODES, node)
    await client.patch(NODES, None, "node-1", {"spec": {"taints": None}})


@pytest.mark.parametrize("age", BINARIES)
@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment"])
async def test_rollouts_are_followed_undone_and_listed(age, kind, tmp_path):
    if shutil.which(BINARIES[age]) is None:
        pytest.skip(f"{BINARIES[age]} is not installed")
    name = f"{kind.lower()}/web"
    async with kubectl(BINARIES[age], tmp_path) as run:
        await run("apply", "-f", "-", stdin=MANIFEST.format(kind=kind))
        await run("rollout", "status", name, "--timeout=30s")
        await run("set", "image", name, "main=app:2")
        await run("rollout", "status", name, "--timeout=30s")
        assert await images(run) == {"app:2"}
        await run("rollout", "undo", name)
        await run("rollout", "status", name, "--timeout=30s")
        assert await images(run) == {"app:1"}
        assert revisions(await run("rollout", "history", name)) == [2, 3]
        await run("rollout", "undo", name, "--to-revision=2")
        await run("rollout", "restart", name)
        await run("rollout", "status", name, "--timeout=30s")
        assert await images(run) == {"app:2"}
        assert "Normal" in await run("describe", name)
        await run("scale", name, "--replicas=0")
        await run("delete", name)
        assert await run("get", "replicasets,controllerrevisions", "-o", "name") == ""


@pytest.mark.parametrize("age", BINARIES)
async def test_rollouts_of_daemon_sets_too(age, tmp_path):
    if shutil.which(BINARIES[age]) is None:
        pytest.skip(f"{BINARIES[age]} is not installed")
    async with kubectl(BINARIES[age], tmp_path) as run:
        await run("apply", "-f", "-", stdin=MANIFEST.format(kind="DaemonSet").replace("  replicas: 3\n", ""))
        for image in ("app:2", "app:3"):
            await run("set", "image", "ds/web", f"main={image}")
            await run("rollout", "status", "ds/web", "--timeout=30s")
            assert await images(run) == {image}
        await run("rollout", "undo", "ds/web")
        await run("rollout", "status", "ds/web", "--timeout=30s")
        assert await images(run) == {"app:2"}
        assert revisions(await run("rollout", "history", "ds/web")) == [1, 3, 4]


async def images(run: Run) -> set[str]:
    where = "jsonpath={range .items[*]}{.spec.containers[0].image} {end}"
    return set((await run("get", "pods", "-o", where)).split())


def revisions(history: str) -> list[int]:
    words = (line.split() for line in history.splitlines())
    return [int(line[0]) for line in words if line and line[0].isdigit()]
