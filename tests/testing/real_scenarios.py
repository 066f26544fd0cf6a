"""Scenarios of real pods for a process of its own: `python -m tests.testing.real_scenarios NAME`."""

import sys
from pathlib import Path

from homeport.testing.real import RealCluster

MANIFEST = Path(__file__).parent / "manifests" / "real.yaml"


def rootless() -> None:
    """Data written inside and outside is the same, and the agent may be killed."""
    with RealCluster() as cluster:
        cluster.apply(MANIFEST)
        cluster.wait("sts/db", ready=2)
        assert cluster.exec("db-0", ["sh", "-c", "echo inside > /data/file"]).code == 0
        assert cluster.claims["data-db-0"].read("file") == b"inside\n"
        cluster.pods["db-1"].crash()
        cluster.wait("pod/db-1", until=lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
        state = cluster.engine.data.parents[1]
    assert not state.exists()


if __name__ == "__main__":
    {"rootless": rootless}[sys.argv[1]]()
