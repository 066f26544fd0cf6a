"""Which remembered UDP flows have lost their endpoint."""

import struct
from ipaddress import IPv4Address, IPv6Address

from homeport.netlink import attribute, nested
from homeport.proxy.conntrack import Flow, parse_flow, stale
from homeport.proxy.model import Target


def target(address: str, port: int) -> Target:
    return Target(IPv4Address(address), port)


def flow_tuple(source: Target, destination: Target, protocol: int = 17) -> bytes:
    addresses = nested(1, attribute(1, source.address.packed), attribute(2, destination.address.packed))
    ports = (attribute(kind, port.to_bytes(2, "big")) for kind, port in ((2, source.port), (3, destination.port)))
    return addresses + nested(2, attribute(1, bytes([protocol])), *ports)


CLIENT, FRONT, BACK = target("10.244.0.9", 40000), target("10.96.1.1", 53), target("10.244.0.2", 5353)


def test_a_flow_over_ipv6_is_read_and_named_to_the_kernel_as_such() -> None:
    client, front, back = (Target(IPv6Address(f"fd00::{n}"), 1000 + n) for n in (9, 1, 2))

    def ends(source: Target, destination: Target) -> bytes:
        addresses = nested(1, attribute(3, source.address.packed), attribute(4, destination.address.packed))
        ports = (attribute(kind, port.to_bytes(2, "big")) for kind, port in ((2, source.port), (3, destination.port)))
        return addresses + nested(2, attribute(1, b"\x11"), *ports)

    flow = parse_flow(
        bytes(4) + nested(1, ends(client, front)) + nested(2, ends(back, client)) + attribute(12, b"id__")
    )
    assert flow is not None
    assert (flow.asked, flow.answers) == (front, back)


def entry(protocol: int = 17) -> bytes:
    original, reply = flow_tuple(CLIENT, FRONT, protocol), flow_tuple(BACK, CLIENT, protocol)
    return bytes(4) + nested(1, original) + nested(2, reply) + attribute(12, struct.pack("=I", 7))


def test_a_flow_is_read_from_a_conntrack_entry() -> None:
    flow = parse_flow(entry())
    assert flow is not None
    assert (flow.asked, flow.answers) == (FRONT, BACK)
    assert flow.original == flow_tuple(CLIENT, FRONT)


def test_other_protocols_and_torn_entries_are_passed_over() -> None:
    assert parse_flow(entry(6)) is None
    assert all(parse_flow(entry()[:length]) is None for length in range(len(entry())))


def test_flows_stay_while_their_endpoint_serves() -> None:
    other = target("10.244.0.3", 5353)
    flow = Flow(FRONT, BACK, b"", b"")
    astray = Flow(FRONT, FRONT, b"", b"")  # began before there was any rule
    elsewhere = Flow(target("10.96.1.2", 53), BACK, b"", b"")
    assert stale([flow, astray, elsewhere], {FRONT: frozenset({BACK, other})}) == [astray]
    assert stale([flow, astray, elsewhere], {FRONT: frozenset({other})}) == [flow, astray]
    assert stale([flow, astray, elsewhere], {}) == []
