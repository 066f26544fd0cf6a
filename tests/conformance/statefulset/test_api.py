"""StatefulSet as the API shows it: scale, status, collections."""

from tests.conformance.workloads import (
    SELECTOR,
    headless,
    saturated,
    shows_status_to_all,
    statefulset,
    works_as_scale_subresource,
)
from tests.conformance.world import World


def test_should_have_a_working_scale_subresource(world: World) -> None:
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource"""
    world.create(headless())
    world.create(statefulset("ss", world.images[0], 1, probe=True))
    saturated(world, "sts/ss", 1)
    works_as_scale_subresource(world, "sts/ss")
    saturated(world, "sts/ss", 4)
    assert world.pod_names(SELECTOR) == ["ss-0", "ss-1", "ss-2", "ss-3"]


def test_should_list_patch_and_delete_a_collection_of_statefulsets(world: World) -> None:
    """
    StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of
    StatefulSets
    """
    labels = {"name": "sample-pod", "pod": "httpd"}
    world.create(headless(labels=labels))
    world.create(statefulset("test-ss", world.images[0], 1, labels=labels, probe=True))
    saturated(world, "sts/test-ss", 1, "pod=httpd")

    template = {"spec": {"containers": [{"name": "webserver", "image": world.images[1]}]}}
    body = {"metadata": {"labels": {"test-ss": "patched"}}, "spec": {"replicas": 2, "template": template}}
    world.patch("sts/test-ss", body)
    patched = world.get("sts/test-ss")
    assert patched["spec"]["replicas"] == 2
    assert patched["spec"]["template"]["spec"]["containers"][0]["image"] == world.images[1]
    saturated(world, "sts/test-ss", 2, "pod=httpd")

    (listed,) = world.items("sts", "test-ss=patched", everywhere=True)
    assert listed["metadata"]["uid"] == patched["metadata"]["uid"]
    world.delete_collection("sts", "test-ss=patched", grace=1)
    assert not world.items("sts", "test-ss=patched", everywhere=True)
    world.until(lambda: not world.pods("pod=httpd"), "the pods go with their set")


def test_should_validate_statefulset_status_endpoints(world: World) -> None:
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status endpoints"""
    world.create(headless())
    world.create(statefulset("ss", world.images[0], 1, probe=True))
    saturated(world, "sts/ss", 1)
    assert world.patch("sts/ss", {"metadata": {"labels": {"e2e": "testing"}}})["metadata"]["labels"]["e2e"]
    shows_status_to_all(world, "sts/ss")
