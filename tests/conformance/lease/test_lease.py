"""Leases: the test named after upstream's."""

import copy

from tests.conformance.steps import Tree, delete_collection
from tests.conformance.world import World

FIRST, LATER = "2026-01-01T00:00:00.000001Z", "2026-01-01T00:00:10.120000Z"


def lease(name: str, holder: str = "i-am-the-holder") -> Tree:
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 30,
        "acquireTime": FIRST,
        "renewTime": FIRST,
        "leaseTransitions": 0,
    }
    metadata = {"name": name, "labels": {"deletecollection": "true"}}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def test_lease_api_should_be_available(world: World) -> None:
    """Lease lease API should be available"""
    made = lease("lease")
    assert world.create(made)["spec"] == made["spec"]
    read = copy.deepcopy(world.get("lease/lease"))
    assert read["spec"] == made["spec"]
    changed = {**read["spec"], "holderIdentity": "new-holder", "renewTime": LATER, "leaseTransitions": 1}
    changed["leaseDurationSeconds"] = 60
    world.put("lease/lease", {**read, "spec": changed})
    assert world.get("lease/lease")["spec"] == changed
    world.patch("lease/lease", {"spec": {"leaseDurationSeconds": 50}})
    assert world.get("lease/lease")["spec"] == {**changed, "leaseDurationSeconds": 50}
    second = lease("lease2", "i-am-the-holder2")
    world.create(second)
    assert len(world.items("lease")) == 2
    assert [one["metadata"]["name"] for one in world.items("lease", "deletecollection=true")] == ["lease", "lease2"]
    world.patch("lease/lease", {"metadata": {"labels": {"deletecollection": None}}})
    delete_collection(world, "lease", "deletecollection=true")
    assert [one["metadata"]["name"] for one in world.items("lease")] == ["lease"]
    world.delete("lease/lease")
    assert world.find("lease/lease") is None
