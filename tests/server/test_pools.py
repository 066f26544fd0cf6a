"""Port pools: bands, exhaustion, and what comes back."""

import random

from homeport.server.pools import PortPool


def test_ports_are_picked_above_the_static_band_first() -> None:
    pool = PortPool(30000, 32767, random.Random(4))
    picked = [pool.pick() for _ in range(32767 - 30086 + 1)]
    assert min(picked) == 30086
    assert pool.pick() < 30086
