"""Leader election against the real server in a simulated world: one leads, whatever the clocks say (workloads 20)."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.client.lease import LeaderElector
from homeport.errors import AlreadyExists, ApiError, Conflict
from homeport.testing.simulation import Simulation, run_simulated

LEASES = find("Lease", "coordination.k8s.io")


@dataclass
class Skewed:
    """A clock that is wrong by so many seconds."""

    clock: Any
    seconds: float

    def now(self) -> float:
        return float(self.clock.now()) + self.seconds


@dataclass
class Election:
    """Candidates in one simulation; notes who leads when, and fails when two do."""

    simulation: Simulation
    leading: set[str] = field(default_factory=set)
    history: list[str] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def run(self, name: str, skew: float) -> None:
        client = self.simulation._party(name, name)
        clock = Skewed(self.simulation.clock, skew)
        elector = LeaderElector(client, clock, "default", "leader", name, rng=random.Random(name))

        async def lead() -> None:
            assert not self.leading, f"{name} leads beside {self.leading}"
            self.leading.add(name)
            self.history.append(name)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.leading.discard(name)

        self.tasks[name] = asyncio.create_task(elector.run(lead))

    async def stop(self, name: str) -> None:
        self.tasks[name].cancel()
        await asyncio.wait([self.tasks[name]])

    async def lease(self) -> Any:
        return await self.simulation.client("test").get(LEASES, "default", "leader")


@pytest.mark.parametrize("skews", [(0.0, 0.0), (3600.0, -3600.0), (-86_400.0, 5.0)])
def test_a_challenger_takes_over_from_a_leader_that_is_cut_off(skews: tuple[float, float]) -> None:
    async def main() -> None:
        async with Simulation(nodes=1) as simulation:
            election = Election(simulation)
            election.run("a", skews[0])
            await asyncio.sleep(5)
            election.run("b", skews[1])
            await asyncio.sleep(120)
            assert election.history == ["a"]
            simulation.faults.cut("a")
            await asyncio.sleep(11)
            assert not election.leading  # it gave up before anybody else may begin
            await asyncio.sleep(20)
            assert election.history == ["a", "b"]
            simulation.faults.join("a")
            await asyncio.sleep(60)
            assert election.history == ["a", "b"]
            assert (await election.lease())["spec"]["leaseTransitions"] == 1
            await election.stop("b")
            assert (await election.lease())["spec"]["holderIdentity"] == ""
            await asyncio.sleep(5)
            assert election.history == ["a", "b", "a"]
            await election.stop("a")

    run_simulated(main)


def test_clocks_that_jump_depose_nobody() -> None:
    async def main() -> None:
        async with Simulation(nodes=1) as simulation:
            election = Election(simulation)
            election.run("a", 0.0)
            await asyncio.sleep(5)
            election.run("b", 0.0)
            for seconds in (86_400.0, -172_800.0, 30.0):
                simulation.jump(seconds)
                await asyncio.sleep(40)
            assert election.history == ["a"]
            for name in ("a", "b"):
                await election.stop(name)

    run_simulated(main)


def lease(holder: str, **metadata: Any) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.123450Z"}
    identity = {"name": "race", "namespace": "default", **metadata}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": identity, "spec": spec}


@pytest.mark.parametrize("rivals", [2, 5, 20])
def test_races_have_exactly_one_winner(rivals: int) -> None:
    async def main() -> None:
        async with Simulation(nodes=1) as simulation:
            clients = [simulation.client(f"c{number}") for number in range(rivals)]
            created = await asyncio.gather(
                *(client.create(LEASES, lease(f"c{number}")) for number, client in enumerate(clients)),
                return_exceptions=True,
            )
            (winner,) = [each for each in created if not isinstance(each, ApiError)]
            assert sum(isinstance(each, AlreadyExists) for each in created) == rivals - 1
            assert winner["spec"]["renewTime"] == "2026-01-01T00:00:00.123450Z"
            version = winner["metadata"]["resourceVersion"]
            updated = await asyncio.gather(
                *(
                    client.update(LEASES, lease(f"u{number}", resourceVersion=version))
                    for number, client in enumerate(clients)
                ),
                return_exceptions=True,
            )
            (successor,) = [each for each in updated if not isinstance(each, ApiError)]
            assert sum(isinstance(each, Conflict) for each in updated) == rivals - 1
            there = await clients[0].get(LEASES, "default", "race")
            assert there["spec"]["holderIdentity"] == successor["spec"]["holderIdentity"]

    run_simulated(main)
