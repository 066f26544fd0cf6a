"""How pods end and how agents begin again, the whole agent in virtual time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from homeport.node.reach import HttpAnswer
from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.simulated import Script, SimulatedExec, by_container
from tests.node.world import PODS, condition, main_status, phase, ready, running_id, world


@pytest.mark.virtual
async def test_deletion_stops_publishes_and_removes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(stop_after=5.0, stop_code=0)
        await w.pod("web")
        await w.until("web", ready)
        began = w.now
        await w.client.delete(PODS, "default", "web")
        ended = await w.until("web", lambda pod: phase(pod) == "Succeeded")
        assert w.now - began == pytest.approx(5.0, abs=0.1)
        assert main_status(ended)["state"]["terminated"]["exitCode"] == 0
        assert condition(ended, "Ready") == "False"
        await w.until_gone("web")
        await asyncio.sleep(0.1)
        assert not await w.runtime.sandboxes()
        assert not w.network.attached
        assert not list((tmp_path / "pods").iterdir())
        assert ("Normal", "Killing", "Stopping container main") in await w.events("web")


@pytest.mark.virtual
@pytest.mark.parametrize(("departs_after", "told_after"), [(0.4, 0.4), (1e6, 1.0)])
async def test_a_deleted_pod_is_told_when_nobody_is_led_to_it(
    tmp_path: Path, departs_after: float, told_after: float
) -> None:
    asked: list[str] = []

    async def departed(uid: str) -> None:
        asked.append(uid)
        await asyncio.sleep(departs_after)

    async with world(tmp_path, start=False) as w:
        w.departed = departed
        w.start_node()
        w.runtime.script = lambda spec: Script(stop_after=0.0, stop_code=0)
        await w.pod("web")
        pod = await w.until("web", ready)
        began = w.now
        await w.client.delete(PODS, "default", "web")
        await w.until("web", lambda pod: phase(pod) == "Succeeded")
        assert w.now - began == pytest.approx(told_after, abs=0.1)
        assert asked == [pod["metadata"]["uid"]]


@pytest.mark.virtual
async def test_a_program_that_ignores_the_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(stop_after=None)
        await w.pod("web", terminationGracePeriodSeconds=20)
        await w.until("web", ready)
        began = w.now
        await w.client.delete(PODS, "default", "web")
        ended = await w.until("web", lambda pod: phase(pod) == "Failed")
        assert w.now - began == pytest.approx(20.0, abs=0.1)
        assert main_status(ended)["state"]["terminated"]["exitCode"] == 137
        await w.until_gone("web")


@pytest.mark.virtual
async def test_a_shorter_deletion_takes_effect_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(stop_after=None)
        await w.pod("web", terminationGracePeriodSeconds=300)
        await w.until("web", ready)
        await w.client.delete(PODS, "default", "web")
        await asyncio.sleep(10)
        began = w.now
        await w.client.delete(PODS, "default", "web", grace_seconds=14)
        await w.until_gone("web")
        assert w.now - began <= 14.5


@pytest.mark.virtual
@pytest.mark.parametrize(("stop_after", "seconds"), [(None, 7.0), (0.5, 5.5)])
async def test_a_hook_longer_than_the_grace_leaves_two_seconds(
    tmp_path: Path, stop_after: float | None, seconds: float
) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(stop_after=stop_after)

        async def long(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
            await asyncio.sleep(100)
            return 0

        w.runtime.handler = long
        hook = {"preStop": {"exec": {"command": ["long"]}}}
        await w.pod("web", {"name": "main", "lifecycle": hook}, terminationGracePeriodSeconds=5)
        await w.until("web", ready)
        began = w.now
        await w.client.delete(PODS, "default", "web")
        await w.until_gone("web")
        assert w.now - began == pytest.approx(seconds, abs=0.1)


@pytest.mark.virtual
async def test_readiness_goes_on_while_a_pod_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answer = HttpAnswer(200)
        w.reach.answers = lambda address, port, path: answer
        w.runtime.script = lambda spec: Script(stop_after=20.0)
        probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 1}
        await w.pod("web", {"name": "main", "readinessProbe": probe, "livenessProbe": probe})
        await w.until("web", ready)
        await w.client.delete(PODS, "default", "web")
        await asyncio.sleep(5)
        assert ready(await w.get("web"))
        answer = HttpAnswer(503)
        pod = await w.until("web", lambda pod: not ready(pod))
        assert phase(pod) == "Running"
        await w.until_gone("web")
        assert not [event for event in await w.events("web") if "Liveness" in event[2]]


@pytest.mark.virtual
async def test_sidecars_end_after_the_regular_containers(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(stop_after=3.0)
        sidecars = [{"name": name, "image": "s:1", "restartPolicy": "Always"} for name in ("first", "second")]
        await w.pod("web", initContainers=sidecars)
        await w.until("web", ready)
        names = {spec.id: spec.labels["container"] for spec in w.runtime.specs()}
        began = w.now
        exits = w.runtime.exits()
        await w.client.delete(PODS, "default", "web")
        ends = [(names[exit.container_id], round(w.now - began)) for exit in [await anext(exits) for _ in range(3)]]
        assert [name for name, _ in ends] == ["main", "second", "first"]
        assert w.now - began == pytest.approx(9.0, abs=0.1)


@pytest.mark.virtual
async def test_a_killed_agent_finds_everything_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web")
        w.runtime.kill(running_id(await w.until("web", ready)))
        before = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        await w.kill_node()
        version = before["metadata"]["resourceVersion"]
        w.start_node()
        async with w.client.watch(PODS, "default", resource_version=version) as changes:
            seen: list[Any] = []

            async def look() -> None:
                seen.extend([change.object async for change in changes])

            looking = asyncio.create_task(look())
            await asyncio.sleep(120)
            looking.cancel()
            await asyncio.wait([looking])
        after = await w.get("web")
        assert main_status(after) == main_status(before)
        assert all(ready(pod) and condition(pod, "PodReadyToStartContainers") == "True" for pod in seen)
        assert len(await w.runtime.sandboxes()) == 1


@pytest.mark.virtual
async def test_an_exit_while_no_agent_looked_is_counted_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web")
        before = await w.until("web", ready)
        await w.kill_node()
        w.runtime.kill(running_id(before), code=5)
        await asyncio.sleep(30)
        w.start_node()
        after = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        assert main_status(after)["lastState"]["terminated"]["exitCode"] == 5
        await asyncio.sleep(60)
        assert main_status(await w.get("web"))["restartCount"] == 1


@pytest.mark.virtual
async def test_a_pod_deleted_while_no_agent_looked_is_ended_afterwards(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.pod("web")
        await w.pod("gone")
        await w.until("web", ready)
        await w.until("gone", ready)
        await w.kill_node()
        await w.client.delete(PODS, "default", "web")
        await w.client.delete(PODS, "default", "gone", grace_seconds=0)
        w.start_node()
        await w.until_gone("web")
        await asyncio.sleep(5)
        assert not await w.runtime.sandboxes()
        assert not list((tmp_path / "pods").iterdir())


@pytest.mark.virtual
@pytest.mark.parametrize("policy", ["Always", "Never"])
async def test_a_sandbox_lost_while_no_agent_looked(tmp_path: Path, policy: str) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = by_container({"setup": Script(runs_for=1.0)})
        await w.pod("web", restartPolicy=policy, initContainers=[{"name": "setup", "image": "s:1"}])
        await w.until("web", ready)
        await w.kill_node()
        w.runtime.lose_sandbox((await w.runtime.sandboxes())[0].id)
        await asyncio.sleep(5)
        w.start_node()
        if policy == "Never":
            ended = await w.until("web", lambda pod: phase(pod) == "Failed")
            assert main_status(ended)["state"]["terminated"]["exitCode"] == 137
            return
        pod = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        assert main_status(pod, "setup")["restartCount"] == 1
        assert "SandboxChanged" in [reason for _, reason, _ in await w.events("web")]


@pytest.mark.virtual
async def test_a_finished_pod_keeps_its_status_over_agents(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = by_container({"main": Script(runs_for=1.0)})
        await w.pod("job", restartPolicy="Never")
        before = await w.until("job", lambda pod: condition(pod, "PodReadyToStartContainers") == "False")
        before = await w.until("job", lambda pod: phase(pod) == "Succeeded")
        await asyncio.sleep(1)
        before = await w.get("job")
        await w.kill_node()
        w.start_node()
        await asyncio.sleep(30)
        assert (await w.get("job"))["status"] == before["status"]


@pytest.mark.virtual
async def test_a_namesake_starts_only_after_the_pod_before_it_has_left(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = lambda spec: Script(stop_after=1.5)
        await w.pod("web")
        await w.until("web", ready)
        began = w.now
        await w.client.delete(PODS, "default", "web", grace_seconds=0)
        await w.pod("web")
        await w.until("web", ready)
        assert w.now - began >= 1.5
        assert len(await w.runtime.sandboxes()) == 1
