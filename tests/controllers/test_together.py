"""The controllers beside each other on a real server: what one writes, the next acts on."""

from pathlib import Path

import pytest

from tests.controllers.cluster import cluster

pytestmark = pytest.mark.virtual


async def test_a_ready_pod_reaches_its_service(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
            }
        )
        await world.settle()
        (slice_,) = [
            s for s in await world.items("EndpointSlice", "discovery.k8s.io") if "web" in s["metadata"]["name"]
        ]
        assert not slice_["endpoints"]
        await world.pod("x", labels={"app": "web"})
        await world.settle()
        assert (await world.get("Pod", "x"))["spec"]["nodeName"] == "node-1"
        assert await world.events("Scheduled") == ["Successfully assigned default/x to node-1"]
        await world.report("x")
        await world.settle()
        (slice_,) = [
            s for s in await world.items("EndpointSlice", "discovery.k8s.io") if "web" in s["metadata"]["name"]
        ]
        (endpoint,) = slice_["endpoints"]
        assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert endpoint["targetRef"]["name"] == "x"
        endpoints = await world.get("Endpoints", "web")
        assert [a["targetRef"]["name"] for s in endpoints["subsets"] for a in s["addresses"]] == ["x"]
        await world.delete("Service", "web")
        await world.settle()
        assert not await world.exists("Endpoints", "web")
        assert not await world.slices("web")


async def test_a_set_with_claims_gets_its_volumes(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        )
        await world.settle()
        assert (await world.get("PersistentVolumeClaim", "data"))["status"]["phase"] == "Pending"
        await world.pod("x", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
        await world.settle()
        claim = await world.get("PersistentVolumeClaim", "data")
        assert claim["status"]["phase"] == "Bound"
        assert claim["status"]["capacity"] == {"storage": "1Gi"}
        assert (await world.get("Pod", "x"))["spec"]["nodeName"] == "node-1"
        volume = await world.get("PersistentVolume", claim["spec"]["volumeName"], namespace=None)
        path = Path(volume["spec"]["local"]["path"])
        assert path.is_dir()
        assert path.parent == tmp_path / "volumes"
