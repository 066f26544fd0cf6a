"""How a Deployment's ReplicaSets come, grow, shrink and go."""

import random

from tests.conformance.deployment.rollouts import complete, replica_sets, revision_of, template_image
from tests.conformance.workloads import condition, deployment, replicaset, saturated
from tests.conformance.world import World, also_on_real_pods, owner


@also_on_real_pods
def test_rollingupdatedeployment_should_delete_old_pods_and_create_new_ones(world: World) -> None:
    """Deployment RollingUpdateDeployment should delete old pods and create new ones"""
    old, new = world.images
    made = replicaset("test-rolling-update-controller", old, 1, labels={"name": "sample-pod", "pod": "httpd"})
    made["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "3546343826724305832"}
    orphan = world.create(made)
    saturated(world, "rs/test-rolling-update-controller", 1, "name=sample-pod")

    target = "deploy/test-rolling-update-deployment"
    world.create(deployment("test-rolling-update-deployment", new, 1, labels={"name": "sample-pod"}))
    done = complete(world, target)
    assert (revision_of(done), template_image(done)) == ("3546343826724305833", new)
    first, second = replica_sets(world, target)
    assert first["metadata"]["uid"] == orphan["metadata"]["uid"]
    assert (revision_of(second), second["spec"]["replicas"]) == ("3546343826724305833", 1)
    world.until(lambda: len(world.pods("name=sample-pod")) == 1, "the old pod is gone")
    (pod,) = world.pods("name=sample-pod")
    assert pod["spec"]["containers"][0]["image"] == new


@also_on_real_pods
def test_recreatedeployment_should_delete_old_pods_and_create_new_ones(world: World) -> None:
    """Deployment RecreateDeployment should delete old pods and create new ones"""
    old, new = world.images
    target, selector = "deploy/test-recreate-deployment", "name=sample-pod-3"
    made = deployment(
        "test-recreate-deployment", old, 1, labels={"name": "sample-pod-3"}, strategy={"type": "Recreate"}
    )
    world.create(made)
    assert revision_of(complete(world, target)) == "1"
    with world.watching("pods", selector) as log:
        world.patch(target, {"spec": {"template": {"spec": {"containers": [{"name": "webserver", "image": new}]}}}})
        assert revision_of(complete(world, target)) == "2"
        world.until(lambda: "ADDED" in log.kinds(), "the watch shows the new pod")
    before = log.events[: log.kinds().index("ADDED")]
    ended = before[-1].kind == "DELETED" or before[-1].object["status"]["phase"] in ("Succeeded", "Failed")
    assert ended, "no new pod is made while an old one runs"
    assert log.kinds().count("ADDED") == 1


def test_deployment_should_delete_old_replica_sets(world: World) -> None:
    """Deployment deployment should delete old replica sets"""
    old, new = world.images
    labels = {"name": "cleanup-pod", "pod": "httpd"}
    world.create(replicaset("test-cleanup-controller", old, 1, labels=labels))
    saturated(world, "rs/test-cleanup-controller", 1, "name=cleanup-pod")
    with world.watching("pods", "name=cleanup-pod") as log:
        made = deployment("test-cleanup-deployment", new, 1, labels={"name": "cleanup-pod"}, revisionHistoryLimit=0)
        world.create(made)
        complete(world, "deploy/test-cleanup-deployment")
        world.until(lambda: world.find("rs/test-cleanup-controller") is None, "the old ReplicaSet is deleted")
    assert len(replica_sets(world, "deploy/test-cleanup-deployment")) == 1
    added = [event.object for event in log.events if event.kind == "ADDED"]
    assert [pod["spec"]["containers"][0]["image"] for pod in added] == [new], "one pod is made, of the new template"


def test_deployment_should_support_rollover(world: World) -> None:
    """Deployment deployment should support rollover"""
    target, selector = "deploy/test-rollover-deployment", "name=rollover-pod"
    old, new = world.images
    missing = "registry.invalid/no-such-image:1"
    world.fail_image(missing)
    world.create(replicaset("test-rollover-controller", old, 1, labels={"name": "rollover-pod", "pod": "httpd"}))
    saturated(world, "rs/test-rollover-controller", 1, selector)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    world.create(
        deployment(
            "test-rollover-deployment", missing, 1, labels={"name": "rollover-pod"}, strategy=strategy,
            minReadySeconds=10,
        )
    )  # fmt: skip
    world.until(lambda: world.status(target).get("updatedReplicas", 0) >= 1, "the stuck rollout begins")
    stuck = world.observed(target)
    assert (revision_of(stuck), template_image(stuck)) == ("1", missing)
    adopted, second = replica_sets(world, target)
    world.stays(
        lambda: [one["spec"]["replicas"] for one in replica_sets(world, target)] == [1, 1], "both have one pod", 60
    )
    assert adopted["metadata"]["name"] == "test-rollover-controller"

    container = {"name": "webserver", "image": new}
    world.patch(target, {"spec": {"template": {"spec": {"containers": [container]}}}})
    done = complete(world, target)
    assert (revision_of(done), template_image(done)) == ("2", new)
    for name in ("test-rollover-controller", second["metadata"]["name"]):
        world.until(lambda name=name: world.status(f"rs/{name}")["replicas"] == 0, f"{name} has no pods")
        assert world.get(f"rs/{name}")["spec"]["replicas"] == 0


def test_deployment_should_support_proportional_scaling(world: World) -> None:
    """Deployment deployment should support proportional scaling"""
    target = "deploy/webserver-deployment"
    missing = "webserver:404"
    world.fail_image(missing)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}
    made = deployment("webserver-deployment", world.images[0], 10, labels={"name": "httpd"}, strategy=strategy)
    world.create(made)
    complete(world, target)
    world.patch(target, {"spec": {"template": {"spec": {"containers": [{"name": "webserver", "image": missing}]}}}})
    world.observed(target)

    def sizes() -> list[int]:
        return [one["spec"]["replicas"] for one in replica_sets(world, target)]

    world.until(lambda: sizes() == [8, 5], "the rollout is stuck with 8 old and 5 new replicas")

    def counts() -> list[tuple[int, int]]:
        statuses = [one["status"] for one in replica_sets(world, target)]
        return [(one["replicas"], one.get("availableReplicas", 0)) for one in statuses]

    world.until(lambda: counts() == [(8, 8), (5, 0)], "the pods are there, and the new ones not available")
    world.until(lambda: world.status(target)["availableReplicas"] == 8, "the Deployment counts 8 available")
    world.scale(target, 30)
    world.until(lambda: sizes() == [20, 13], "both grow by their share")
    world.stays(lambda: sizes() == [20, 13], "their sizes stay", 60)


