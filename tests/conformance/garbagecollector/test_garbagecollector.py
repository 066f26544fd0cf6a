"""Garbage collection: tests named after upstream's."""

from tests.conformance.programs import RUN, container
from tests.conformance.steps import Tree, eventually, gone, pass_time, reference, settle, wait
from tests.conformance.world import World, also_on_real_pods

POD = {"terminationGracePeriodSeconds": 0, "containers": [container(RUN)]}


def controller(kind: str, name: str, replicas: int = 2, **labels: str) -> Tree:
    labels = labels or {"type": name}
    template = {"metadata": {"labels": labels}, "spec": POD}
    plain = kind == "ReplicationController"
    spec = {"replicas": replicas, "selector": labels if plain else {"matchLabels": labels}, "template": template}
    version = "v1" if plain else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def rc(world: World, name: str = "simpletest", replicas: int = 2) -> None:
    world.create(controller("ReplicationController", name, replicas))
    wait(world, f"rc/{name}", lambda tree: (tree.get("status") or {}).get("replicas") == replicas)


@also_on_real_pods
def test_should_delete_pods_created_by_rc_when_not_orphaning(world: World) -> None:
    """Garbage collector should delete pods created by rc when not orphaning"""
    rc(world)
    world.delete("rc/simpletest", propagation="Background")
    eventually(world, lambda: not world.items("pod"))


def test_should_orphan_pods_created_by_rc_if_delete_options_say_so(world: World) -> None:
    """Garbage collector should orphan pods created by rc if delete options say so"""
    rc(world, replicas=100)
    world.delete("rc/simpletest", propagation="Orphan")
    gone(world, "rc/simpletest")
    pass_time(world, 30)
    pods = world.items("pod")
    assert len(pods) == 100
    assert not any(pod["metadata"].get("ownerReferences") for pod in pods)


def test_should_orphan_pods_created_by_rc_if_deleteoptions_orphandependents_is_nil(world: World) -> None:
    """Garbage collector should orphan pods created by rc if deleteOptions.OrphanDependents is nil"""
    rc(world)
    world.delete("rc/simpletest")
    gone(world, "rc/simpletest")
    pass_time(world, 30)
    assert len(world.items("pod")) == 2


def test_should_delete_rs_created_by_deployment_when_not_orphaning(world: World) -> None:
    """Garbage collector should delete RS created by deployment when not orphaning"""
    world.create(controller("Deployment", "simpletest"))
    eventually(world, lambda: world.items("rs"))
    world.delete("deployment/simpletest", propagation="Background")
    settle(world)
    assert (world.items("rs"), world.items("pod")) == ([], [])


def test_should_orphan_rs_created_by_deployment_when_deleteoptions_propagationpolicy_is_orphan(
    world: World,
) -> None:
    """Garbage collector should orphan RS created by deployment when
    deleteOptions.PropagationPolicy is Orphan"""
    world.create(controller("Deployment", "simpletest"))
    wait(world, "deployment/simpletest", lambda tree: (tree.get("status") or {}).get("readyReplicas") == 2)
    world.delete("deployment/simpletest", propagation="Orphan")
    gone(world, "deployment/simpletest")
    settle(world)
    (left,) = world.items("rs")
    assert not left["metadata"].get("ownerReferences")
    assert len(world.items("pod")) == 2


def test_should_keep_the_rc_around_until_all_its_pods_are_deleted_if_the_deleteoptions_says_so(
    world: World,
) -> None:
    """Garbage collector should keep the rc around until all its pods are deleted if the
    deleteOptions says so"""
    rc(world, replicas=20)
    held = world.items("pod")[0]["metadata"]["name"]
    world.patch(f"pod/{held}", {"metadata": {"finalizers": ["example.com/hold"]}})
    world.delete("rc/simpletest", propagation="Foreground")
    assert world.get("rc/simpletest")["metadata"]["finalizers"] == ["foregroundDeletion"]
    settle(world)
    assert [pod["metadata"]["name"] for pod in world.items("pod")] == [held]
    assert "deletionTimestamp" in world.get("rc/simpletest")["metadata"]
    world.patch(f"pod/{held}", {"metadata": {"finalizers": None}})
    gone(world, "rc/simpletest")
    assert not world.items("pod")


def test_should_not_delete_dependents_that_have_both_valid_owner_and_owner_that_s_waiting_for_dependents_to_be_deleted(
    world: World,
) -> None:
    """Garbage collector should not delete dependents that have both valid owner and owner that's
    waiting for dependents to be deleted"""
    rc(world, "to-be-deleted", replicas=10)
    stays = world.create(controller("ReplicationController", "to-stay", 0))
    shared = [pod["metadata"]["name"] for pod in world.items("pod")[:5]]
    for name in shared:

        def also(tree: Tree) -> None:
            tree["metadata"]["ownerReferences"].append(reference(stays, controller=False, blocks=False))

        world.change(f"pod/{name}", also)
    world.delete("rc/to-be-deleted", propagation="Foreground")
    gone(world, "rc/to-be-deleted")
    settle(world)
    pods = world.items("pod")
    assert [pod["metadata"]["name"] for pod in pods] == shared
    for pod in pods:
        assert "deletionTimestamp" not in pod["metadata"]
        assert [one["name"] for one in pod["metadata"]["ownerReferences"]] == ["to-stay"]


def test_should_not_be_blocked_by_dependency_circle(world: World) -> None:
    """Garbage collector should not be blocked by dependency circle"""
    names = ("pod1", "pod2", "pod3")
    pods = {
        name: world.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": POD})
        for name in names
    }
    for name, of in zip(names, ("pod3", "pod1", "pod2"), strict=True):
        world.patch(f"pod/{name}", {"metadata": {"ownerReferences": [reference(pods[of])]}})
    settle(world)
    world.delete("pod/pod1", propagation="Foreground")
    settle(world)
    assert not world.items("pod")


def test_should_delete_jobs_and_pods_created_by_cronjob(world: World) -> None:
    """Garbage collector should delete jobs and pods created by cronjob"""
    template = {"spec": {"restartPolicy": "OnFailure", **POD}}
    spec = {"schedule": "*/1 * * * ?", "jobTemplate": {"spec": {"template": template}}}
    world.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "simple"}, "spec": spec})
    eventually(world, lambda: world.items("job") and world.items("pod"))
    world.delete("cronjob/simple", propagation="Background")
    settle(world)
    assert (world.items("job"), world.items("pod")) == ([], [])
