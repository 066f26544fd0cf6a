"""Looking at a cluster from outside: what must not change, what must be gone."""

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from homeport.node.runtime.state import Records
from tests.e2e.cluster import Cluster

ECHO = Path(__file__).parent / "manifests" / "echo.yaml"
"""Two replicas `echo-0`, `echo-1` that answer with their names, behind the Services `echo` and `echo-peers`."""

_FETCH = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode().strip())
"""


def until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Look again and again until something holds that gives no event; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def identity(cluster: Cluster) -> dict[str, tuple[Any, ...]]:
    """Return what stays the same for pods nobody disturbed: uid, containers, restarts, address."""
    found = {}
    for pod in cluster.objects("pods"):
        containers = [(one["containerID"], one["restartCount"]) for one in pod["status"]["containerStatuses"]]
        found[pod["metadata"]["name"]] = (pod["metadata"]["uid"], containers, pod["status"]["podIP"])
    return found


def pids(cluster: Cluster) -> dict[str, int]:
    """Return the engine's living processes by name, whether the API answers or not."""
    seen = json.loads(cluster.homeport("status", "-o", "json", code=None))
    return {one["name"]: one["pid"] for one in seen["processes"]}


def kill(processes: Iterable[int]) -> None:
    """Kill processes at one moment and return when they have ended."""
    descriptors = [os.pidfd_open(pid) for pid in processes]
    for descriptor in descriptors:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], 10)[0], "a killed process did not end"
        os.close(descriptor)


def fetch(cluster: Cluster, url: str, count: int = 1) -> list[str]:
    """Return the answers to requests made one after another from within the cluster's network."""
    return cluster.inside("python3", "-c", _FETCH, url, str(count)).splitlines()


def serves(cluster: Cluster) -> None:
    """Fail unless the virtual address and the replicas' own names lead to the pods of `ECHO`."""
    assert set(fetch(cluster, "http://echo.default.svc.cluster.local", 3)) <= {"echo-0", "echo-1"}
    for pod in ("echo-0", "echo-1"):
        assert fetch(cluster, f"http://{pod}.echo-peers.default.svc.cluster.local:8080") == [pod]


def traces(data: Path) -> list[str]:
    """Return what refers to a data directory: processes by their command lines, mounts of our namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(data) in words:
                    found.append(f"process {entry.name}: {words}")
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(data) in line]
    return found


def network_namespaces(cluster: Cluster) -> set[str]:
    """Return the network namespaces of the cluster and its pods, seen through the host's process table."""
    here = os.readlink("/proc/self/ns/net")
    found = set()
    for record in Records(cluster.data / "run").sandboxes():
        found.add(_namespace(record.process.pid))
    found.add(_namespace(pids(cluster)["holder"]))
    assert here not in found
    return found


def inhabited(namespaces: set[str]) -> set[str]:
    """Return those of the namespaces that some process is still in."""
    return namespaces & {_namespace(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}


def _namespace(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net")
    return ""
