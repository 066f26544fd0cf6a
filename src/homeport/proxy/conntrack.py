"""UDP flows the kernel remembers: which of them lead to an endpoint that is gone, and forgetting those.

Rules are asked for the first packet of a flow only. A client that goes on sending from one socket would stick to a
dead endpoint, so such flows are deleted and the next packet is balanced anew.

Source: `services-dns` 17.2; Linux `include/uapi/linux/netfilter/nfnetlink_conntrack.h`.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from homeport.netlink import NETFILTER, Netlink, Request, attribute, attributes
from homeport.proxy.model import ServiceRules, Target

__all__ = ["Flow", "forget_stale_flows", "parse_flow", "serving_endpoints", "stale"]

_GET: Final = 0x101
_DELETE: Final = 0x102
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID = 1, 2, 12
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP_V4_SOURCE, _IP_V4_DESTINATION = 1, 2
_PROTO_NUMBER, _PROTO_SOURCE_PORT, _PROTO_DESTINATION_PORT = 1, 2, 3
_NESTED: Final = 0x8000
_GENERIC: Final = struct.pack("=BBH", socket.AF_INET, 0, 0)


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
        bodies = netlink.dump(Request(_GET, _GENERIC, "list flows"))
        gone = stale((flow for flow in map(parse_flow, bodies) if flow is not None), serving)
        if gone:
            netlink.perform([_forget(flow) for flow in gone])
    return len(gone)


def _forget(flow: Flow) -> Request:
    """The id guards against a new flow with the same addresses; a flow that ended by itself is fine."""
    body = _GENERIC + attribute(_TUPLE_ORIGINAL | _NESTED, flow.original) + attribute(_ID, flow.identity)
    return Request(_DELETE, body, "delete a flow", 0, frozenset({errno.ENOENT}))


def parse_flow(body: bytes) -> Flow | None:
    """Return the flow a conntrack entry describes, or None when it is not UDP over IPv4."""
    found = dict(attributes(body[len(_GENERIC) :]))
    original, reply, identity = found.get(_TUPLE_ORIGINAL), found.get(_TUPLE_REPLY), found.get(_ID)
    if original is None or reply is None or identity is None:
        return None
    asked = _target(original, _IP_V4_DESTINATION, _PROTO_DESTINATION_PORT)
    answers = _target(reply, _IP_V4_SOURCE, _PROTO_SOURCE_PORT)
    return Flow(asked, answers, original, identity) if asked and answers else None


def _target(data: bytes, address_kind: int, port_kind: int) -> Target | None:
    parts = dict(attributes(data))
    address = dict(attributes(parts.get(_TUPLE_IP, b""))).get(address_kind)
    protocol = dict(attributes(parts.get(_TUPLE_PROTO, b"")))
    port = protocol.get(port_kind)
    if protocol.get(_PROTO_NUMBER) != bytes([socket.IPPROTO_UDP]) or address is None or port is None:
        return None
    return Target(IPv4Address(address), int.from_bytes(port, "big"))
