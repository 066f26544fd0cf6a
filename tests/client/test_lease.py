import asyncio
import random

import pytest

from homeport.api.exchange import User
from homeport.client.inprocess import InProcessTransport
from homeport.client.lease import LeaderElector, LeaseTimes, Record, decide
from homeport.client.rest import RestClient
from homeport.errors import ServiceUnavailable
from homeport.testing.loop import VirtualClock
from tests.client.objects import ObjectServer

TIMES = LeaseTimes()
NOW = "2026-01-01T00:00:09.000000Z"
HELD = Record("other", 15, "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:05.000000Z", 3)
PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leader"


@pytest.mark.parametrize(
    ("seen", "unchanged", "expected"),
    [
        (None, 0.0, Record("me", 15, NOW, NOW, 0)),
        (HELD, 14.9, None),
        (HELD, 15.0, Record("me", 15, NOW, NOW, 4)),
        (Record("", 1, "", "", 3), 0.0, Record("me", 15, NOW, NOW, 4)),
        (Record("me", 15, "then", "then", 3), 0.0, Record("me", 15, "then", NOW, 3)),
    ],
)
def test_who_may_lead(seen: Record | None, unchanged: float, expected: Record | None) -> None:
    assert decide("me", seen, unchanged, TIMES, NOW) == expected


def test_times_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError):
        LeaseTimes(lease=10, renew_deadline=10)


class Candidates:
    """Several who run for one lease; records who leads when."""

    def __init__(self, server: ObjectServer) -> None:
        self.server = server
        self.leading: set[str] = set()
        self.history: list[tuple[str, float]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str) -> None:
        client = RestClient(InProcessTransport(self.server.handle, User(name)), name)
        elector = LeaderElector(
            client, VirtualClock(), "kube-system", "leader", name, rng=random.Random(len(self.tasks))
        )

        async def lead() -> None:
            assert not self.leading
            self.leading.add(name)
            self.history.append((name, asyncio.get_running_loop().time()))
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.leading.discard(name)

        self.tasks[name] = asyncio.create_task(elector.run(lead))

    async def stop(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.gather(self.tasks[name], return_exceptions=True)


@pytest.mark.virtual
async def test_one_leads_and_a_released_lease_is_taken_at_once() -> None:
    candidates = Candidates(ObjectServer())
    for name in ("a", "b", "c"):
        candidates.start(name)
    await asyncio.sleep(60)
    assert [name for name, _ in candidates.history] == ["a"]
    await candidates.stop("a")
    assert candidates.server.objects[PATH]["spec"]["holderIdentity"] == ""
    await asyncio.sleep(5)
    assert len(candidates.history) == 2
    assert candidates.server.objects[PATH]["spec"]["leaseTransitions"] == 1
    for name in ("b", "c"):
        await candidates.stop(name)


@pytest.mark.virtual
async def test_a_silent_leader_is_replaced_after_its_lease_and_has_stopped_by_then() -> None:
    server = ObjectServer()
    candidates = Candidates(server)
    candidates.start("a")
    await asyncio.sleep(1)
    server.failures.extend([ServiceUnavailable("away")] * 100)  # only a is asking: it cannot renew
    await asyncio.sleep(12)
    assert candidates.leading == set()
    server.failures.clear()
    await asyncio.sleep(5)
    assert candidates.leading == {"a"}
    await candidates.stop("a")


@pytest.mark.virtual
async def test_a_challenger_waits_a_whole_lease_of_silence() -> None:
    server = ObjectServer()
    candidates = Candidates(server)
    server.objects[PATH] = {
        "metadata": {"name": "leader", "namespace": "kube-system", "resourceVersion": "1"},
        "spec": {**HELD.spec(), "strategy": "kept"},
    }
    candidates.start("b")
    await asyncio.sleep(30)
    (name, when), *_ = candidates.history
    assert name == "b"
    assert 15 <= when < 15 + 2 * 2.2
    assert server.objects[PATH]["spec"]["strategy"] == "kept"
    await candidates.stop("b")
