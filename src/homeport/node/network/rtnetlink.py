"""The few rtnetlink requests a pod network is made of, as values.

Source: Linux `include/uapi/linux/{rtnetlink,if_link,if_addr,veth}.h`.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from homeport.netlink import CREATE, EXCLUSIVE, REPLACE, Request, attribute, attributes, integer, nested, text
from homeport.node.network.settings import Address, Interface, Network

__all__ = [
    "Link",
    "add_address",
    "add_bridge",
    "add_neighbour",
    "add_route",
    "add_veth",
    "configure_port",
    "delete_link",
    "delete_links",
    "delete_neighbour",
    "list_links",
    "parse_links",
    "set_up",
]

_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWADDR, _NEWROUTE, _NEWNEIGH, _DELNEIGH = 16, 17, 18, 19, 20, 24, 28, 29
_IFF_UP: Final = 1
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _NET_NS_FD, _IFALIAS, _GROUP = 1, 3, 4, 10, 18, 28, 20, 27
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER: Final = 1
_BRPORT_MODE: Final = 4
_LEAVING: Final = 0x6870
"""The group of interfaces that are being removed: nothing else uses it in this namespace."""
_BRIDGE_FORWARD_DELAY: Final = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD: Final = 0x02
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_PERMANENT: Final = 0x80
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC = 1, 4, 5, 7
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _SCOPE_LINK, _UNICAST = 254, 4, 0, 253, 1
_EXISTS: Final = frozenset({errno.EEXIST})


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel lists it; `alias` is free text, here the sandbox id."""

    index: int
    name: str
    alias: str = ""
    master: int = 0


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def add_bridge(name: str, mac: bytes, mtu: int) -> Request:
    """A bridge that keeps its own MAC address whatever joins, forwards at once, and is up."""
    info = nested(_LINKINFO, text(_INFO_KIND, "bridge"), nested(_INFO_DATA, integer(_BRIDGE_FORWARD_DELAY, 0)))
    body = _link(flags=_IFF_UP) + text(_IFNAME, name) + attribute(_ADDRESS, mac) + integer(_MTU, mtu)
    return Request(_NEWLINK, body + info, f"create bridge {name}", CREATE | EXCLUSIVE, _EXISTS)


def add_veth(name: str, master: int, namespace: int, peer_name: str, peer_mac: bytes, mtu: int) -> Request:
    """A pair: `name` here, a port of `master`; `peer_name` in the namespace of descriptor `namespace`, still down."""
    peer = (
        _link()
        + text(_IFNAME, peer_name)
        + attribute(_ADDRESS, peer_mac)
        + integer(_MTU, mtu)
        + integer(_NET_NS_FD, namespace)
    )
    info = nested(_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_INFO_PEER, peer)))
    body = _link(flags=_IFF_UP) + text(_IFNAME, name) + integer(_MTU, mtu) + integer(_MASTER, master)
    return Request(_NEWLINK, body + info, f"create veth {name}", CREATE | EXCLUSIVE)


def configure_port(name: str, alias: str) -> Request:
    """Let a bridge port send back out what came in by it (hairpin), and note whose it is."""
    info = nested(_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), nested(_INFO_SLAVE_DATA, integer(_BRPORT_MODE, 1, 1)))
    return Request(_NEWLINK, _link() + text(_IFNAME, name) + text(_IFALIAS, alias) + info, f"configure port {name}")


def set_up(index: int) -> Request:
    return Request(_NEWLINK, _link(index, _IFF_UP), f"bring up interface {index}")


def delete_link(name: str) -> Request:
    """Remove an interface, and with a veth its other end. Absent is fine."""
    return Request(_DELLINK, _link() + text(_IFNAME, name), f"delete interface {name}", 0, frozenset({errno.ENODEV}))


def delete_links(names: Sequence[str]) -> tuple[Request, ...]:
    """Remove interfaces as `delete_link` does. Absent are fine.

    The kernel waits some 20 ms, until nobody looks at a removed interface any more: once for each, or for a group.
    """
    if len(names) <= 1:
        return tuple(map(delete_link, names))
    group, absent = integer(_GROUP, _LEAVING), frozenset({errno.ENODEV})
    marks = (
        Request(_SETLINK, _link() + text(_IFNAME, name) + group, f"mark interface {name}", 0, absent) for name in names
    )
    return (*marks, Request(_DELLINK, _link() + group, f"delete {len(names)} interfaces", 0, absent))


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def add_address(index: int, address: Interface) -> Request:
    """Give an interface an address, to be used at once; repeating it is fine.

    Nobody else can have it, so IPv6 need not ask around for a second first (duplicate address detection).
    """
    flags = 0 if address.version == 4 else _IFA_F_NODAD
    body = struct.pack("=BBBBI", _family(address.ip), address.network.prefixlen, flags, 0, index)
    packed = address.ip.packed
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    return Request(_NEWADDR, body, f"add address {address}", CREATE | EXCLUSIVE, _EXISTS)


def add_neighbour(index: int, address: Address, mac: bytes) -> Request:
    """Say for good whose MAC address an IP address has, in place of what was known; nobody need ask then."""
    body = _neighbour(index, address, _NUD_PERMANENT) + attribute(_NDA_LLADDR, mac)
    return Request(_NEWNEIGH, body, f"add neighbour {address}", CREATE | REPLACE)


def delete_neighbour(index: int, address: Address) -> Request:
    """Forget a neighbour. Absent is fine."""
    return Request(
        _DELNEIGH, _neighbour(index, address, 0), f"delete neighbour {address}", 0, frozenset({errno.ENOENT})
    )


def _neighbour(index: int, address: Address, state: int) -> bytes:
    return struct.pack("=BxHiHBB", _family(address), 0, index, state, 0, 0) + attribute(_NDA_DST, address.packed)


def add_route(
    index: int, destination: Network, *, gateway: Address | None = None, source: Address | None = None
) -> Request:
    """Route `destination` through an interface, by `gateway` or directly; `source` is what starts here prefers."""
    family = _family(destination.network_address)
    scope = _SCOPE_LINK if gateway is None and family == socket.AF_INET else _SCOPE_UNIVERSE
    body = struct.pack(
        "=BBBBBBBBI", family, destination.prefixlen, 0, 0, _TABLE_MAIN, _PROTO_STATIC, scope, _UNICAST, 0
    )
    if destination.prefixlen:
        body += attribute(_RTA_DST, destination.network_address.packed)
    if gateway is not None:
        body += attribute(_RTA_GATEWAY, gateway.packed)
    if source is not None:
        body += attribute(_RTA_PREFSRC, source.packed)
    body += integer(_RTA_OIF, index)
    return Request(_NEWROUTE, body, f"add route {destination}", CREATE | EXCLUSIVE, _EXISTS)


def list_links() -> Request:
    return Request(_GETLINK, _link(), "list interfaces")


def parse_links(bodies: Iterable[bytes]) -> list[Link]:
    """Return the interfaces of a `list_links` dump."""
    links = []
    for body in bodies:
        index = struct.unpack_from("=i", body, 4)[0]
        found = dict(attributes(body[16:]))
        master = struct.unpack("=I", found[_MASTER])[0] if _MASTER in found else 0
        links.append(Link(index, _string(found.get(_IFNAME)), _string(found.get(_IFALIAS)), master))
    return links


def _string(payload: bytes | None) -> str:
    return (payload or b"").rstrip(b"\0").decode(errors="replace")
