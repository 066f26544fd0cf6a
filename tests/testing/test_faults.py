"""Faults of the simulated cluster that ordinary tests reach through the fixture's calls."""

from pathlib import Path

import pytest

from homeport.errors import Timeout
from homeport.testing.cluster import SimulatedCluster
from homeport.testing.names import ServerFailure

MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


def up(homeport: SimulatedCluster) -> None:
    homeport.apply(MANIFEST)
    homeport.wait("sts/db", ready=3)
    homeport.settle()


def test_a_killed_engine_answers_nobody_while_pods_and_names_go_on(homeport: SimulatedCluster) -> None:
    up(homeport)
    uids = [pod.uid for pod in homeport.pods]
    homeport.kill_engine()
    with pytest.raises(OSError, match="nobody serves"):
        homeport.scale("sts/db", 1)
    assert len(homeport.resolve("db")) == 3
    homeport.advance(minutes=2)
    homeport.start_engine()
    homeport.advance(minutes=5)
    assert [pod.uid for pod in homeport.pods] == uids
    homeport.scale("sts/db", 2)
    homeport.wait("sts/db", ready=2)


def test_what_is_not_durable_is_lost_with_the_engine_and_revisions_go_on(homeport: SimulatedCluster) -> None:
    up(homeport)
    homeport.stall_store()
    with pytest.raises(Timeout):
        homeport.scale("sts/db", 1)
    assert homeport.get("sts/db")["spec"]["replicas"] == 3
    homeport.kill_engine()
    homeport.start_engine()
    homeport.settle()
    assert homeport.get("sts/db")["spec"]["replicas"] == 3
    versions = [int(line.what.revision) for line in homeport.simulation.story.moments if not isinstance(line.what, str)]
    assert versions == sorted(set(versions))


def test_a_stalled_store_does_late_what_it_was_asked(homeport: SimulatedCluster) -> None:
    up(homeport)
    homeport.stall_store()
    homeport.pods["db-0"].crash()
    homeport.advance(seconds=20)
    assert homeport.pods["db-0"].ready  # nobody could write that it is not
    homeport.resume_store()
    homeport.wait("pod/db-0", until=lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)
    homeport.wait("sts/db", ready=3)


def test_frozen_names_are_stale_and_failing_ones_fail(homeport: SimulatedCluster) -> None:
    up(homeport)
    before = homeport.resolve("db-0.db")
    homeport.freeze_names()
    homeport.pods["db-0"].delete()
    homeport.wait("pod/db-0", gone=True)
    homeport.wait("sts/db", ready=3)
    assert homeport.resolve("db-0.db") == before != (homeport.pods["db-0"].ip,)
    homeport.fail_names()
    with pytest.raises(ServerFailure):
        homeport.resolve("db-0.db")
    homeport.restore_names()
    homeport.settle()
    assert homeport.resolve("db-0.db") == (homeport.pods["db-0"].ip,)


def test_parted_pods_do_not_reach_each_other_and_the_lonely_one_is_not_ready(homeport: SimulatedCluster) -> None:
    up(homeport)
    assert homeport.reached("db-0", "db-2.db") == ("default/db-2",)
    assert homeport.reached("db-0", "db-read") == ("default/db-0", "default/db-1", "default/db-2")
    homeport.part("db-2", "db-0")
    assert homeport.reached("db-0", "db-2.db") == ()
    assert homeport.reached("db-1", "db-2.db") == ("default/db-2",)
    homeport.settle()
    assert all(pod.ready for pod in homeport.pods)  # each still hears half of the others
    homeport.part("db-2", "db-1")
    homeport.wait("sts/db", ready=2)
    assert not homeport.pods["db-2"].ready
    assert homeport.reached("db-0", "db-read") == ("default/db-0", "default/db-1")
    homeport.heal()
    homeport.wait("sts/db", ready=3)


def test_a_node_that_was_taken_for_lost_is_ready_within_seconds_of_its_return(homeport: SimulatedCluster) -> None:
    up(homeport)
    homeport.advance(minutes=1)
    homeport.nodes["node-1"].cut()
    homeport.advance(minutes=2)
    assert not homeport.nodes["node-1"].ready
    homeport.nodes["node-1"].join()
    homeport.advance(seconds=15)  # its next heartbeat, not its next report of five minutes
    assert homeport.nodes["node-1"].ready
