"""ReplicationController: the elder ReplicaSet."""

from tests.conformance.workloads import bare_pod, exceeds_its_quota, replicationcontroller, saturated
from tests.conformance.world import World, owner

RC = "rc/test-rc"


def test_should_adopt_matching_pods_on_creation(world: World) -> None:
    """ReplicationController should adopt matching pods on creation"""
    labels = {"name": "pod-adoption"}
    pod = world.create(bare_pod("pod-adoption", world.images[0], labels))
    world.until(lambda: world.ready("pod-adoption"), "the pod runs")
    created = world.create(replicationcontroller("test-rc", world.images[0], 1, labels=labels))
    mine = ("ReplicationController", "test-rc", created["metadata"]["uid"])
    world.until(lambda: owner(world.get("pod/pod-adoption")) == mine, "the orphan is adopted")
    (adopted,) = saturated(world, RC, 1, "name=pod-adoption")
    assert adopted["metadata"]["uid"] == pod["metadata"]["uid"]


def test_should_release_no_longer_matching_pods(world: World) -> None:
    """ReplicationController should release no longer matching pods"""
    labels = {"name": "pod-release"}
    world.create(replicationcontroller("test-rc", world.images[0], 1, labels=labels))
    (pod,) = saturated(world, RC, 1, "name=pod-release")
    target = f"pod/{pod['metadata']['name']}"
    world.change(target, lambda tree: tree["metadata"].update(labels={"name": "not-matching-name"}))
    world.until(lambda: owner(world.get(target)) is None, "the pod is released")
    (replacement,) = saturated(world, RC, 1, "name=pod-release")
    assert replacement["metadata"]["uid"] != pod["metadata"]["uid"]


def test_should_get_and_update_a_replicationcontroller_scale(world: World) -> None:
    """ReplicationController should get and update a ReplicationController scale"""
    world.create(replicationcontroller("test-rc", world.images[0], 1, labels={"name": "e2e-rc"}))
    world.until(lambda: world.status(RC).get("replicas") == 1, "one replica is counted")
    scale = world.get(RC, "scale")
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == ("Scale", 1, 1)
    metadata = {key: value for key, value in scale["metadata"].items() if key != "resourceVersion"}
    world.put(RC, {**scale, "metadata": metadata, "spec": {"replicas": 2}}, "scale")
    world.until(lambda: world.status(RC).get("replicas") == 2, "two replicas are counted")
    saturated(world, RC, 2, "name=e2e-rc")


def test_should_surface_a_failure_condition_on_a_common_issue_like_exceeded_quota(world: World) -> None:
    """ReplicationController should surface a failure condition on a common issue like exceeded quota"""
    exceeds_its_quota(world, replicationcontroller("test-rc", world.images[0], 3, labels={"name": "refused"}), RC)


def test_should_test_the_lifecycle_of_a_replicationcontroller(world: World) -> None:
    """ReplicationController should test the lifecycle of a ReplicationController"""
    labels = {"test-rc-static": "true"}
    with world.watching("rc", "test-rc-static=true") as log:
        world.create(replicationcontroller("test-rc", world.images[0], 1, labels=labels))
        world.until(lambda: log.names("ADDED") == ["test-rc"], "the watch shows the new controller")

        def shown(count: int) -> bool:
            return any(
                (tree["status"].get("replicas"), tree["status"].get("readyReplicas")) == (count, count)
                for tree in log.objects()
            )

        world.until(lambda: shown(1), "the watch shows it ready")
        patched = world.patch(RC, {"metadata": {"labels": {"test-rc": "patched"}}})
        assert patched["metadata"]["labels"]["test-rc"] == "patched"
        world.until(lambda: "patched" in str(log.objects()[-1]["metadata"]["labels"]), "the watch shows the label")

        counts = {"status": {"readyReplicas": 0, "availableReplicas": 0}}
        seen = len(log.events)
        assert world.patch(RC, counts, subresource="status")["status"].get("readyReplicas", 0) == 0
        world.until(lambda: "MODIFIED" in log.kinds()[seen:], "the watch shows the patched status")
        world.until(lambda: world.get(RC, "status")["status"].get("readyReplicas") == 1, "the controller counts anew")
        assert world.get(RC, "status")["status"]["replicas"] == 1

        world.patch(RC, {"spec": {"replicas": 2}}, subresource="scale")
        world.until(lambda: shown(2), "the watch shows two ready pods")
        assert world.get(RC)["metadata"]["labels"]["test-rc"] == "patched"

        seen = len(log.events)
        world.change(RC, lambda tree: tree["status"].update(readyReplicas=1, availableReplicas=1), "status")
        world.until(lambda: "MODIFIED" in log.kinds()[seen:], "the watch shows the written status")
        listed = world.items("rc", "test-rc-static=true", everywhere=True)
        assert [one["metadata"]["labels"] for one in listed] == [{**labels, "test-rc": "patched"}]
        world.delete_collection("rc", "test-rc-static=true")
        world.until(lambda: log.names("DELETED") == ["test-rc"], "the watch shows the end")
