"""Snapshots, forks and files of snapshots: one moment, many ways on."""

import subprocess
import sys
from pathlib import Path

import pytest

from homeport.errors import NotFound
from homeport.testing.behaviour import Ending
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.snapshot import Snapshot, SnapshotError

MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


@pytest.fixture
def kept(db: SimulatedCluster) -> SimulatedCluster:
    """The database with data in a claim."""
    db.claims["data-db-0"].write("rows/1", b"first")
    return db


def uids(cluster: SimulatedCluster) -> dict[str, str]:
    return {pod.name: pod.uid for pod in cluster.pods}


def test_a_fork_begins_as_the_original_is_and_goes_its_own_way(kept: SimulatedCluster) -> None:
    before, now = uids(kept), kept.now
    with kept.fork() as other:
        assert (uids(other), other.now) == (before, now)
        assert other.claims["data-db-0"].read("rows/1") == b"first"
        assert other.resolve("db-0.db") == kept.resolve("db-0.db")
        other.claims["data-db-0"].write("rows/1", b"changed")
        other.scale("sts/db", 1)
        other.settle()
        kept.scale("sts/db", 4)
        kept.wait("sts/db", ready=4)
        assert [pod.name for pod in other.pods] == ["db-0"]
        assert len(kept.pods) == 4
        assert kept.claims["data-db-0"].read("rows/1") == b"first"
        assert kept.claims["data-db-0"].directory != other.claims["data-db-0"].directory
        assert other.claims["data-db-0"].directory.is_dir()


def test_forks_that_are_treated_alike_fare_alike(kept: SimulatedCluster) -> None:
    def fare(cluster: SimulatedCluster) -> str:
        cluster.pods["db-1"].crash()
        cluster.nodes["node-1"].lose()
        cluster.advance(minutes=10)
        return cluster.history()

    with kept.fork() as one, kept.fork() as two:
        assert fare(one) == fare(two)


def test_no_path_leaks_into_a_fork(kept: SimulatedCluster) -> None:
    kept.pods["db-0"].prints("hello")
    kept.pods["db-0"].crash()
    kept.advance(minutes=1)
    with kept.fork() as other:
        root = str(kept.simulation.directory)
        saved = other.snapshot()
        assert root not in repr(saved)
        assert not [path for path, entry in saved.files.items() if root.encode() in getattr(entry, "content", b"")]
        assert other.logs("db-0") == "hello\n"


def test_faults_are_part_of_a_world(kept: SimulatedCluster) -> None:
    kept.fail_image("db:2")
    kept.nodes["node-2"].cut()
    kept.pods["db-0"].fail_probe("readiness")
    with kept.fork() as other:
        other.advance(minutes=5)
        assert not other.nodes["node-2"].ready
        assert not other.pods["db-0"].ready
        other.nodes["node-2"].join()
        other.advance(minutes=1)
        assert other.nodes["node-2"].ready
        assert kept.nodes["node-2"].ready  # its hour has not come


def test_frozen_names_are_those_of_the_snapshot(kept: SimulatedCluster) -> None:
    kept.freeze_names()
    kept.fail_requests("error", component="dns", method="GET")
    with kept.fork() as other:
        before = other.resolve("db-0.db")
        assert before == (kept.pods["db-0"].ip,)
        other.pods["db-0"].delete()
        other.settle()
        assert other.pods["db-0"].ip not in before
        assert other.resolve("db-0.db") == before
        other.heal()
        other.restore_names()
        other.settle()
        assert other.resolve("db-0.db") == (other.pods["db-0"].ip,)


def test_a_world_whose_engine_died_in_the_middle_of_a_write_can_be_left(kept: SimulatedCluster) -> None:
    saved = kept.snapshot()
    kept.stall_store()
    kept.nodes["node-1"].lose()
    kept.advance(minutes=2)
    kept.kill_engine()
    kept.restore(saved)
    assert all(pod.ready for pod in kept.pods)


def test_a_snapshot_serves_other_clusters(kept: SimulatedCluster) -> None:
    saved = kept.snapshot()
    elsewhere = SimulatedCluster(seed=9, nodes=1)
    elsewhere.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "left-behind"}})
    elsewhere.restore(saved)
    assert uids(elsewhere) == uids(kept)
    assert [node.name for node in elsewhere.nodes] == ["node-1", "node-2"]
    assert elsewhere.find("ns/left-behind") is None
    elsewhere.pods["db-2"].delete()
    elsewhere.settle()
    assert all(pod.ready for pod in elsewhere.pods)
    elsewhere.close()


def test_a_snapshot_can_be_kept_in_a_file(kept: SimulatedCluster, tmp_path: Path) -> None:
    kept.program("sums:1", Ending(after=30))
    kept.fail_image("db:9")
    kept.snapshot().save(tmp_path / "db.snapshot")
    script = f"""
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.snapshot import Snapshot
with SimulatedCluster(start=Snapshot.load({str(tmp_path / "db.snapshot")!r})) as cluster:
    cluster.settle()
    print(*(pod.uid for pod in cluster.pods), cluster.claims["data-db-0"].read("rows/1").decode())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*uids(kept).values(), "first"]


def test_what_cannot_be_kept_in_a_file_is_said(kept: SimulatedCluster, tmp_path: Path) -> None:
    kept.pods["db-0"].on_exec(["psql"], lambda command, stdin: "")
    with pytest.raises(SnapshotError, match="a function that cannot be written"):
        kept.snapshot().save(tmp_path / "db.snapshot")
    (tmp_path / "other").write_text("text")
    with pytest.raises(SnapshotError, match="is no snapshot"):
        Snapshot.load(tmp_path / "other")


def test_claims_data_survives_what_pods_do_not(kept: SimulatedCluster) -> None:
    claim = kept.claims["data-db-0"]
    kept.pods["db-0"].delete()
    kept.wait("sts/db", ready=2)
    kept.wait("sts/db", ready=3)
    assert claim.read("rows/1") == b"first"
    assert claim.files() == ["rows/1"]
    assert (claim.phase, claim.volume) == ("Bound", claim.object["spec"]["volumeName"])
    claim.remove("rows/1")
    assert claim.files() == []
    with pytest.raises(ValueError, match="lies outside claim data-db-0"):
        claim.read("../../secret")
    with pytest.raises(NotFound, match="nobody"):
        kept.claims["nobody"].read("x")


def test_commands_answer_as_told(kept: SimulatedCluster) -> None:
    pod, claim = kept.pods["db-0"], kept.claims["data-db-0"]
    pod.on_exec(["psql"], "psql (17)\n")
    pod.on_exec(["psql", "-c"], lambda command, stdin: claim.read("rows/1"))
    pod.on_exec(["tee"], lambda command, stdin: stdin, code=1, errors="disk full")
    assert pod.exec(["psql", "--version"]).output == "psql (17)\n"
    assert pod.exec(["psql", "-c", "select"]).output == "first"
    done = kept.exec("db-0", ["tee", "x"], stdin="text")
    assert (done.code, done.output, done.errors) == (1, "text", "disk full")
    pod.delete()
    kept.advance(minutes=1)
    assert pod.exec(["psql"]).code == 0
    with pytest.raises(ValueError, match='"ls": executable file not found'):
        pod.exec(["ls"])
    with pytest.raises(ValueError, match="a command is a list of words"):
        pod.exec("ls")
