"""The simulated network keeps the real one's contract."""

from homeport.node.network.simulated import SimulatedNetwork
from tests.node.network.contract import keeps_the_contract


async def test_the_contract() -> None:
    await keeps_the_contract(SimulatedNetwork(), 1, 2, 3)
