"""Addresses: unique while leased, reused as late as possible, remembered over a crash."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.node.network.ipam import AddressPool, LeaseJournal, PoolExhausted, PoolState, replay

SMALL = IPv4Network("10.0.0.0/28")
GATEWAY = IPv4Address("10.0.0.1")


def pool(state: PoolState | None = None) -> AddressPool:
    return AddressPool(SMALL, (GATEWAY,), state or PoolState({}))


def test_addresses_are_given_in_order_and_kept_by_their_sandbox() -> None:
    addresses = pool()
    assert [str(addresses.acquire(name)) for name in ("a", "b", "a")] == ["10.0.0.2", "10.0.0.3", "10.0.0.2"]


def test_a_released_address_is_the_last_to_come_back() -> None:
    addresses = pool()
    first = addresses.acquire("a")
    assert addresses.release("a")
    assert not addresses.release("a")
    later = [addresses.acquire(f"pod-{n}") for n in range(12)]
    assert first not in later
    assert addresses.acquire("again") == first
    with pytest.raises(PoolExhausted):
        addresses.acquire("too many")


def test_the_walk_goes_on_after_a_restart() -> None:
    addresses = pool()
    addresses.acquire("a")
    addresses.acquire("b")
    addresses.release("b")
    assert str(pool(addresses.state).acquire("c")) == "10.0.0.4"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=80))
def test_no_two_sandboxes_ever_share_an_address(steps: list[tuple[bool, int]]) -> None:
    addresses = pool()
    for acquire, number in steps:
        if acquire:
            try:
                addresses.acquire(f"pod-{number}")
            except PoolExhausted:
                assert len(addresses.leases) == 13
        else:
            addresses.release(f"pod-{number}")
        leased = list(addresses.leases.values())
        assert len(set(leased)) == len(leased)
        assert all(address in SMALL and address != GATEWAY for address in leased)


def test_the_journal_remembers_leases_and_the_last_address(tmp_path: Path) -> None:
    journal = LeaseJournal(tmp_path / "network" / "leases")
    journal.leased("a", IPv4Address("10.0.0.2"))
    journal.leased("b", IPv4Address("10.0.0.3"))
    journal.freed("b")
    journal.close()
    again = LeaseJournal(tmp_path / "network" / "leases")
    assert again.state == PoolState({"a": IPv4Address("10.0.0.2")}, IPv4Address("10.0.0.3"))
    again.close()
    once_more = LeaseJournal(tmp_path / "network" / "leases")
    assert once_more.state == again.state
    once_more.close()


@pytest.mark.parametrize("line", ["lease 10.0.0.9 torn", "lease nonsense x\n", "free\n", "\n", "lease 10.0.0.9\n"])
def test_a_torn_or_foreign_line_is_passed_over(line: str) -> None:
    assert replay(["lease 10.0.0.2 a\n", line]).leases == {"a": IPv4Address("10.0.0.2")}
