"""What goes wrong around a pod, the whole agent in virtual time."""

import asyncio
from pathlib import Path

import pytest

from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.node.runtime.contract import ContainerSpec, RuntimeFailure
from homeport.node.runtime.simulated import Script
from tests.node.world import PODS, condition, main_status, phase, ready, running_id, waiting_reason, world


@pytest.mark.virtual
async def test_a_pod_deleted_while_its_image_is_pulled_leaves_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.images.pull_seconds = 500.0
        await w.pod("web")
        await asyncio.sleep(1)
        await w.client.delete(PODS, "default", "web")
        ended = await w.until("web", lambda pod: phase(pod) == "Failed")
        assert "waiting" in main_status(ended)["state"]
        await w.until_gone("web")
        assert w.now < 3.0


@pytest.mark.virtual
async def test_a_pod_deleted_while_its_volume_is_missing_leaves_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "none"}}])
        await asyncio.sleep(10)
        events = await w.events("web")
        text = 'MountVolume.SetUp failed for volume "data" : persistentvolumeclaim "none" not found'
        assert ("Warning", "FailedMount", text) in events
        assert condition(await w.get("web"), "PodReadyToStartContainers") == "False"
        await w.client.delete(PODS, "default", "web")
        await w.until_gone("web")
        await asyncio.sleep(0.1)
        assert not await w.runtime.sandboxes()


@pytest.mark.virtual
async def test_a_sandbox_without_a_network_is_tried_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.network.failing = ["no addresses left", "no addresses left"]
        await w.pod("web")
        await w.until("web", ready)
        text = "Failed to create pod sandbox: no addresses left"
        assert [event for event in await w.events("web") if event == ("Warning", "FailedCreatePodSandBox", text)]
        assert len(await w.runtime.sandboxes()) == 1


@pytest.mark.virtual
async def test_a_program_that_cannot_start_is_a_crash(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        failure = RuntimeFailure("RunContainerError", 'exec: "x": executable file not found in $PATH')
        w.runtime.script = lambda spec: Script(fails=failure)
        await w.pod("web")
        pod = await w.until("web", lambda pod: waiting_reason(pod) == "CrashLoopBackOff")
        last = main_status(pod)["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"], last["startedAt"]) == (128, "StartError", "1970-01-01T00:00:00Z")
        assert main_status(pod)["restartCount"] >= 1


