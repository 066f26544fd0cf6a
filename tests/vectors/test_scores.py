"""No topic falls below its committed score."""

import asyncio

import pytest

from homeport.testing.loop import run_virtual
from tests.vectors import replay_api, replay_dns, replay_workloads
from tests.vectors.load import topics
from tests.vectors.scores import committed


@pytest.mark.parametrize("topic", topics("dns"))
def test_dns(topic: str) -> None:
    equal, total = asyncio.run(replay_dns.replay(topic))
    assert equal >= committed("dns", topic), f"{equal} of {total}"


@pytest.mark.parametrize("topic", topics("api"))
def test_api(topic: str) -> None:
    (score,) = run_virtual(lambda: replay_api.replay([topic])).values()
    assert score.steps_passed >= committed("api", topic), [name for name, _ in score.failed]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", replay_workloads.families())
def test_workloads(family: str) -> None:
    said: list[str] = []
    equal, total = replay_workloads.replay_family(family, report=said.append)
    assert equal >= committed("workloads", family), "\n".join([f"{equal} of {total}", *said])
