"""Connections counted from what the kernel lists."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from homeport.netlink import attribute, nested
from homeport.proxy.flows import Connection, parse_connection, tally
from homeport.proxy.model import Carried, Endpoint, ProxySettings, Service, ServicePort, Target
from homeport.proxy.rules import decide
from tests.proxy.test_conntrack import BACK, CLIENT, FRONT, flow_tuple, target

SETTINGS = ProxySettings(
    IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"), (IPv4Address("10.244.0.1"),), (), "here"
)
OTHER = target("10.244.0.3", 5353)
GONE = target("10.244.0.4", 5353)


def entry(protocol: int, state: int | None = None) -> bytes:
    original, reply = flow_tuple(CLIENT, FRONT, protocol), flow_tuple(BACK, CLIENT, protocol)
    info = b"" if state is None else nested(4, nested(1, attribute(1, bytes([state]))))
    return bytes(4) + nested(1, original) + nested(2, reply) + info


@pytest.mark.parametrize(
    ("protocol", "state", "name", "live"),
    [
        (6, 1, "tcp", False),  # SYN_SENT
        (6, 3, "tcp", True),  # ESTABLISHED
        (6, 5, "tcp", True),  # CLOSE_WAIT
        (6, 7, "tcp", False),  # TIME_WAIT
        (17, None, "udp", True),
        (132, None, "sctp", True),
    ],
)
def test_a_connection_is_read(protocol: int, state: int | None, name: str, live: bool) -> None:
    assert parse_connection(entry(protocol, state)) == Connection(name, FRONT, BACK, live, CLIENT.address)


def test_other_entries_are_passed_over() -> None:
    assert parse_connection(entry(1)) is None
    whole = entry(17)
    assert all(parse_connection(whole[:length]) is None for length in range(len(whole)))


def test_connections_are_counted_by_endpoint() -> None:
    port = ServicePort("dns", "udp", FRONT.port, node_port=30053)
    service = Service(("default", "dns"), (port,), (FRONT.address,))
    rules = decide(service, {port: [Endpoint(BACK), Endpoint(OTHER)]}, SETTINGS)
    by_node = Target(IPv4Address("10.244.0.1"), 30053)
    flows = [
        Connection("udp", FRONT, BACK, True, CLIENT.address),
        Connection("udp", by_node, BACK, False, CLIENT.address),
        Connection("udp", FRONT, GONE, True, CLIENT.address),
        Connection("tcp", FRONT, BACK, True, CLIENT.address),  # another protocol
        Connection("udp", target("10.96.9.9", 53), BACK, True, CLIENT.address),  # another Service
        Connection("udp", FRONT, FRONT, True, CLIENT.address),  # began when there was no rule
    ]
    carried = [
        Carried(("default", "dns"), "udp", rules.ports[0].name, OTHER, 2, 5),
        Carried(("default", "other"), "udp", rules.ports[0].name, OTHER, 1, 1),
    ]
    counted = [(load.target, load.live, load.remembered, load.listed) for load in tally(rules, flows, carried)]
    assert counted == [(BACK, 1, 2, True), (OTHER, 2, 5, True), (GONE, 1, 1, False)]