@pytest.mark.virtual
async def test_a_container_that_cannot_be_created_is_tried_again_without_counting(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        failing = True

        def script(spec: ContainerSpec) -> Script:
            return Script(fails=RuntimeFailure("CreateContainerError", "no such mount") if failing else None)

        w.runtime.script = script
        await w.pod("web")
        await w.until("web", lambda pod: waiting_reason(pod) == "CreateContainerError")
        failing = False
        pod = await w.until("web", ready)
        assert main_status(pod)["restartCount"] == 0
        assert w.now == pytest.approx(10.0, abs=1.0)


@pytest.mark.virtual
async def test_a_finalizer_keeps_the_object_and_nothing_else(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web", metadata={"finalizers": ["example.com/hold"]})
        await w.until("web", ready)
        await w.client.delete(PODS, "default", "web")
        await w.until("web", lambda pod: phase(pod) == "Succeeded")
        await asyncio.sleep(60)
        assert not await w.runtime.sandboxes()
        patch = [{"op": "remove", "path": "/metadata/finalizers"}]
        await w.client.patch(PODS, "default", "web", patch, kind=PatchType.JSON)
        await w.until_gone("web")


@pytest.mark.virtual
async def test_a_fault_of_ours_is_told_and_the_pod_served_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        faults = 1

        def script(spec: ContainerSpec) -> Script:
            nonlocal faults
            if faults:
                faults -= 1
                raise ZeroDivisionError("a bug")
            return Script()

        w.runtime.script = script
        await w.pod("web")
        await w.pod("other")
        await w.until("web", ready)
        await w.until("other", ready)
        told = [event for name in ("web", "other") for event in await w.events(name) if event[1] == "FailedSync"]
        assert len(told) == 1
        assert len(await w.runtime.sandboxes()) == 2


@pytest.mark.virtual
async def test_a_container_that_vanishes_is_missed_and_started_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web")
        w.runtime.lose(running_id(await w.until("web", ready)))
        pod = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        last = main_status(pod)["lastState"]["terminated"]
        assert (last["reason"], last["exitCode"]) == ("ContainerStatusUnknown", 137)
        assert last["message"] == "The container could not be located when the pod was terminated"
        assert w.now <= 61.0


@pytest.mark.virtual
async def test_a_volume_that_outgrows_its_limit_evicts_the_pod(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        volumes = [{"name": "work", "emptyDir": {"sizeLimit": "1Mi"}}]
        await w.pod("web", {"name": "main", "volumeMounts": [{"name": "work", "mountPath": "/work"}]}, volumes=volumes)
        await w.until("web", ready)
        mount = next(mount for mount in w.runtime.specs()[-1].mounts if mount.target == "/work")
        await asyncio.sleep(30)
        assert ready(await w.get("web"))
        (Path(mount.source) / "big").write_bytes(bytes(2 << 20))
        pod = await w.until("web", lambda pod: phase(pod) == "Failed")
        message = 'Usage of EmptyDir volume "work" exceeds the limit "1Mi". '
        assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", message)
        assert condition(pod, "DisruptionTarget") == "True"
        assert ("Warning", "Evicted", message) in await w.events("web")


@pytest.mark.virtual
async def test_an_out_of_memory_kill_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(runs_for=1.0, code=137, oom_killed=True)
        await w.pod("web", restartPolicy="Never")
        pod = await w.until("web", lambda pod: phase(pod) == "Failed")
        assert main_status(pod)["state"]["terminated"]["reason"] == "OOMKilled"


@pytest.mark.virtual
async def test_labels_in_a_volume_follow_the_pod(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
        volumes = [{"name": "info", "downwardAPI": {"items": items}}]
        mounts = [{"name": "info", "mountPath": "/info"}]
        await w.pod("web", {"name": "main", "volumeMounts": mounts}, volumes=volumes, metadata={"labels": {"a": "1"}})
        await w.until("web", ready)
        mount = next(mount for mount in w.runtime.specs()[-1].mounts if mount.target == "/info")
        assert (Path(mount.source) / "labels").read_text() == 'a="1"'
        await w.client.patch(PODS, "default", "web", {"metadata": {"labels": {"b": "2"}}})
        await asyncio.sleep(0.5)
        assert (Path(mount.source) / "labels").read_text() == 'a="1"\nb="2"'


@pytest.mark.virtual
async def test_an_ephemeral_container_joins_a_running_pod(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web")
        await w.until("web", ready)
        ephemeral = {"name": "debug", "image": "tool:1"}
        patch = {"spec": {"ephemeralContainers": [ephemeral]}}
        await w.client.patch(PODS, "default", "web", patch, kind=PatchType.STRATEGIC, subresource="ephemeralcontainers")
        pod = await w.until(
            "web", lambda pod: bool(pod["status"].get("ephemeralContainerStatuses", [{}])[0].get("started"))
        )
        assert ready(pod)


@pytest.mark.virtual
async def test_a_claim_is_mounted_from_its_volume(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        data = tmp_path / "data"
        data.mkdir()
        claim = await w.create(
            "PersistentVolumeClaim", "data",
            spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "pv"},
        )  # fmt: skip
        reference = {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}
        terms = [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]
        affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": terms}]}}
        spec = {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": reference,
            "local": {"path": str(data)}, "nodeAffinity": affinity,
        }  # fmt: skip
        await w.create("PersistentVolume", "pv", namespace=None, spec=spec)
        await w.client.patch(
            find("PersistentVolumeClaim"), "default", "data", {"status": {"phase": "Bound"}}, subresource="status"
        )
        mounts = [{"name": "data", "mountPath": "/data"}]
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        await w.pod("web", {"name": "main", "volumeMounts": mounts}, volumes=volumes)
        await w.until("web", ready)
        assert any(mount.source == str(data) and mount.target == "/data" for mount in w.runtime.specs()[-1].mounts)
