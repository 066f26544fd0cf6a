"""DaemonSet: tests named after upstream's."""

import pytest

from tests.conformance.programs import IMAGE, NEXT, RUN, container
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.steps import (
    Tree,
    condition,
    delete_collection,
    eventually,
    gone,
    pass_time,
    reasons,
    set_image,
    settle,
    wait,
)
from tests.conformance.world import World, also_on_real_pods

REVISION = "controller-revision-hash"
pytestmark = pytest.mark.homeport(nodes=3)


def daemon_set(**spec: object) -> Tree:
    labels = {"daemonset-name": "d"}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container(RUN)]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "labels": labels}, "spec": spec}


def chosen(colour: str) -> Tree:
    tree = daemon_set()
    tree["spec"]["template"]["spec"]["nodeSelector"] = {"colour": colour}
    return tree


def daemons(world: World) -> list[Tree]:
    return [pod for pod in world.items("pod", "daemonset-name=d") if alive(pod)]


def alive(pod: Tree) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] != "Failed"


def places(world: World) -> list[str]:
    """Return the nodes of the set's ready pods."""
    return sorted(pod["spec"]["nodeName"] for pod in daemons(world) if condition(pod, "Ready").get("status") == "True")


ALL = ["node-1", "node-2", "node-3"]


def everywhere(world: World, nodes: list[str] | None = None) -> None:
    """Wait until exactly one pod runs on each of these nodes (of all), and the set says so."""
    if nodes is None:
        nodes = [node["metadata"]["name"] for node in world.items("node")]
    eventually(world, lambda: places(world) == nodes and len(daemons(world)) == len(nodes))

    def counted(tree: Tree) -> bool:
        status = tree["status"]
        seen = tree["metadata"]["generation"] == status.get("observedGeneration")
        return seen and all(
            status.get(name, 0) == len(nodes)
            for name in ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable")
        )

    wait(world, "daemonset/d", counted)


def images(world: World) -> list[str]:
    return sorted(pod["spec"]["containers"][0]["image"] for pod in daemons(world))


@also_on_real_pods
def test_should_run_and_stop_simple_daemon(world: World) -> None:
    """Daemon set should run and stop simple daemon"""
    world.create(daemon_set())
    everywhere(world)
    victim = daemons(world)[0]
    world.delete(f"pod/{victim['metadata']['name']}")
    gone(world, f"pod/{victim['metadata']['name']}")
    everywhere(world)
    world.delete("daemonset/d", propagation="Background")
    eventually(world, lambda: not world.items("pod"))


def test_should_run_and_stop_complex_daemon(world: World) -> None:
    """Daemon set should run and stop complex daemon"""
    world.create(chosen("blue"))
    settle(world)
    assert not world.items("pod")
    world.patch("node/node-2", {"metadata": {"labels": {"colour": "blue"}}})
    everywhere(world, ["node-2"])
    world.patch("node/node-2", {"metadata": {"labels": {"colour": "green"}}})
    everywhere(world, [])
    update = {"template": {"spec": {"nodeSelector": {"colour": "green"}}}, "updateStrategy": {"type": "RollingUpdate"}}
    world.patch("daemonset/d", {"spec": update})
    everywhere(world, ["node-2"])


