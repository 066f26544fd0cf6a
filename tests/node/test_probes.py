"""When probes look, and what they say."""

import asyncio
from typing import Any

import pytest

from homeport.node.handlers import Outcome
from homeport.node.pod import ContainerDef, Probe, ProbeKind, parse_pod
from homeport.node.probes import Instance, Tally, probe_instance
from homeport.testing.loop import VirtualClock


class Told:
    """Notes when the container turned ready, and how many single failures were reported."""

    def __init__(self) -> None:
        self.ready_at: list[tuple[float, bool]] = []
        self.failures = 0

    def started(self) -> None: ...
    def failed(self, kind: ProbeKind) -> None: ...
    def errored(self, kind: ProbeKind, message: str) -> None: ...

    def ready(self, ready: bool) -> None:
        self.ready_at.append((asyncio.get_running_loop().time(), ready))

    def result(self, kind: ProbeKind, outcome: Outcome) -> None:
        self.failures += not outcome.success


def container(handler: dict[str, Any], **timing: int) -> ContainerDef:
    spec = {"containers": [{"name": "c", "image": "i", "readinessProbe": {**handler, "periodSeconds": 10, **timing}}]}
    tree = {"metadata": {"uid": "u", "namespace": "default", "name": "p"}, "spec": spec}
    return parse_pod(tree).containers[0]


async def probed(definition: ContainerDef, opens_at: float, seconds: float) -> tuple[Told, int]:
    """Probe something that succeeds from `opens_at` seconds after its start, for so many seconds."""
    told, clock, tries = Told(), VirtualClock(), 0
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def perform(_: Probe) -> Outcome:
        nonlocal tries
        tries += 1
        return Outcome(loop.time() - began >= opens_at, "")

    instance = Instance(definition, clock.now())
    task = asyncio.create_task(probe_instance(instance, perform, told, clock, asyncio.Event()))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    told.ready_at = [(at - began, ready) for at, ready in told.ready_at]
    return told, tries


@pytest.mark.virtual
async def test_a_port_that_opens_late_is_ready_within_its_first_period() -> None:
    told, _ = await probed(container({"tcpSocket": {"port": 80}}), 0.3, 9)
    ((at, ready),) = told.ready_at
    assert ready
    assert 0.3 <= at < 0.6
    assert told.failures == 1, "only the failure at the period's start counts"


@pytest.mark.virtual
async def test_a_command_is_not_run_between_periods() -> None:
    told, tries = await probed(container({"exec": {"command": ["true"]}}), 0.3, 15)
    assert told.ready_at == [(10.0, True)]
    assert tries == 2


@pytest.mark.virtual
async def test_looking_between_periods_grows_rare() -> None:
    _, tries = await probed(container({"httpGet": {"port": 80}}), 1000, 100)
    assert tries < 10 + 12, "ten periods, and looks in doubling distance within the first"


@pytest.mark.virtual
async def test_failures_count_by_the_period() -> None:
    told, _ = await probed(container({"tcpSocket": {"port": 80}}, failureThreshold=3), 1000, 25)
    assert told.failures == 3


def test_a_verdict_changes_at_its_threshold() -> None:
    probe = container({"tcpSocket": {"port": 80}}, failureThreshold=3, successThreshold=2).probe(ProbeKind.READINESS)
    assert probe is not None
    tally, verdicts = Tally(False), []
    for success in (True, True, False, False, True, False, False, False):
        tally = tally.add(success, probe)
        verdicts.append(tally.verdict)
    assert verdicts == [False, True, True, True, True, True, True, False]
