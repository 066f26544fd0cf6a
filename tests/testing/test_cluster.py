"""The simulated cluster as tests of applications use it."""

from pathlib import Path

import pytest

from homeport.testing.behaviour import Ending, Start
from homeport.testing.cluster import SimulatedCluster, WaitedTooLong

MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


def test_rollout_waits_for_quorum(db: SimulatedCluster) -> None:
    db.pods["db-2"].fail_probe("readiness")
    db.patch("statefulset/db", image="db:2")
    db.advance(minutes=30)
    assert db.pods["db-0"].image == "db:1"
    db.pods["db-2"].recover_probe("readiness")
    db.wait("statefulset/db")
    assert [pod.image for pod in db.pods] == ["db:2"] * 3


def test_a_failing_readiness_probe_is_not_a_failing_liveness_probe(db: SimulatedCluster) -> None:
    db.pods["db-1"].fail_probe("readiness")
    db.advance(minutes=5)
    assert not db.pods["db-1"].ready
    assert db.pods["db-1"].restarts == 0
    db.pods["db-1"].fail_probe("liveness")
    db.advance(minutes=5)
    assert db.pods["db-1"].restarts > 0
    assert any(event.reason == "Unhealthy" for event in db.events("pod/db-1"))


def test_names_lead_to_the_pods_that_bear_them(db: SimulatedCluster) -> None:
    assert db.resolve("db-1.db") == (db.pods["db-1"].ip,)
    assert set(db.resolve("db")) == {pod.ip for pod in db.pods}
    assert db.resolve("db-9.db") == ()
    assert db.endpoints("db-read") == tuple(sorted(f"{pod.ip}:5432" for pod in db.pods))
    db.pods["db-1"].fail_probe("readiness")
    db.wait("statefulset/db", ready=2)
    db.advance(seconds=1)
    assert db.resolve("db-1.db") == ()
    assert f"{db.pods['db-1'].ip}:5432" not in db.endpoints("db-read")


def test_a_crash_restarts_the_container_and_keeps_the_pod(db: SimulatedCluster) -> None:
    before = db.pods["db-0"].uid
    db.pods["db-0"].crash(code=3)
    db.advance(minutes=1)
    db.pods["db-0"].run_out_of_memory()
    db.settle()
    pod = db.pods["db-0"]
    assert (pod.uid, pod.restarts, pod.ready) == (before, 2, True)
    last = pod.object["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)


def test_a_pod_of_a_lost_node_keeps_its_name_until_the_node_returns(db: SimulatedCluster) -> None:
    node = db.nodes[db.pods["db-0"].node]
    before = db.pods["db-0"].uid
    node.lose()
    db.advance(minutes=30)
    assert not node.ready
    assert db.pods["db-0"].uid == before
    assert "deletionTimestamp" in db.pods["db-0"].object["metadata"]
    node.start()
    db.wait("statefulset/db", ready=3)
    assert db.pods["db-0"].uid != before


def test_a_cut_node_goes_on_running_its_pods(db: SimulatedCluster) -> None:
    node = db.nodes[db.pods["db-0"].node]
    before = db.pods["db-0"].uid
    node.cut()
    db.advance(minutes=2)
    assert not node.ready
    assert not db.pods["db-0"].ready
    node.join()
    db.wait("statefulset/db", ready=3)
    assert (db.pods["db-0"].uid, db.pods["db-0"].restarts) == (before, 0)


def test_an_image_that_cannot_be_pulled_holds_the_rollout_back(db: SimulatedCluster) -> None:
    db.fail_image("db:2")
    db.patch("sts/db", image="db:2")
    db.advance(minutes=10)
    assert [pod.image for pod in db.pods] == ["db:1", "db:1", "db:2"]
    assert any(event.reason == "Failed" for event in db.events("pod/db-2"))
    db.restore_image("db:2")
    db.wait("sts/db")
    assert {pod.image for pod in db.pods} == {"db:2"}


def test_a_program_that_starts_slowly_is_ready_late(db: SimulatedCluster) -> None:
    db.pods["db-2"].slow_start(20)
    db.pods["db-2"].delete()
    db.wait("statefulset/db", ready=2)
    began = db.now
    db.wait("statefulset/db", ready=3)
    assert 20 <= db.now - began < 60


@pytest.mark.parametrize("trouble", ["conflict", "too-many-requests", "error", "time-out", "lost-answer"])
def test_refused_requests_delay_and_change_nothing(cluster: SimulatedCluster, trouble: str) -> None:
    cluster.fail_requests(trouble, chance=0.3, count=60)
    cluster.apply(MANIFEST)
    cluster.wait("statefulset/db", ready=3, timeout=3600)
    cluster.heal()
    cluster.settle()
    assert sorted(pod.name for pod in cluster.pods) == ["db-0", "db-1", "db-2"]
    assert len(cluster.list("pvc")) == 3


def test_restarted_controllers_and_broken_watches_go_on_where_they_were(db: SimulatedCluster) -> None:
    db.scale("statefulset/db", 5)
    db.restart_controllers()
    db.drop_watches()
    db.wait("statefulset/db", ready=5)
    db.expire_watches()
    db.scale("statefulset/db", 1)
    db.nodes["node-1"].kill_agent()
    db.advance(seconds=3)
    db.nodes["node-1"].start()
    db.wait("statefulset/db", ready=1)
    db.settle()
    assert [pod.name for pod in db.pods] == ["db-0"]
    assert len(db.list("pvc")) == 5


def test_a_set_held_by_claims_on_their_way_out_goes_on_when_it_is_touched(cluster: SimulatedCluster) -> None:
    cluster.apply(MANIFEST)
    policy = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}
    cluster.patch("statefulset/db", {"spec": policy})
    cluster.wait("statefulset/db", ready=3)
    node = cluster.nodes[cluster.pods["db-0"].node]
    node.lose()
    cluster.scale("statefulset/db", 0)
    cluster.advance(minutes=8)
    cluster.scale("statefulset/db", 2)
    node.start()
    cluster.settle()
    cluster.patch("statefulset/db", {"metadata": {"annotations": {"touched": "once"}}})
    cluster.wait("statefulset/db", ready=2)


