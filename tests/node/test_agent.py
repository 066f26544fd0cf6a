"""The whole agent in virtual time: real API server, simulated runtime, network and programs."""

from pathlib import Path

import pytest

from tests.node.world import main_status, phase, ready, world


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
