"""Flows the kernel remembers: reading them, and forgetting those over UDP that lead to an endpoint that is gone.

Rules are asked for the first packet of a flow only. A client that goes on sending from one socket would stick to a
dead endpoint, so such flows are deleted and the next packet is balanced anew.

Source: `services-dns` 17.2; Linux `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from homeport.netlink import NETFILTER, Netlink, Request, attribute, attributes
from homeport.proxy.model import ServiceRules, Target

__all__ = [
    "LIST_FLOWS",
    "Flow",
    "Tuples",
    "forget_stale_flows",
    "parse_flow",
    "parse_tuples",
    "serving_endpoints",
    "stale",
]

_GET: Final = 0x101
_DELETE: Final = 0x102
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID = 1, 2, 12
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_SOURCE, _DESTINATION = 1, 2
_IP_V6: Final = 2
"""What is added to an address attribute of IPv4 makes that of IPv6."""
_PROTO_NUMBER, _PROTO_SOURCE_PORT, _PROTO_DESTINATION_PORT = 1, 2, 3
_NESTED: Final = 0x8000
_GENERIC: Final = struct.Struct("=BBH")
LIST_FLOWS: Final = Request(_GET, _GENERIC.pack(socket.AF_UNSPEC, 0, 0), "list flows")


@dataclass(frozen=True, slots=True)
class Flow:
    """One UDP flow: whom the client asked, who answers, and how the kernel knows it."""

    asked: Target
    answers: Target
    original: bytes
    identity: bytes


def serving_endpoints(services: Iterable[ServiceRules]) -> dict[Target, frozenset[Target]]:
    """Return the endpoints flows may stay on, by the UDP front end they asked; none for those nobody serves."""
    return {
        Target(frontend.address, frontend.port): port.serving
        for rules in services
        for port in rules.ports
        if port.protocol == "udp" and port.serving
        for frontend in port.frontends
    }


def stale(flows: Iterable[Flow], serving: Mapping[Target, frozenset[Target]]) -> list[Flow]:
    """Return the flows to a known front end that end elsewhere than at one of its serving endpoints."""
    return [flow for flow in flows if flow.asked in serving and flow.answers not in serving[flow.asked]]


def forget_stale_flows(serving: Mapping[Target, frozenset[Target]]) -> int:
    """Delete the stale flows of this thread's network namespace and return their number. Raises OSError."""
    if not serving:
        return 0
    with Netlink(NETFILTER) as netlink:
        bodies = netlink.dump(LIST_FLOWS)
        gone = stale((flow for flow in map(parse_flow, bodies) if flow is not None), serving)
        if gone:
            netlink.perform([_forget(flow) for flow in gone])
    return len(gone)


def _forget(flow: Flow) -> Request:
    """The id guards against a new flow with the same addresses; a flow that ended by itself is fine."""
    family = socket.AF_INET if flow.asked.address.version == 4 else socket.AF_INET6
    body = (
        _GENERIC.pack(family, 0, 0)
        + attribute(_TUPLE_ORIGINAL | _NESTED, flow.original)
        + attribute(_ID, flow.identity)
    )
    return Request(_DELETE, body, "delete a flow", 0, frozenset({errno.ENOENT}))


@dataclass(frozen=True, slots=True)
class Tuples:
    """A conntrack entry: its protocol by number, the client, whom it asked, who answers, and all of it."""

    protocol: int
    client: Target
    asked: Target
    answers: Target
    attributes: Mapping[int, bytes]


def parse_flow(body: bytes) -> Flow | None:
    """Return the flow a conntrack entry describes, or None when it is not UDP."""
    tuples = parse_tuples(body)
    identity = tuples.attributes.get(_ID) if tuples is not None else None
    if tuples is None or identity is None or tuples.protocol != socket.IPPROTO_UDP:
        return None
    return Flow(tuples.asked, tuples.answers, tuples.attributes[_TUPLE_ORIGINAL], identity)


def parse_tuples(body: bytes) -> Tuples | None:
    """Read a conntrack entry, or return None for one that is torn or without ports."""
    found = dict(attributes(body[_GENERIC.size :]))
    original, reply = found.get(_TUPLE_ORIGINAL), found.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    asked = _target(original, _DESTINATION, _PROTO_DESTINATION_PORT)
    answers = _target(reply, _SOURCE, _PROTO_SOURCE_PORT)
    client = _target(original, _SOURCE, _PROTO_SOURCE_PORT)
    return Tuples(asked[0], client[1], asked[1], answers[1], found) if asked and answers and client else None


def _target(data: bytes, address_kind: int, port_kind: int) -> tuple[int, Target] | None:
    """Return the protocol and one end of a tuple."""
    parts = dict(attributes(data))
    addresses = dict(attributes(parts.get(_TUPLE_IP, b"")))
    address: IPv4Address | IPv6Address | None = None
    if packed := addresses.get(address_kind):
        address = IPv4Address(packed)
    elif packed := addresses.get(address_kind + _IP_V6):
        address = IPv6Address(packed)
    protocol = dict(attributes(parts.get(_TUPLE_PROTO, b"")))
    number, port = protocol.get(_PROTO_NUMBER), protocol.get(port_kind)
    if not number or address is None or port is None:
        return None
    return number[0], Target(address, int.from_bytes(port, "big"))
