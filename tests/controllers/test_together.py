"""The controllers beside each other on a real server: what one writes, the next acts on."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.client.contract import PatchType
from tests.controllers.cluster import cluster, ready

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


def a_replica_set(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "r"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "r"}},
            "template": {
                "metadata": {"labels": {"app": "r"}},
                "spec": {"containers": [{"name": "main", "image": "a"}]},
            },
        },
    }


@pytest.mark.parametrize(("policy", "owned"), [("Background", False), ("Foreground", False), ("Orphan", True)])
async def test_dependents_go_or_stay_as_asked(tmp_path: Path, policy: str, owned: bool) -> None:
    async with cluster(tmp_path) as world:
        await world.create(a_replica_set(2))
        await world.settle()
        assert len(await world.items("Pod")) == 2
        await world.delete("ReplicaSet", "r", "apps", propagation=policy)
        await world.settle()
        assert not await world.exists("ReplicaSet", "r", "apps")
        left = await world.items("Pod")
        assert len(left) == (2 if owned else 0)
        assert all(not pod["metadata"].get("ownerReferences") for pod in left)


async def test_a_circle_of_owners_is_collected(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        uids = {}
        for name in ("a", "b", "c"):
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
            uids[name] = (await world.create(body))["metadata"]["uid"]
        for name, owner in (("a", "c"), ("b", "a"), ("c", "b")):
            reference = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": owner,
                "uid": uids[owner],
                "blockOwnerDeletion": True,
            }
            patch = {"metadata": {"ownerReferences": [reference]}}
            await world.client.patch(find("ConfigMap"), "default", name, patch)
        await world.settle()
        await world.delete("ConfigMap", "a", propagation="Foreground")
        await world.settle(2.0)
        assert not [m for m in await world.items("ConfigMap") if m["metadata"]["name"] in uids]


async def test_a_deleted_claim_waits_for_its_pod_and_takes_its_data_along(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await world.create(claim)
        await world.pod("x", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
        await world.settle()
        (volume,) = await world.items("PersistentVolume", namespace=None)
        directory = Path(volume["spec"]["local"]["path"])
        assert directory.is_dir()
        await world.delete("PersistentVolumeClaim", "data")
        await world.settle()
        assert await world.exists("PersistentVolumeClaim", "data")
        await world.client.delete(find("Pod"), "default", "x", grace_seconds=0)
        await world.settle()
        assert not await world.exists("PersistentVolumeClaim", "data")
        assert await world.items("PersistentVolume", namespace=None) == []
        assert not directory.exists()


async def test_a_claim_that_grows_is_given_more(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        await world.create(claim)
        await world.pod("x", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
        await world.settle()
        patch = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        await world.client.patch(find("PersistentVolumeClaim"), "default", "data", patch)
        await world.settle()
        assert (await world.get("PersistentVolumeClaim", "data"))["status"]["capacity"] == {"storage": "2Gi"}


async def test_a_pod_without_place_is_placed_when_there_is_one(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.pod("x")
        await world.settle()
        condition = {c["type"]: c for c in (await world.get("Pod", "x"))["status"]["conditions"]}["PodScheduled"]
        assert (condition["reason"], condition["message"]) == ("Unschedulable", "no nodes available to schedule pods")
        assert await world.events("FailedScheduling") == ["no nodes available to schedule pods"]
        await world.node()
        await world.settle()
        assert (await world.get("Pod", "x"))["spec"]["nodeName"] == "node-1"


async def test_a_more_important_pod_pushes_others_away(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        big = {"containers": [{"name": "main", "image": "a", "resources": {"requests": {"cpu": "3"}}}]}
        await world.pod("low", **big)
        await world.settle()
        await world.pod("high", **big, priorityClassName="system-cluster-critical")
        await world.settle()
        low = await world.get("Pod", "low")
        assert "deletionTimestamp" in low["metadata"]
        assert [m.split(" pod ")[0] for m in await world.events("Preempted")] == ["Preempted by"]
        await world.client.delete(find("Pod"), "default", "low", grace_seconds=0)
        await world.settle()
        assert (await world.get("Pod", "high"))["spec"]["nodeName"] == "node-1"


async def test_a_silent_node_is_found_out_and_its_pods_leave_the_service(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.pod("x")
        await world.settle()
        await world.report("x")
        await world.settle(49.0)
        assert ready_of(await world.get("Node", "node-1", namespace=None)) == "True"
        await world.settle(2.0)
        node = await world.get("Node", "node-1", namespace=None)
        assert ready_of(node) == "Unknown"
        assert ready_of(await world.get("Pod", "x")) == "False"
        taints = [(taint["key"], taint["effect"]) for taint in node["spec"]["taints"]]
        assert taints == [("node.kubernetes.io/unreachable", "NoSchedule")]  # never evicts when no node is well
        status = {"status": {"conditions": [{**ready(True), "lastHeartbeatTime": "2026-01-01T00:01:00Z"}]}}
        await world.client.patch(find("Node"), None, "node-1", status, kind=PatchType.STRATEGIC, subresource="status")
        await world.settle()
        assert not (await world.get("Node", "node-1", namespace=None))["spec"].get("taints")


async def test_one_of_two_nodes_lost_drives_its_pods_out_in_time(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node("node-1")
        await world.node("node-2")
        toleration = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        await world.pod("x", nodeName="node-1", tolerations=[toleration])
        for second in range(12):  # node-2 goes on speaking
            status = {
                "status": {"conditions": [{**ready(True), "lastHeartbeatTime": f"2026-01-01T00:00:{second:02}Z"}]}
            }
            await world.client.patch(
                find("Node"), None, "node-2", status, kind=PatchType.STRATEGIC, subresource="status"
            )
            await world.settle(10.0)
            pod = await world.get("Pod", "x")
            assert ("deletionTimestamp" in pod["metadata"]) == (world.clock.now() - world.clock.epoch > 80.0), second


async def test_a_pod_of_a_node_that_was_removed_is_finished_after_the_quarantine(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.pod("x")
        await world.settle()
        await world.client.delete(find("Node"), None, "node-1")
        await world.settle(50.0)
        assert await world.exists("Pod", "x")
        await world.settle(15.0)
        assert not await world.exists("Pod", "x")


def ready_of(obj: Mapping[str, Any]) -> str:
    return next(c["status"] for c in obj["status"]["conditions"] if c["type"] == "Ready")


async def test_endpoints_by_hand_are_mirrored_until_they_go(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "db"},
            "spec": {"ports": [{"port": 5432}]},
        }
        await world.create(service)
        by_hand = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "db"},
            "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 5432}]}],
        }
        await world.create(by_hand)
        await world.settle()
        (slice_,) = await world.slices("db")
        assert [e["addresses"] for e in slice_["endpoints"]] == [["192.0.2.7"]]
        version = slice_["metadata"]["resourceVersion"]
        await world.settle(5.0)
        assert (await world.slices("db"))[0]["metadata"]["resourceVersion"] == version
        await world.delete("Endpoints", "db")
        await world.settle()
        assert not await world.slices("db")


async def test_an_ephemeral_volume_comes_and_goes_with_its_pod(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
        await world.pod("x", volumes=[volume])
        await world.settle(1.0)
        assert (await world.get("Pod", "x"))["spec"]["nodeName"] == "node-1"
        claim = await world.get("PersistentVolumeClaim", "x-scratch")
        assert claim["status"]["phase"] == "Bound"
        assert claim["metadata"]["ownerReferences"][0]["name"] == "x"
        await world.client.delete(find("Pod"), "default", "x", grace_seconds=0)
        await world.settle(1.0)
        assert not await world.exists("PersistentVolumeClaim", "x-scratch")
        assert await world.items("PersistentVolume", namespace=None) == []


async def test_a_gated_pod_waits_for_its_gates(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.pod("x", schedulingGates=[{"name": "example.com/wait"}])
        await world.settle()
        pod = await world.get("Pod", "x")
        assert not pod["spec"].get("nodeName")
        condition = {c["type"]: c for c in pod["status"]["conditions"]}["PodScheduled"]
        assert (condition["status"], condition["reason"]) == ("False", "SchedulingGated")
        await world.client.patch(find("Pod"), "default", "x", {"spec": {"schedulingGates": []}})
        await world.settle()
        assert (await world.get("Pod", "x"))["spec"]["nodeName"] == "node-1"


async def test_a_pod_of_another_scheduler_is_left_alone(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.pod("x", schedulerName="mine")
        await world.settle(5.0)
        pod = await world.get("Pod", "x")
        assert not pod["spec"].get("nodeName")
        events = await world.items("Event", namespace=None)
        assert [event for event in events if event["involvedObject"]["kind"] == "Pod"] == []


def external(name: str = "slow") -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "example.com/slow",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def slow_claim() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "storageClassName": "slow",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


MOUNTED = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
SELECTED = "volume.kubernetes.io/selected-node"


async def test_a_node_that_cannot_provision_is_given_up_for_another_try(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.create(external())
        await world.create(slow_claim())
        await world.pod("x", volumes=MOUNTED)
        await world.settle()
        claim = await world.get("PersistentVolumeClaim", "data")
        assert claim["metadata"]["annotations"][SELECTED] == "node-1"
        assert not (await world.get("Pod", "x"))["spec"].get("nodeName")
        patch = {"metadata": {"annotations": {SELECTED: None}}}
        await world.client.patch(find("PersistentVolumeClaim"), "default", "data", patch)
        await world.settle()
        assert (await world.get("PersistentVolumeClaim", "data"))["metadata"]["annotations"][SELECTED] == "node-1"
        assert any("could be provisioned" in message for message in await world.events("FailedScheduling"))


async def test_a_pod_deleted_while_its_volume_is_made_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.node()
        await world.create(external())
        await world.create(slow_claim())
        big = {"containers": [{"name": "main", "image": "a", "resources": {"requests": {"cpu": "3"}}}]}
        await world.pod("x", volumes=MOUNTED, **big)
        await world.settle()
        await world.pod("y", **big)
        await world.settle()
        assert not (await world.get("Pod", "y"))["spec"].get("nodeName")
        await world.client.delete(find("Pod"), "default", "x")
        await world.settle()
        assert (await world.get("Pod", "y"))["spec"]["nodeName"] == "node-1"


async def test_no_time_passes_from_create_to_bound_and_from_ready_to_the_slice(tmp_path: Path) -> None:
    """Only turns of the loop: a timer or a poll anywhere on the way would move the virtual clock."""
    async with cluster(tmp_path) as world:
        await world.node()
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        await world.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
        await world.settle()
        started = world.clock.now()
        await world.pod("x", labels={"app": "web"})
        await turns()
        assert (await world.get("Pod", "x"))["spec"]["nodeName"] == "node-1"
        await world.report("x")
        await turns()
        (slice_,) = await world.slices("web")
        assert [endpoint["conditions"]["ready"] for endpoint in slice_["endpoints"]] == [True]
        endpoints = await world.get("Endpoints", "web")
        assert len(endpoints["subsets"][0]["addresses"]) == 1
        assert world.clock.now() == started


async def turns(count: int = 100) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
