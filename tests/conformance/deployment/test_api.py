"""Deployment as the API shows it: scale, status, its whole life."""

from tests.conformance.workloads import deployment, saturated, works_as_scale_subresource
from tests.conformance.world import World


def test_should_have_a_working_scale_subresource(world: World) -> None:
    """Deployment should have a working scale subresource"""
    world.create(deployment("test-new-deployment", world.images[0], 1, labels={"name": "httpd"}))
    saturated(world, "deploy/test-new-deployment", 1, "name=httpd")
    works_as_scale_subresource(world, "deploy/test-new-deployment")
    saturated(world, "deploy/test-new-deployment", 4, "name=httpd")
