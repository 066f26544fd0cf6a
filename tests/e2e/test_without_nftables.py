"""A host without nftables: Services are balanced in user space, and all that is told says so."""

import ctypes.util
import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

from tests.e2e.cluster import Make
from tests.e2e.observe import ECHO, fetch


def hidden() -> list[Path]:
    """Return the files that make a host have nftables."""
    command = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
    libraries = [path.resolve() for path in Path("/usr/lib").glob("**/libnftables.so.1")]
    return [*libraries, *([Path(command).resolve()] if command else [])]


def test_connections_are_joined_and_counted(make_cluster: Make) -> None:
    if os.geteuid() != 0:
        pytest.skip("hides a library by a mount of its own: needs root")
    found = hidden()
    if ctypes.util.find_library("nftables") and not found:
        pytest.skip("nftables cannot be hidden here")
    cluster = make_cluster("without-nftables")
    mounts = "; ".join(f"mount --bind /dev/null {path}" for path in found) or "true"
    words = shlex.join(cluster.command("up", "-f", str(ECHO)))
    done = cluster.run(["unshare", "--mount", "sh", "-c", f"set -e; {mounts}; exec {words}"])
    assert "nftables: " in done.stderr
    assert cluster.status()["balancing"]["means"] == "userspace"
    assert set(fetch(cluster, "http://echo", 20)) == {"echo-0", "echo-1"}
    (total,) = json.loads(cluster.homeport("top", "svc", "echo", "-o", "json"))["services"]
    assert total == {"namespace": "default", "service": "echo", "live": 0, "picks": 20}
    assert "proxy: joins connections itself" in cluster.homeport("why", "conn", "echo-0", "echo")
