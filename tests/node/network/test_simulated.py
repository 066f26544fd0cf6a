"""The simulated network keeps the real one's contract."""

import pytest

from homeport.node.network.simulated import SimulatedNetwork
from tests.node.network.contract import keeps_the_contract


@pytest.mark.parametrize("gateways", [(), ("10.244.0.1", "fd00:10:244::1"), ("fd00:10:244::1",)])
async def test_the_contract(gateways: tuple[str, ...]) -> None:
    await keeps_the_contract(SimulatedNetwork(*gateways), 1, 2, 3)
