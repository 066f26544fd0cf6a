"""Components read the server's own trees: none of them may ever change one."""

from pathlib import Path

import msgspec

from homeport.testing.cluster import SimulatedCluster

MANIFEST = Path(__file__).parent / "manifests" / "statefulset.yaml"


def test_no_component_changes_what_it_is_handed() -> None:
    cluster = SimulatedCluster(seed=3)
    try:
        cluster.apply(MANIFEST)
        cluster.wait("statefulset/db", ready=3)
        cluster.pods["db-1"].crash()
        cluster.patch("statefulset/db", image="db:2")
        cluster.advance(minutes=10)
        looked_at = 0
        for cache in cluster.simulation.server._hub.caches:
            for stored in cache.entries.values():
                tree = msgspec.json.decode(stored.value)
                tree["metadata"]["resourceVersion"] = str(stored.revision)
                assert stored.tree == tree, stored.key
                looked_at += 1
        assert looked_at > 20
    finally:
        cluster.close()


def test_what_people_are_handed_is_theirs() -> None:
    cluster = SimulatedCluster()
    try:
        cluster.apply(MANIFEST)
        found = cluster.get("statefulset/db")
        found["spec"]["replicas"] = 0
        assert cluster.get("statefulset/db")["spec"]["replicas"] == 3
    finally:
        cluster.close()