def test_logs_are_what_programs_printed(db: SimulatedCluster) -> None:
    db.pods["db-0"].prints("listening on 5432")
    db.pods["db-0"].delete()
    db.advance(seconds=10)
    db.wait("statefulset/db", ready=3)
    assert db.logs("db-0") == "listening on 5432\n"


def test_a_snapshot_can_be_returned_to(db: SimulatedCluster) -> None:
    saved, before = db.snapshot(), {pod.name: pod.uid for pod in db.pods}
    for _ in range(2):
        db.delete("statefulset/db")
        db.settle()
        assert not list(db.pods)
        db.restore(saved)
        db.settle()
        assert {pod.name: pod.uid for pod in db.pods} == before
        assert all(pod.restarts == 0 and pod.ready for pod in db.pods)
        assert db.resolve("db-0.db") == (db.pods["db-0"].ip,)


def test_equal_seeds_give_equal_histories() -> None:
    def history(seed: int) -> str:
        cluster = SimulatedCluster(seed=seed)
        cluster.apply(MANIFEST)
        cluster.wait("statefulset/db", ready=3)
        cluster.nodes["node-1"].lose()
        cluster.advance(minutes=10)
        cluster.nodes["node-1"].start()
        cluster.settle()
        found = cluster.history()
        cluster.close()
        return found

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_waiting_in_vain_says_for_what(db: SimulatedCluster) -> None:
    db.pods["db-2"].fail_probe("readiness")
    db.advance(minutes=1)
    with pytest.raises(WaitedTooLong, match="statefulset/db is not ready=3 after 600 s: 2 ready; it waits for"):
        db.wait("statefulset/db", ready=3)


def test_what_cannot_be_is_refused_in_words(db: SimulatedCluster) -> None:
    with pytest.raises(ValueError, match="pod db-0 has no startupProbe"):
        db.pods["db-0"].fail_probe("startup")
    with pytest.raises(ValueError, match="is no kind of probe"):
        db.pods["db-0"].fail_probe("health")
    with pytest.raises(ValueError, match="write kind/name"):
        db.get("db")
    with pytest.raises(ValueError, match="trouble 'nonsense' is not known"):
        db.fail_requests("nonsense")
    with pytest.raises(KeyError, match="node-7; there are node-1, node-2"):
        db.nodes["node-7"]


def test_the_story_is_readable(db: SimulatedCluster) -> None:
    db.pods["db-0"].crash(code=3)
    db.settle()
    story = db.story()
    assert "→ db-0 crashes with exit code 3" in story
    assert "statefulset/db created (replicas=3, db:1, ready=0)" in story
    assert "restarts=1" in story


def test_programs_of_an_image_end_as_told_also_after_a_restore(cluster: SimulatedCluster) -> None:
    starts: list[Start] = []

    def ends(start: Start) -> Ending | None:
        starts.append(start)
        return Ending(5, code=0 if start.attempt else 3)

    cluster.program("once:1", ends)
    before = cluster.snapshot()
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}}
    container = {"name": "c", "image": "once:1", "command": ["run"], "env": [{"name": "A", "value": "b"}]}
    for _ in range(2):
        cluster.restore(before)
        cluster.apply({**pod, "spec": {"restartPolicy": "OnFailure", "containers": [container]}})
        cluster.wait("pod/one", until=lambda one: (one.get("status") or {}).get("phase") == "Succeeded")
        assert cluster.pods["one"].restarts == 1
    assert [(one.command, one.environment["A"], one.attempt) for one in starts] == [
        (("run",), "b", attempt) for attempt in (0, 1, 0, 1)
    ]


def test_a_pod_can_be_the_first_thing(cluster: SimulatedCluster) -> None:
    container = {"name": "c", "image": "a"}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}})
    cluster.wait("pod/p")
