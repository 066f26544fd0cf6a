"""Real containers, as root and as an ordinary user; every scenario ends with nothing left on the machine."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import uvloop
import zstandard

import homeport
from homeport.node.holder_client import HolderClient
from homeport.node.namespaces import find_holder, wait_for_end
from homeport.node.runtime.state import living_containers, living_sandboxes
from tests.node.images.building import busybox_archives

pytestmark = pytest.mark.real

NOBODY = 65534


@pytest.fixture(scope="module")
def code() -> Iterator[Path]:
    """The engine and the scenarios where any user can read them."""
    directory = Path(tempfile.mkdtemp(prefix="homeport-code-"))
    directory.chmod(0o755)
    for module in (homeport, msgspec, uvloop, zstandard):
        assert module.__file__ is not None
        package = Path(module.__file__).parent
        shutil.copytree(package, directory / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("inside.py", "scenarios.py"):
        shutil.copy(Path(__file__).parent / name, directory)
    yield directory
    shutil.rmtree(directory)


@dataclass
class Cluster:
    data: Path
    code: Path
    uid: int
    tool: str = "crun"

    def run(self, scenario: str) -> subprocess.CompletedProcess[str]:
        drop = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"] if self.uid else []
        return subprocess.run(
            [
                *drop,
                os.path.realpath(sys.executable),
                "-W",
                "error",
                str(self.code / "inside.py"),
                str(self.data),
                scenario,
            ],
            env={
                "PATH": os.environ["PATH"],
                "RUNTIME": self.tool,
                "PYTHONPATH": str(self.code),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd="/",
            text=True,
            capture_output=True,
            timeout=100,
            check=False,
        )

    def passes(self, scenario: str) -> None:
        done = self.run(scenario)
        log = self.data / "logs" / "holder.log"
        assert done.returncode == 0, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
        told = [line for line in done.stderr.splitlines() if "unless your distribution has mended it" not in line]
        assert told == []  # but for a remark about the age of the runtime

    def kill_holder(self) -> None:
        holder = find_holder(self.data / "run")
        assert holder is not None
        os.kill(holder.pid, signal.SIGKILL)
        wait_for_end(holder.pid)


@pytest.fixture(params=[0, NOBODY], ids=["root", "nobody"])
def cluster(request: pytest.FixtureRequest, code: Path) -> Iterator[Cluster]:
    data = Path(tempfile.mkdtemp(prefix="homeport-"))
    if request.param:
        os.chown(data, request.param, request.param)
    yield Cluster(data, code, request.param)
    asyncio.run(stop(data))
    assert str(data) not in Path("/proc/self/mountinfo").read_text()
    assert processes_about(str(data)) == []
    shutil.rmtree(data)


async def stop(data: Path) -> None:
    run = data / "run"
    for pid in (*living_containers(run), *living_sandboxes(run)):
        os.kill(pid, signal.SIGKILL)
    holder = find_holder(data / "run")
    if holder is not None:
        client = HolderClient(lambda _: None, lambda: None)
        client.connect(data / "run")
        await client.stop()
        client.close()
        wait_for_end(holder.pid)


def processes_about(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


@pytest.mark.parametrize(
    "scenario",
    [
        "output_and_exit_codes", "failures_say_why", "commands_beside", "terminal", "nginx_in_place_of_its_image",
        "isolation", "memory_limit", "shared_processes", "keeper_dies", "attached",
    ],
)  # fmt: skip
def test_inside(cluster: Cluster, scenario: str) -> None:
    cluster.passes(scenario)


@pytest.mark.parametrize(
    "scenario",
    ["output_and_exit_codes", "failures_say_why", "commands_beside", "isolation", "memory_limit", "attached"],
)
def test_inside_with_runc(cluster: Cluster, scenario: str) -> None:
    cluster.tool = "runc"
    cluster.passes(scenario)


def test_images_from_archives(cluster: Cluster) -> None:
    busybox_archives(cluster.data / "archives")
    cluster.passes("archives")


def test_a_killed_agent_is_succeeded_without_loss(cluster: Cluster) -> None:
    assert cluster.run("die_with_pods").returncode == -signal.SIGKILL
    (cluster.data / "end").touch()
    cluster.passes("adopt")


def test_pods_are_found_again_when_the_keeper_died_as_well(cluster: Cluster) -> None:
    assert cluster.run("die_with_pods").returncode == -signal.SIGKILL
    cluster.kill_holder()
    cluster.passes("adopt_after_the_keeper_died_too")
