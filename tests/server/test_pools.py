"""Address and port pools: bands, exhaustion, and what comes back."""

import random
from ipaddress import IPv4Address, IPv4Network

import pytest

from homeport.server.pools import AddressPool, Full, OutOfRange, PortPool, Taken


@pytest.mark.parametrize(("cidr", "static"), [("10.0.0.0/28", 0), ("10.0.0.0/24", 16), ("10.0.0.0/16", 256)])
def test_picks_leave_the_static_band_to_those_who_ask(cidr: str, static: int) -> None:
    network = IPv4Network(cidr)
    pool = AddressPool(network, random.Random(1))
    first = int(network.network_address) + 1
    assert all(int(IPv4Address(pool.pick())) >= first + static for _ in range(10))


def test_every_usable_address_is_given_once_and_no_more() -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/24"), random.Random(2))
    given = {pool.pick() for _ in range(254)}
    assert len(given) == 254
    assert not {"10.0.0.0", "10.0.0.255"} & given
    with pytest.raises(Full):
        pool.pick()
    pool.free("10.0.0.9")
    assert pool.pick() == "10.0.0.9"


def test_what_is_asked_for_may_be_taken_or_not_exist() -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/24"), random.Random(3))
    pool.take("10.0.0.1")
    with pytest.raises(Taken):
        pool.take("10.0.0.1")
    for outside in ("10.0.0.0", "10.0.0.255", "10.0.1.1"):
        with pytest.raises(OutOfRange):
            pool.take(outside)


def test_ports_are_picked_above_the_static_band_first() -> None:
    pool = PortPool(30000, 32767, random.Random(4))
    picked = [pool.pick() for _ in range(32767 - 30086 + 1)]
    assert min(picked) == 30086
    assert pool.pick() < 30086
