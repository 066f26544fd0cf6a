"""The cluster's own addresses: bridge, node address and the name server's in each family, forwarding.

Everything is made inside the network namespace of the calling thread and vanishes with it; there is no tear-down.
"""

from socket import if_nametoindex
from typing import Final

from homeport.netlink import Netlink
from homeport.node.network import rtnetlink, sysctl
from homeport.node.network.settings import NetworkSettings, host

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
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("ipv6/conf/default/addr_gen_mode", sysctl.NO_LINK_LOCAL),
    # Idle connections keep their translation for a day, half-closed ones for an hour (`services-dns` 17.2).
    ("netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    ("netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
)


_WITH_IPV6: Final = (
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/forwarding", "1"),
)


def set_up_cluster_network(settings: NetworkSettings) -> None:
    """Bring the calling thread's network namespace into shape; repeating it changes nothing. Raises OSError."""
    both = any(family.version == 6 for family in settings.families)
    for name, value in (*_BEFORE_LINKS, *(_WITH_IPV6 if both else ())):
        sysctl.write(name, value)
    for name, value in _PREFERRED:
        sysctl.prefer(name, value)
    sysctl.allow_ping()
    with Netlink() as netlink:
        netlink.perform(
            (
                rtnetlink.set_up(LOOPBACK_INDEX),
                rtnetlink.add_bridge(settings.bridge, settings.mac(settings.primary.gateway), settings.mtu_bytes),
            )
        )
        bridge = if_nametoindex(settings.bridge)
        for family in settings.families:
            netlink.perform(
                (
                    rtnetlink.add_address(bridge, family.gateway_interface),
                    rtnetlink.add_address(bridge, host(family.dns)),
                    # Without a route the node's own connections to virtual addresses would fail before any rule sees
                    # them.
                    rtnetlink.add_route(bridge, family.services, source=family.gateway),
                    rtnetlink.add_route(bridge, family.balancers, source=family.gateway),
                )
            )
