"""When a range of cluster addresses is ready, and when it may go."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from homeport.controllers.servicecidr.reconcile import IN_USE, READY, Cidr, Decision, reconcile

NOW = 1_000.0


def cidr(name: str, *networks: str, **fields: object) -> Cidr:
    made = Cidr(name, tuple(ip_network(network) for network in networks), finalized=True, ready=READY)
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "decision"),
    [
        ({"finalized": False, "ready": None}, Decision(finalizer=True, ready=READY)),
        ({"ready": IN_USE}, Decision(ready=READY)),
        ({}, Decision()),
    ],
)
def test_a_range_that_lives_is_held_and_ready(fields: dict[str, object], decision: Decision) -> None:
    assert reconcile(cidr("a", "10.1.0.0/24", **fields), [], [], NOW) == decision


@pytest.mark.parametrize(
    ("networks", "others", "used", "goes"),
    [
        (("10.1.0.0/24",), (), ("10.2.0.1",), True),
        (("10.1.0.0/24",), (), ("10.1.0.1",), False),
        (("10.1.0.0/24",), ("10.1.0.0/16",), ("10.1.0.1",), True),
        (("10.1.0.0/24",), ("10.1.0.0/24",), ("10.1.0.1",), True),
        (("10.1.0.0/24",), ("10.1.0.0/25",), ("10.1.0.1",), True),
        (("10.1.0.0/24",), ("10.1.0.0/25",), ("10.1.0.129",), False),
        (("10.1.0.0/24",), ("10.1.0.0/25",), ("10.1.0.127",), False),  # the other's broadcast address
        (("10.1.0.0/24", "fd00::/112"), ("10.1.0.0/16",), ("fd00::7",), False),
        (("10.1.0.0/24", "fd00::/112"), ("10.1.0.0/16", "fd00::/64"), ("fd00::7", "10.1.0.9"), True),
    ],
)
def test_a_range_goes_when_it_leaves_no_address_without_one(
    networks: tuple[str, ...], others: tuple[str, ...], used: tuple[str, ...], goes: bool
) -> None:
    leaving = cidr("a", *networks, deleted_at=NOW - 60)
    rest = [cidr(f"o{number}", network) for number, network in enumerate(others)]
    decision = reconcile(leaving, rest, [ip_address(one) for one in used], NOW)
    assert decision == (Decision(finalizer=False) if goes else Decision(ready=IN_USE))


def test_it_waits_until_nobody_can_be_drawing_from_it() -> None:
    assert reconcile(cidr("a", "10.1.0.0/24", deleted_at=NOW - 4), [], [], NOW) == Decision(again_seconds=6.0)
    assert reconcile(cidr("a", "10.1.0.0/24", deleted_at=NOW - 4, ready=IN_USE), [], [ip_address("10.1.0.1")], NOW) == (
        Decision()
    )
