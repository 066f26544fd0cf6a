"""The connections the kernel remembers, counted for each Service port and endpoint. Only `connections` does I/O.

Source: Linux `include/uapi/linux/netfilter/nfnetlink_conntrack.h`, `nf_conntrack_tcp.h`.
"""

import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from homeport.netlink import NETFILTER, Netlink, attributes
from homeport.proxy.conntrack import LIST_FLOWS, parse_tuples
from homeport.proxy.model import Address, Carried, PortRules, ServiceRules, Target

__all__ = ["Connection", "Load", "connections", "parse_connection", "tally"]

_PROTOCOL_INFO, _TCP_INFO, _TCP_STATE = 4, 1, 1
_OPEN: Final = frozenset({2, 3, 4, 5})
"""TCP states of the tracker in which both sides still have something to say, or may: SYN_RECV to CLOSE_WAIT."""
_NAMES: Final = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", socket.IPPROTO_SCTP: "sctp"}


@dataclass(frozen=True, slots=True)
class Connection:
    """One flow: whom the client asked, who answers. `live` is False for one that has ended and is still remembered.

    client  its address
    """

    protocol: str
    asked: Target
    answers: Target
    live: bool
    client: Address


@dataclass(frozen=True, slots=True)
class Load:
    """What one endpoint of a Service port has: `live` connections, and all `remembered` ones, ended or not.

    The kernel remembers a closed TCP connection for two minutes, a silent UDP flow for half a minute or two; the
    balancer in user space all it ever joined.
    listed  whether new connections may still be led to it
    """

    port: PortRules
    target: Target
    live: int
    remembered: int
    listed: bool


def connections() -> list[Connection]:
    """Return the flows of this thread's network namespace. Raises OSError."""
    with Netlink(NETFILTER) as netlink:
        bodies = netlink.dump(LIST_FLOWS)
    return [found for found in map(parse_connection, bodies) if found is not None]


def parse_connection(body: bytes) -> Connection | None:
    """Return the flow a conntrack entry describes, or None when it is not TCP, UDP or SCTP."""
    tuples = parse_tuples(body)
    if tuples is None or tuples.protocol not in _NAMES:
        return None
    live = _live(tuples.attributes)
    return Connection(_NAMES[tuples.protocol], tuples.asked, tuples.answers, live, tuples.client.address)


def _live(found: Mapping[int, bytes]) -> bool:
    info = dict(attributes(found.get(_PROTOCOL_INFO, b"")))
    tcp = dict(attributes(info.get(_TCP_INFO, b"")))
    state = tcp.get(_TCP_STATE)
    return state is None or not state or state[0] in _OPEN


def tally(service: ServiceRules, flows: Iterable[Connection], carried: Iterable[Carried] = ()) -> list[Load]:
    """Count the flows to a Service, by port and endpoint; endpoints without any are among them.

    flows    those of the kernel
    carried  those joined in user space, of the same address family; other Services' are left out
    """
    fronts = {
        (port.protocol, Target(front.address, front.port)): port for port in service.ports for front in port.frontends
    }
    live: Counter[tuple[str, str, Target]] = Counter()
    every: Counter[tuple[str, str, Target]] = Counter()
    for flow in flows:
        port = fronts.get((flow.protocol, flow.asked))
        if port is None or flow.answers == flow.asked:
            continue  # for somebody else, or led nowhere
        key = (port.name, port.protocol, flow.answers)
        every[key] += 1
        live[key] += flow.live
    for one in carried:
        if one.key == service.key:
            every[(one.port, one.protocol, one.target)] += one.picks
            live[(one.port, one.protocol, one.target)] += one.live
    loads = []
    for port in service.ports:
        listed = {*port.cluster, *port.local}
        others = {target for name, protocol, target in every if (name, protocol) == (port.name, port.protocol)}
        for target in sorted(listed | others, key=lambda one: one.order):
            key = (port.name, port.protocol, target)
            loads.append(Load(port, target, live[key], every[key], target in listed))
    return loads
