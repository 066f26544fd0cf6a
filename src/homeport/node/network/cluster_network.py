"""The cluster's own addresses: bridge, node address, the name server's address, forwarding.

Everything is made inside the network namespace of the calling thread and vanishes with it; there is no tear-down.
"""

from ipaddress import IPv4Interface
from socket import if_nametoindex
from typing import Final

from homeport.netlink import Netlink
from homeport.node.network import rtnetlink, sysctl
from homeport.node.network.settings import NetworkSettings

__all__ = ["set_up_cluster_network"]

LOOPBACK_INDEX: Final = 1
_BEFORE_LINKS: Final = (
    ("ipv4/ip_forward", "1"),
    ("ipv4/ip_unprivileged_port_start", "0"),
    # Two pods on one bridge talk through the node when one of them uses a virtual address. The node must not tell the
    # sender of a "shorter way", or the sender would stop asking for the virtual address.
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
)
_PREFERRED: Final = (
    # Frames pass no IP rules on their way through the bridge; the filter module, where loaded, would send them there.
    ("bridge/bridge-nf-call-iptables", "0"),
    ("ipv6/conf/default/addr_gen_mode", sysctl.NO_LINK_LOCAL),
    # Idle connections keep their translation for a day, half-closed ones for an hour (`services-dns` 17.2).
    ("netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    ("netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
)


def set_up_cluster_network(settings: NetworkSettings) -> None:
    """Bring the calling thread's network namespace into shape; repeating it changes nothing. Raises OSError."""
    for name, value in _BEFORE_LINKS:
        sysctl.write(name, value)
    for name, value in _PREFERRED:
        sysctl.prefer(name, value)
    sysctl.allow_ping()
    with Netlink() as netlink:
        netlink.perform(
            (
                rtnetlink.set_up(LOOPBACK_INDEX),
                rtnetlink.add_bridge(settings.bridge, _mac(settings), settings.mtu_bytes),
            )
        )
        bridge = if_nametoindex(settings.bridge)
        netlink.perform(
            (
                rtnetlink.add_address(bridge, settings.gateway_interface),
                rtnetlink.add_address(bridge, IPv4Interface((settings.dns, 32))),
                # Without a route the node's own connections to virtual addresses would fail before any rule sees them.
                rtnetlink.add_route(bridge, settings.services, source=settings.gateway),
            )
        )


def _mac(settings: NetworkSettings) -> bytes:
    """A locally administered address that follows from the IP address, so that neighbours stay right for ever."""
    return b"\x0a\x58" + settings.gateway.packed
