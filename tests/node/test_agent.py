"""The whole agent in virtual time: real API server, simulated runtime, network and programs."""

import asyncio
from pathlib import Path

import pytest

from homeport.api.resources import find
from homeport.client.contract import PatchType
from homeport.node.runtime.contract import ContainerSpec, ExecSpec, ImageError
from homeport.node.runtime.simulated import Script, SimulatedExec, by_container
from tests.node.world import PODS, condition, main_status, phase, ready, waiting_reason, world


@pytest.mark.virtual
async def test_a_bound_pod_runs_and_is_ready(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web")
        pod = await w.until("web", ready)
        assert phase(pod) == "Running"
        status = main_status(pod)
        assert status["containerID"].startswith("simulated://")
        assert status["started"] is True
        assert pod["status"]["podIP"] == "10.244.0.2"
        assert w.now < 1.0
        assert [reason for _, reason, _ in await w.events("web")] == ["Pulling", "Pulled", "Created", "Started"]


@pytest.mark.virtual
async def test_nine_pods_start_side_by_side(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.start_seconds = 1.0
        w.images.pull_seconds = 2.0
        for index in range(9):
            await w.pod(f"web-{index}")
        for index in range(9):
            await w.until(f"web-{index}", ready)
        assert w.now == pytest.approx(3.0, abs=0.01)
        assert w.images.pulls == ["app:1"]


@pytest.mark.virtual
@pytest.mark.parametrize(("code", "expected"), [(0, "Succeeded"), (4, "Failed")])
async def test_a_pod_that_never_restarts_ends_with_its_program(tmp_path: Path, code: int, expected: str) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(runs_for=2.0, code=code)
        await w.pod("job", restartPolicy="Never")
        ended = await w.until("job", lambda pod: phase(pod) == expected)
        assert condition(ended, "Ready") == "False"
        assert main_status(ended)["state"]["terminated"]["exitCode"] == code
        assert main_status(ended)["restartCount"] == 0
        assert ended["status"]["podIP"] == "10.244.0.2"
        await w.client.delete(PODS, "default", "job")
        await w.until_gone("job")


@pytest.mark.virtual
async def test_init_containers_run_in_order_and_sidecars_stay(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        order: list[str] = []

        def script(spec: ContainerSpec) -> Script:
            name = spec.labels["container"]
            order.append(name)
            return Script(runs_for=1.0) if name.startswith("init") else Script()

        w.runtime.script = script
        init = [
            {"name": "init-1", "image": "tool:1"},
            {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
            {"name": "init-2", "image": "tool:1"},
        ]
        await w.pod("web", initContainers=init)
        pending = await w.until("web", lambda pod: condition(pod, "Initialized") == "False")
        assert main_status(pending)["state"]["waiting"]["reason"] == "PodInitializing"
        pod = await w.until("web", ready)
        assert order == ["init-1", "proxy", "init-2", "main"]
        assert main_status(pod, "init-1")["state"]["terminated"]["reason"] == "Completed"
        assert main_status(pod, "init-1")["ready"] is True
        assert main_status(pod, "proxy")["state"]["running"]


@pytest.mark.virtual
async def test_a_sidecar_does_not_keep_a_finished_pod_alive(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = by_container({"main": Script(runs_for=2.0), "proxy": Script(stop_code=9)})
        proxy = {"name": "proxy", "image": "p:1", "restartPolicy": "Always"}
        await w.pod("job", restartPolicy="Never", initContainers=[proxy])
        await w.until("job", lambda pod: phase(pod) == "Succeeded")


@pytest.mark.virtual
async def test_a_failing_init_container_fails_a_pod_that_never_restarts(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = by_container({"setup": Script(runs_for=1.0, code=2)})
        await w.pod("job", restartPolicy="Never", initContainers=[{"name": "setup", "image": "s:1"}])
        pod = await w.until("job", lambda pod: phase(pod) == "Failed")
        assert main_status(pod)["state"]["waiting"]["reason"] == "PodInitializing"
        assert main_status(pod)["started"] is False


@pytest.mark.virtual
async def test_a_failing_pull_is_told_backed_off_and_heals(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.images.failing["app:1"] = ImageError("ErrImagePull", "no such host")
        await w.pod("web")
        await w.until("web", lambda pod: waiting_reason(pod) == "ErrImagePull")
        pod = await w.until("web", lambda pod: waiting_reason(pod) == "ImagePullBackOff")
        text = 'Back-off pulling image "app:1": ErrImagePull: no such host'
        assert main_status(pod)["state"]["waiting"]["message"] == text
        w.images.failing.clear()
        await w.until("web", ready)
        events = await w.events("web")
        assert ("Warning", "Failed", 'Failed to pull image "app:1": no such host') in events
        assert ("Normal", "BackOff", 'Back-off pulling image "app:1"') in events


@pytest.mark.virtual
async def test_a_missing_config_map_heals_when_it_appears(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        source = {"configMapKeyRef": {"name": "settings", "key": "mode"}}
        await w.pod("web", {"name": "main", "env": [{"name": "MODE", "valueFrom": source}]})
        pod = await w.until("web", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
        assert main_status(pod)["state"]["waiting"]["message"] == 'configmap "settings" not found'
        assert main_status(pod)["restartCount"] == 0
        await asyncio.sleep(1)
        began = w.now
        await w.create("ConfigMap", "settings", data={"mode": "fast"})
        await w.until("web", ready)
        assert w.now - began < 1.0
        assert dict(w.runtime.specs()[-1].environment)["MODE"] == "fast"


@pytest.mark.virtual
async def test_a_mounted_config_map_follows_its_object(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.create("ConfigMap", "settings", data={"mode": "fast"})
        volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
        mounts = [{"name": "settings", "mountPath": "/etc/settings"}]
        await w.pod("web", {"name": "main", "volumeMounts": mounts}, volumes=volumes)
        await w.until("web", ready)
        mount = next(mount for mount in w.runtime.specs()[-1].mounts if mount.target == "/etc/settings")
        assert mount.read_only
        assert (Path(mount.source) / "mode").read_text() == "fast"
        await w.client.patch(find("ConfigMap"), "default", "settings", {"data": {"mode": "slow"}})
        await asyncio.sleep(0.5)
        assert (Path(mount.source) / "mode").read_text() == "slow"


@pytest.mark.virtual
async def test_a_deadline_ends_the_pod(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("job", activeDeadlineSeconds=30)
        pod = await w.until("job", lambda pod: phase(pod) == "Failed")
        assert w.now == pytest.approx(30.0, abs=1.0)
        assert pod["status"]["reason"] == "DeadlineExceeded"
        assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"


@pytest.mark.virtual
async def test_hooks_run_before_ready_and_before_the_signal(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        ran: list[str] = []

        async def handler(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
            ran.append(f"{command.argv[0]} {w.now:.0f}")
            await asyncio.sleep(2)
            return 0

        w.runtime.handler = handler
        hooks = {"postStart": {"exec": {"command": ["hello"]}}, "preStop": {"exec": {"command": ["bye"]}}}
        await w.pod("web", {"name": "main", "lifecycle": hooks})
        await w.until("web", ready)
        assert w.now == pytest.approx(2.0, abs=0.1)
        await w.client.delete(PODS, "default", "web")
        await w.until_gone("web")
        assert ran == ["hello 0", "bye 2"]
        assert w.now == pytest.approx(4.0, abs=0.1)


@pytest.mark.virtual
async def test_a_failed_post_start_hook_restarts_the_container(tmp_path: Path) -> None:
    async with world(tmp_path) as w:

        async def handler(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
            return 1

        w.runtime.handler = handler
        await w.pod("web", {"name": "main", "lifecycle": {"postStart": {"exec": {"command": ["no"]}}}})
        await w.until("web", lambda pod: main_status(pod).get("restartCount", 0) >= 1)
        events = await w.events("web")
        assert ("Warning", "FailedPostStartHook", "PostStartHook failed") in events
        assert ("Normal", "Killing", "FailedPostStartHook") in events


@pytest.mark.virtual
async def test_a_pod_without_room_is_rejected_and_kept(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("big", {"name": "main", "resources": {"requests": {"cpu": "1000"}}})
        pod = await w.until("big", lambda pod: phase(pod) == "Failed")
        assert pod["status"]["reason"] == "OutOfcpu"
        assert pod["status"]["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu")
        assert not pod["status"].get("containerStatuses")


@pytest.mark.virtual
async def test_an_image_change_restarts_that_container_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web", {"name": "main"}, {"name": "other"})
        before = await w.until("web", ready)
        patch = [{"op": "replace", "path": "/spec/containers/0/image", "value": "app:2"}]
        await w.client.patch(PODS, "default", "web", patch, kind=PatchType.JSON)
        after = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        assert main_status(after)["image"] == "app:2"
        assert main_status(after, "other") == main_status(before, "other")
        assert ("Normal", "Killing", "Container main definition changed, will be restarted") in await w.events("web")


@pytest.mark.virtual
async def test_the_node_registers_and_renews_its_lease(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await asyncio.sleep(25)
        node = await w.client.get(find("Node"), None, "node-1")
        assert [condition["type"] for condition in node["status"]["conditions"]][-1] == "Ready"
        assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "10.244.0.1"}
        lease = await w.client.get(find("Lease", "coordination.k8s.io"), "kube-node-lease", "node-1")
        assert lease["spec"]["renewTime"].startswith("2026-01-01T00:00:20")


@pytest.mark.virtual
async def test_a_pod_has_its_hosts_file_where_no_container_mounts_its_own(tmp_path: Path) -> None:
    """services-dns 16.2: the same file for all containers, with the aliases."""
    async with world(tmp_path) as w:
        own = [{"name": "own", "mountPath": "/etc/hosts"}]
        containers = {"name": "main"}, {"name": "other"}, {"name": "proud", "volumeMounts": own}
        aliases = [{"ip": "192.0.2.7", "hostnames": ["a.example", "b"]}, {"ip": "192.0.2.8", "hostnames": ["c"]}]
        volumes = [{"name": "own", "emptyDir": {}}]
        await w.pod("web", *containers, volumes=volumes, hostAliases=aliases)
        address = (await w.until("web", ready))["status"]["podIP"]
        found = {
            spec.labels["container"]: [mount.source for mount in spec.mounts if mount.target == "/etc/hosts"]
            for spec in w.runtime.specs()
        }
        assert found["main"] == found["other"]
        assert found["proud"] != found["main"]
        assert [len(sources) for sources in found.values()] == [1, 1, 1]
        lines = Path(found["main"][0]).read_text().splitlines()
        assert lines[0] == "# Kubernetes-managed hosts file."
        assert lines[-5:] == [
            f"{address}\tweb",
            "",
            "# Entries added by HostAliases.",
            "192.0.2.7\ta.example\tb",
            "192.0.2.8\tc",
        ]