def test_iterative_rollouts_should_eventually_progress(world: World) -> None:
    """Deployment iterative rollouts should eventually progress"""
    target, selector, chance = "deploy/webserver", "name=httpd", random.Random(20)
    world.create(
        deployment(
            "webserver", world.images[0], 6, labels={"name": "httpd"}, progressDeadlineSeconds=300,
            revisionHistoryLimit=2,
        )
    )  # fmt: skip

    def resized(replicas: int) -> int:
        drawn = chance.random()
        if drawn < 0.3:
            return replicas + 1
        return replicas - 1 if drawn < 0.6 and replicas > 1 else replicas

    for number in range(20):
        if (share := chance.random()) < 0.6:
            world.pass_time(number * share)
        drawn, now = chance.random(), world.get(target)
        replicas = resized(now["spec"]["replicas"])
        if drawn < 0.2:
            variable = {"name": f"A{number}", "value": str(number)}
            container = {"name": "webserver", "env": [variable]}
            template = {"spec": {"containers": [container]}}
            world.patch(target, {"spec": {"replicas": replicas, "template": template}})
        elif drawn < 0.4:
            world.patch(target, {"metadata": {"annotations": {"deprecated.deployment.rollback.to": "0"}}})
        elif drawn < 0.6:
            world.patch(target, {"spec": {"replicas": replicas}})
        elif drawn < 0.8:
            world.patch(target, {"spec": {"paused": not now["spec"].get("paused", False), "replicas": replicas}})
        else:
            for pod in world.pods(selector):
                if chance.random() >= 0.5:
                    world.delete(f"pod/{pod['metadata']['name']}")
    world.patch(target, {"spec": {"paused": False}})
    world.observed(target)
    done = complete(world, target)
    world.until(
        lambda: (condition(world.get(target), "Progressing") or {}).get("reason") == "NewReplicaSetAvailable",
        "the Deployment says that it progressed",
    )
    saturated(world, target, done["spec"]["replicas"], selector)
    world.until(lambda: len(replica_sets(world, target)) <= 3, "no more than two old ReplicaSets are kept")


@also_on_real_pods
def test_deployment_reaping_should_cascade_to_its_replica_sets_and_pods(world: World) -> None:
    """Deployment deployment reaping should cascade to its replica sets and pods"""
    target, selector = "deploy/test-new-deployment", "name=httpd"
    made = deployment("test-new-deployment", world.images[0], 1, labels={"name": "httpd"})
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    made["metadata"]["annotations"] = {"test": "should-copy-to-replica-set", applied: "should-not-copy-to-replica-set"}
    world.create(made)
    assert revision_of(complete(world, target)) == "1"
    (one,) = replica_sets(world, target)
    assert one["metadata"]["annotations"]["test"] == "should-copy-to-replica-set"
    assert applied not in one["metadata"]["annotations"]
    world.delete(target)
    assert world.find(target) is None
    world.until(lambda: not world.items("rs", selector), "the ReplicaSet is deleted")
    world.until(lambda: not world.pods(selector), "the pods are deleted")


def test_test_deployment_replicaset_orphaning_and_adoption_regarding_controllerref(world: World) -> None:
    """Deployment test Deployment ReplicaSet orphaning and adoption regarding controllerRef"""
    target = "deploy/test-orphan-deployment"
    world.create(deployment("test-orphan-deployment", world.images[0], 1, labels={"name": "httpd"}))
    complete(world, target)
    (first,) = world.items("rs", "name=httpd")
    assert (owner(first) or ())[:2] == ("Deployment", "test-orphan-deployment")

    world.delete(target, propagation="Orphan")
    world.until(lambda: owner(world.items("rs", "name=httpd")[0]) is None, "the ReplicaSet is an orphan")
    world.until(lambda: world.find(target) is None, "the Deployment is gone")

    created = world.create(deployment("test-adopt-deployment", world.images[0], 1, labels={"name": "httpd"}))
    complete(world, "deploy/test-adopt-deployment")
    mine = ("Deployment", "test-adopt-deployment", created["metadata"]["uid"])
    (only,) = world.items("rs", "name=httpd")
    assert (owner(only), only["metadata"]["uid"]) == (mine, first["metadata"]["uid"])
