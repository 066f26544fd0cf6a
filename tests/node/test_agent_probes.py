"""Probes and restarts, the whole agent in virtual time."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from homeport.node.reach import HttpAnswer
from homeport.node.runtime.contract import ContainerSpec, ExecSpec
from homeport.node.runtime.simulated import Script, SimulatedExec, by_container
from tests.node.world import condition, main_status, phase, ready, running_id, waiting_reason, world


@pytest.mark.virtual
async def test_crashes_back_off_from_ten_seconds(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        starts: list[float] = []

        def crash(spec: ContainerSpec) -> Script:
            starts.append(w.now)
            return Script(runs_for=1.0, code=3)

        w.runtime.script = crash
        await w.pod("web")
        pod = await w.until("web", lambda pod: main_status(pod).get("restartCount") == 3 and waiting_reason(pod) != "")
        assert [round(later - earlier - 1.0) for earlier, later in pairwise(starts)] == [0, 10, 20]
        status = main_status(pod)
        assert waiting_reason(pod) == "CrashLoopBackOff"
        text = f"back-off 40s restarting failed container=main pod=web_default({pod['metadata']['uid']})"
        assert status["state"]["waiting"]["message"] == text
        assert status["lastState"]["terminated"]["exitCode"] == 3
        assert phase(pod) == "Running"


@pytest.mark.virtual
async def test_readiness_follows_the_probe(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        answer = HttpAnswer(503)
        w.reach.answers = lambda address, port, path: answer
        probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 5}
        await w.pod("web", {"name": "main", "readinessProbe": probe})
        pod = await w.until("web", lambda pod: main_status(pod).get("started") is True)
        assert condition(pod, "Ready") == "False"
        await asyncio.sleep(7)
        answer = HttpAnswer(200)
        await w.until("web", ready)
        assert 7.0 <= w.now < 10.0  # seen between two periods
        answer = HttpAnswer(500)
        await w.until("web", lambda pod: not ready(pod))
        assert w.now == pytest.approx(20.0, abs=0.1)  # three failures in a row, one a period
        text = "Readiness probe failed: HTTP probe failed with statuscode: 503"
        assert ("Warning", "Unhealthy", text) in await w.events("web")


@pytest.mark.virtual
async def test_a_failed_liveness_probe_restarts_the_container(tmp_path: Path) -> None:
    async with world(tmp_path) as w:

        def answers(address: str, port: int, path: str) -> HttpAnswer:
            raise ConnectionRefusedError(111, "Connection refused")

        w.reach.answers = answers
        probe = {"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2}
        await w.pod("web", {"name": "main", "livenessProbe": probe})
        pod = await w.until("web", lambda pod: main_status(pod).get("restartCount") == 1)
        assert w.now == pytest.approx(5.0, abs=0.5)
        events = await w.events("web")
        assert ("Normal", "Killing", "Container main failed liveness probe, will be restarted") in events
        text = "Liveness probe failed: dial tcp 10.244.0.2:80: connect: connection refused"
        assert ("Warning", "Unhealthy", text) in events
        assert main_status(pod)["lastState"]["terminated"]


@pytest.mark.virtual
async def test_a_startup_probe_holds_the_others_back(tmp_path: Path) -> None:
    async with world(tmp_path) as w:

        async def handler(spec: ContainerSpec, command: ExecSpec, streams: SimulatedExec) -> int:
            return 0 if w.now >= 20 or command.argv == ("ready",) else 1

        w.runtime.handler = handler
        startup = {"exec": {"command": ["started"]}, "periodSeconds": 4, "failureThreshold": 30}
        readiness = {"exec": {"command": ["ready"]}, "periodSeconds": 60}
        await w.pod("web", {"name": "main", "startupProbe": startup, "readinessProbe": readiness})
        await w.until("web", ready)
        assert w.now == pytest.approx(20.0, abs=0.5)  # readiness is asked as soon as startup has passed


@pytest.mark.virtual
async def test_one_exit_code_may_restart_the_whole_pod_in_place(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = by_container({"setup": Script(runs_for=1.0)})
        rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
        main = {"name": "main", "restartPolicy": "Never", "restartPolicyRules": [rule]}
        await w.pod("web", main, {"name": "other"}, initContainers=[{"name": "setup", "image": "s:1"}])
        before = await w.until("web", ready)
        sandboxes = await w.runtime.sandboxes()
        w.runtime.kill(running_id(before), code=42)
        during = await w.until("web", lambda pod: condition(pod, "AllContainersRestarting") == "True")
        assert waiting_reason(during) == "RestartingAllContainers"
        after = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        assert condition(after, "AllContainersRestarting") == "False"
        assert condition(after, "Initialized") == "True"
        assert main_status(after, "setup")["restartCount"] == 1
        assert main_status(after, "other")["lastState"]["terminated"]["exitCode"] == 137
        assert main_status(after, "main")["lastState"]["terminated"]["exitCode"] == 42
        assert await w.runtime.sandboxes() == sandboxes


@pytest.mark.virtual
async def test_a_lost_sandbox_is_made_again_and_init_containers_with_it(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.runtime.script = by_container({"setup": Script(runs_for=1.0)})
        await w.pod("web", initContainers=[{"name": "setup", "image": "s:1"}])
        await w.until("web", ready)
        w.runtime.lose_sandbox((await w.runtime.sandboxes())[0].id)
        pod = await w.until("web", lambda pod: ready(pod) and main_status(pod)["restartCount"] == 1)
        assert main_status(pod, "setup")["restartCount"] == 1
        assert "SandboxChanged" in [reason for _, reason, _ in await w.events("web")]
