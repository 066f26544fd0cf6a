"""StatefulSet as the API shows it: scale, status, collections."""

from tests.conformance.workloads import SELECTOR, headless, saturated, statefulset, works_as_scale_subresource
from tests.conformance.world import World


def test_should_have_a_working_scale_subresource(world: World) -> None:
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should have a working scale subresource"""
    world.create(headless())
    world.create(statefulset("ss", world.images[0], 1, probe=True))
    saturated(world, "sts/ss", 1)
    works_as_scale_subresource(world, "sts/ss")
    saturated(world, "sts/ss", 4)
    assert world.pod_names(SELECTOR) == ["ss-0", "ss-1", "ss-2", "ss-3"]
