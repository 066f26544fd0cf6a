"""ControllerRevision: the history of a DaemonSet, in the hands of people."""

from typing import Any

from tests.conformance.workloads import template
from tests.conformance.world import World, owner, web_container

LABEL = "daemonset-name=e2e-daemon-set"


def _revisions(world: World, count: int) -> list[Any]:
    """Wait until there are so many revisions; return them, oldest first."""
    world.until(lambda: len(world.items("controllerrevisions", LABEL)) == count, f"there are {count} revisions")
    return sorted(world.items("controllerrevisions", LABEL), key=lambda one: int(one["revision"]))


def test_should_manage_the_lifecycle_of_a_controllerrevision(world: World) -> None:
    """ControllerRevision should manage the lifecycle of a ControllerRevision"""
    labels = {"daemonset-name": "e2e-daemon-set"}
    body = {"selector": {"matchLabels": labels}, "template": template(web_container(world.images[0]), labels)}
    metadata = {"name": "e2e-daemon-set", "labels": labels}
    ds = world.create({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": body})
    nodes = len(world.items("nodes"))
    world.until(lambda: world.status("ds/e2e-daemon-set").get("numberReady") == nodes, "a pod on every node")
    assert len(world.items("ds", LABEL, everywhere=True)) == 1

    (initial,) = world.items("controllerrevisions", LABEL, everywhere=True)
    mine = ("DaemonSet", "e2e-daemon-set", ds["metadata"]["uid"])
    assert (owner(initial), initial["revision"]) == (mine, 1)
    first = initial["metadata"]["name"]
    patched = world.patch(f"controllerrevision/{first}", {"metadata": {"labels": {first: "patched"}}})
    assert patched["metadata"]["labels"][first] == "patched"

    hash_label = {"controller-revision-hash": "7c8b9d5f6c"}
    named = {"name": "e2e-daemon-set-7c8b9d5f6c", "labels": {**labels, **hash_label}}
    named["ownerReferences"] = initial["metadata"]["ownerReferences"]
    copy = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": named}
    world.create({**copy, "data": initial["data"], "revision": 2})
    _revisions(world, 2)
    world.delete(f"controllerrevision/{first}")
    (current,) = _revisions(world, 1)
    second = current["metadata"]["name"]
    assert second == "e2e-daemon-set-7c8b9d5f6c"

    target = f"controllerrevision/{second}"
    updated = world.change(target, lambda tree: tree["metadata"]["labels"].update({second: "updated"}))
    assert updated["metadata"]["labels"][second] == "updated"
    world.patch("ds/e2e-daemon-set", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 2}}}})
    _revisions(world, 2)
    world.delete_collection("controllerrevisions", f"{second}=updated")
    (last,) = _revisions(world, 1)
    assert (last["revision"], owner(last)) == (3, mine)
