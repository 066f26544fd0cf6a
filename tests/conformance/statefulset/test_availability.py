"""When a ready pod of a StatefulSet counts as available."""

from tests.conformance.workloads import headless, saturated, statefulset
from tests.conformance.world import World


def test_minreadyseconds_should_be_honored_when_enabled(world: World) -> None:
    """StatefulSet MinReadySeconds should be honored when enabled"""
    world.create(headless())
    world.create(statefulset("test-ss", world.images[0], 1, probe=True))
    world.until(lambda: world.status("sts/test-ss").get("availableReplicas") == 1, "one available replica")


def test_availablereplicas_should_get_updated_accordingly_when_minreadyseconds_is_enabled(world: World) -> None:
    """StatefulSet AvailableReplicas should get updated accordingly when MinReadySeconds is enabled"""
    target = "sts/test-ss"

    def available() -> int:
        return int(world.status(target).get("availableReplicas", -1))

    world.create(headless())
    world.create(statefulset("test-ss", world.images[0], 2, probe=True, minReadySeconds=30))
    world.until(lambda: available() == 0, "the status says that none is available")
    world.stays(lambda: available() == 0, "none is available yet", 5)
    started = world.now()
    world.until(lambda: available() == 2, "both are available")
    assert world.now() - started > 50, "the second comes when the first is available, each is ready for 30 s"

    world.change(target, lambda tree: tree["spec"].update(minReadySeconds=3600))
    world.until(lambda: available() == 0, "none is available for the next hour")
    assert world.status(target)["readyReplicas"] == 2
    world.change(target, lambda tree: tree["spec"].update(minReadySeconds=0))
    world.until(lambda: available() == 2, "both are available at once")
    saturated(world, target, 2)
