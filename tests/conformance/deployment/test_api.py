"""Deployment as the API shows it: scale, status, its whole life."""

from typing import Any

from tests.conformance.deployment.rollouts import complete, revision_of, template_image
from tests.conformance.workloads import deployment, saturated, shows_status_to_all, works_as_scale_subresource
from tests.conformance.world import World, also_on_real_pods


def test_deployment_should_have_a_working_scale_subresource(world: World) -> None:
    """Deployment Deployment should have a working scale subresource"""
    world.create(deployment("test-new-deployment", world.images[0], 1, labels={"name": "httpd"}))
    saturated(world, "deploy/test-new-deployment", 1, "name=httpd")
    works_as_scale_subresource(world, "deploy/test-new-deployment")
    saturated(world, "deploy/test-new-deployment", 4, "name=httpd")


@also_on_real_pods
def test_should_run_the_lifecycle_of_a_deployment(world: World) -> None:
    """Deployment should run the lifecycle of a Deployment"""
    target, selector = "deploy/test-deployment", "test-deployment-static=true"
    first, second = world.images
    third = f"{first}-third"
    if world.runs_programs:
        third = first

    def shown(replicas: int, image: str) -> bool:
        return any(_is_rolled_out(tree, replicas, image) for tree in log.objects()[seen:])

    def modified() -> bool:
        return "MODIFIED" in log.kinds()[seen:]

    with world.watching("deploy", selector) as log:
        seen = 0
        made = deployment("test-deployment", first, 2, labels={"test-deployment-static": "true"})
        world.create(made)
        world.until(lambda: log.names("ADDED") == ["test-deployment"], "the watch shows the new Deployment")
        world.until(lambda: shown(2, first), "the watch shows two ready replicas")

        seen = len(log.events)
        container = {"name": "webserver", "image": second}
        pod = {"spec": {"terminationGracePeriodSeconds": 2, "containers": [container]}}
        labels = {"metadata": {"labels": {"test-deployment": "patched"}}}
        world.patch(target, {**labels, "spec": {"replicas": 1, "template": pod}})
        world.until(modified, "the watch shows the patch")
        world.until(lambda: shown(1, second), "the watch shows one ready replica of the patched template")
        assert world.get(target)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 2
        (listed,) = world.items("deploy", selector, everywhere=True)
        assert listed["metadata"]["labels"]["test-deployment"] == "patched"

        seen = len(log.events)
        made["metadata"]["labels"]["test-deployment"] = "updated"
        made["spec"]["template"]["spec"]["containers"][0]["image"] = third
        world.put(target, made)
        world.until(modified, "the watch shows the update")
        updated = world.get(target, "status")
        assert (template_image(updated), updated["metadata"]["labels"]["test-deployment"]) == (third, "updated")
        world.until(lambda: shown(2, third), "the watch shows two ready replicas of the updated template")

        seen = len(log.events)
        counts = {"readyReplicas": 0, "availableReplicas": 0}
        body = {"metadata": {"labels": {"test-deployment": "patched-status"}}, "status": counts}
        world.patch(target, body, subresource="status")
        world.until(modified, "the watch shows the patched status")
        status = world.get(target, "status")
        assert (template_image(status), status["metadata"]["labels"]["test-deployment"]) == (third, "updated")
        world.until(lambda: shown(2, third), "the controller counts anew")

        world.delete_collection("deploy", selector, grace=1)
        world.until(lambda: log.names("DELETED") == ["test-deployment"], "the watch shows the end")
    world.until(lambda: not world.pods(selector), "the pods go with their Deployment")


def _is_rolled_out(tree: Any, replicas: int, image: str) -> bool:
    status = tree.get("status") or {}
    counts = (status.get("readyReplicas", 0), status.get("updatedReplicas", 0), status.get("unavailableReplicas", 0))
    return counts == (replicas, replicas, 0) and template_image(tree) == image


def test_should_validate_deployment_status_endpoints(world: World) -> None:
    """Deployment should validate Deployment Status endpoints"""
    labels = {"name": "httpd", "e2e": "testing"}
    world.create(deployment("test-deployment", world.images[0], 1, labels=labels))
    assert revision_of(complete(world, "deploy/test-deployment")) == "1"
    shows_status_to_all(world, "deploy/test-deployment")
