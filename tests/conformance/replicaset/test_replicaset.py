"""ReplicaSet: so many pods, whoever made them."""

from tests.conformance.workloads import (
    bare_pod,
    exceeds_its_quota,
    replicaset,
    saturated,
    shows_status_to_all,
    works_as_scale_subresource,
)
from tests.conformance.world import PORT, World, also_on_real_pods, owner

RS = "rs/test-rs"
LABELS = {"name": "sample-pod", "pod": "httpd"}
PODS = "name=sample-pod,pod=httpd"


def test_should_adopt_matching_pods_on_creation_and_release_no_longer_matching_pods(world: World) -> None:
    """ReplicaSet should adopt matching pods on creation and release no longer matching pods"""
    labels = {"name": "pod-adoption-release"}
    pod = world.create(bare_pod("pod-adoption-release", world.images[0], labels))
    world.until(lambda: world.ready("pod-adoption-release"), "the pod runs")
    created = world.create(replicaset("test-rs", world.images[0], 1, labels=labels))
    mine = ("ReplicaSet", "test-rs", created["metadata"]["uid"])
    target = "pod/pod-adoption-release"
    world.until(lambda: owner(world.get(target)) == mine, "the orphan is adopted")
    saturated(world, RS, 1, "name=pod-adoption-release")

    world.change(target, lambda tree: tree["metadata"].update(labels={"name": "not-matching-name"}))
    world.until(lambda: owner(world.get(target)) is None, "the pod is released")
    (replacement,) = saturated(world, RS, 1, "name=pod-adoption-release")
    assert owner(replacement) == mine
    assert world.get(target)["metadata"]["uid"] == pod["metadata"]["uid"]


@also_on_real_pods
def test_should_serve_a_basic_image_on_each_replica_with_a_public_image(world: World) -> None:
    """ReplicaSet should serve a basic image on each replica with a public image"""
    world.create(replicaset("test-rs", world.images[0], 2, labels={"name": "my-hostname"}))
    pods = saturated(world, RS, 2, "name=my-hostname")
    for pod in pods:
        name = pod["metadata"]["name"]
        if world.runs_programs:
            path = f"/api/v1/namespaces/{world.namespace}/pods/{name}:{PORT}/proxy/"
            world.until(lambda path=path, name=name: world.read(path).strip() == name, f"{name} tells its name", 30)


def test_replace_and_patch_tests(world: World) -> None:
    """ReplicaSet Replace and Patch tests"""
    world.create(replicaset("test-rs", world.images[0], 1, labels=LABELS))
    saturated(world, RS, 1, PODS)
    world.change(RS, lambda tree: tree["spec"].update(replicas=2))

    container = {"name": "webserver", "image": world.images[1]}
    template = {"spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    with world.watching("rs", "test-rs=patched") as log:
        world.patch(RS, {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3, "template": template}})

        def seen() -> bool:
            return any(
                (tree["status"].get("readyReplicas"), tree["status"].get("availableReplicas")) == (3, 3)
                and tree["spec"]["template"]["spec"]["containers"][0]["image"] == world.images[1]
                and tree["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 0
                for tree in log.objects()
            )

        world.until(seen, "the watch shows the patched set with three available pods")
    images = sorted(pod["spec"]["containers"][0]["image"] for pod in saturated(world, RS, 3, PODS))
    assert images.count(world.images[0]) in (1, 2), "a new template is for new pods"


def test_should_list_and_delete_a_collection_of_replicasets(world: World) -> None:
    """ReplicaSet should list and delete a collection of ReplicaSets"""
    labels = {**LABELS, "e2e": "collected"}
    world.create(replicaset("test-rs", world.images[0], 3, labels=labels))
    saturated(world, RS, 3, PODS)
    assert len(world.items("rs", "e2e=collected", everywhere=True)) == 1
    world.delete_collection("rs", "e2e=collected", grace=1)
    assert not world.items("rs", "e2e=collected", everywhere=True)
    world.until(lambda: not world.pods(PODS), "the pods go with their owner")


def test_should_validate_replicaset_status_endpoints(world: World) -> None:
    """ReplicaSet should validate Replicaset Status endpoints"""
    world.create(replicaset("test-rs", world.images[0], 1, labels={**LABELS, "e2e": "testing"}))
    saturated(world, RS, 1, PODS)
    shows_status_to_all(world, RS)


def test_should_surface_a_failure_condition_on_a_common_issue_like_exceeded_quota(world: World) -> None:
    """ReplicaSet should surface a failure condition on a common issue like exceeded quota"""
    exceeds_its_quota(world, replicaset("test-rs", world.images[0], 3, labels=LABELS), RS)


def test_should_have_a_working_scale_subresource(world: World) -> None:
    """ReplicaSet Replicaset should have a working scale subresource"""
    world.create(replicaset("test-rs", world.images[0], 1, labels=LABELS))
    saturated(world, RS, 1, PODS)
    works_as_scale_subresource(world, RS)
    saturated(world, RS, 4, PODS)