def test_should_run_and_stop_complex_daemon_with_node_affinity(world: World) -> None:
    """Daemon set should run and stop complex daemon with node affinity"""
    tree = daemon_set()
    terms = [{"matchExpressions": [{"key": "colour", "operator": "In", "values": ["blue"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    tree["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": required}
    world.create(tree)
    settle(world)
    assert not world.items("pod")
    world.patch("node/node-3", {"metadata": {"labels": {"colour": "blue"}}})
    everywhere(world, ["node-3"])
    world.patch("node/node-3", {"metadata": {"labels": {"colour": None}}})
    everywhere(world, [])


@also_on_real_pods
def test_should_retry_creating_failed_daemon_pods(world: World) -> None:
    """Daemon set should retry creating failed daemon pods"""
    world.create(daemon_set())
    everywhere(world)
    name = daemons(world)[0]["metadata"]["name"]
    world.patch(f"pod/{name}", {"status": {"phase": "Failed"}}, subresource="status")
    gone(world, f"pod/{name}")
    everywhere(world)
    assert "FailedDaemonPod" in reasons(world, "daemonset/d")


def test_should_not_update_pod_when_spec_was_updated_and_update_strategy_is_ondelete(
    world: World,
) -> None:
    """Daemon set should not update pod when spec was updated and update strategy is OnDelete"""
    world.create(daemon_set(updateStrategy={"type": "OnDelete"}))
    everywhere(world)
    before = {pod["metadata"]["uid"] for pod in daemons(world)}
    set_image(world, "daemonset/d", NEXT)
    settle(world)
    assert {pod["metadata"]["uid"] for pod in daemons(world)} == before
    assert len(world.items("controllerrevision")) == 2
    world.delete(f"pod/{daemons(world)[0]['metadata']['name']}")
    settle(world)
    assert images(world) == [IMAGE, IMAGE, NEXT]


def test_should_update_pod_when_spec_was_updated_and_update_strategy_is_rollingupdate(
    world: World,
) -> None:
    """Daemon set should update pod when spec was updated and update strategy is RollingUpdate"""
    world.create(daemon_set())
    everywhere(world)
    (first,) = world.items("controllerrevision", "daemonset-name=d")
    digest = first["metadata"]["labels"][REVISION]
    assert (first["metadata"]["name"], first["revision"]) == (f"d-{digest}", 1)
    assert {pod["metadata"]["labels"][REVISION] for pod in daemons(world)} == {digest}
    set_image(world, "daemonset/d", NEXT)
    fewest = len(ALL)

    def rolled() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(places(world)))
        return images(world) == [NEXT] * 3

    eventually(world, rolled)
    assert fewest >= 2  # one node at a time is without
    everywhere(world)
    old, new = sorted(world.items("controllerrevision", "daemonset-name=d"), key=lambda one: one["revision"])
    assert (old["metadata"]["name"], new["revision"]) == (first["metadata"]["name"], 2)
    labels = {pod["metadata"]["labels"][REVISION] for pod in daemons(world)}
    assert labels == {new["metadata"]["labels"][REVISION]} != {digest}


def test_should_rollback_without_unnecessary_restarts(world: World) -> None:
    """Daemon set should rollback without unnecessary restarts"""
    world.create(daemon_set())
    everywhere(world)
    if isinstance(world, SimulatedWorld):
        world.cluster.fail_image("foo:non-existent")
    set_image(world, "daemonset/d", "foo:non-existent")
    eventually(world, lambda: "foo:non-existent" in images(world))
    pass_time(world, 300)
    assert images(world) == [IMAGE, IMAGE, "foo:non-existent"]  # it stops at the first that fails
    kept = {pod["metadata"]["uid"] for pod in daemons(world) if pod["spec"]["containers"][0]["image"] == IMAGE}
    set_image(world, "daemonset/d", IMAGE)
    everywhere(world)
    after = daemons(world)
    assert kept <= {pod["metadata"]["uid"] for pod in after}
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in after)
    revisions = world.items("controllerrevision", "daemonset-name=d")
    assert sorted(one["revision"] for one in revisions) == [2, 3]  # the first content is the newest again


def test_should_surge_pods_onto_nodes_when_spec_was_updated_and_update_strategy_is_rollingupdate(
    world: World,
) -> None:
    """Daemon set should surge pods onto nodes when spec was updated and update strategy is
    RollingUpdate"""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    world.create(daemon_set(updateStrategy=strategy))
    everywhere(world)
    set_image(world, "daemonset/d", NEXT)
    most = 0

    def rolled() -> bool:
        nonlocal most
        most = max(most, len(daemons(world)))
        assert set(places(world)) == set(ALL)  # no node is ever without
        return images(world) == [NEXT] * 3

    while not rolled():
        pass_time(world, 0.1)
    assert most <= 4
    everywhere(world)


def test_should_list_and_delete_a_collection_of_daemonsets(world: World) -> None:
    """Daemon set should list and delete a collection of DaemonSets"""
    world.create(daemon_set())
    everywhere(world)
    assert len(world.items("daemonset", "daemonset-name=d", everywhere=True)) == 1
    delete_collection(world, "daemonset", "daemonset-name=d")
    assert world.items("daemonset", "daemonset-name=d", everywhere=True) == []
    settle(world)
    assert not world.items("pod")


def test_should_verify_changes_to_a_daemon_set_status(world: World) -> None:
    """Daemon set should verify changes to a daemon set status"""
    world.create(daemon_set())
    everywhere(world)
    assert world.get("daemonset/d", "status")["status"]["numberReady"] == 3
    told = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}

    def tell(tree: Tree) -> None:
        tree["status"].setdefault("conditions", []).append(told)

    updated = world.change("daemonset/d", tell, "status")
    assert condition(updated, "StatusUpdate")["reason"] == "E2E"
    patched = world.patch(
        "daemonset/d", {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}, subresource="status"
    )
    assert condition(patched, "StatusPatched")["status"] == "True"
    settle(world)
    assert condition(world.get("daemonset/d"), "StatusPatched")["status"] == "True"
    everywhere(world)
