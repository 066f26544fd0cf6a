"""Making virtual addresses local to this network namespace, so that packets to them reach the sockets there.

A route of type `local` does: nothing is assigned to an interface.
Source: Linux rtnetlink(7), ip-route(8).
"""

import errno
import struct
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, if_nametoindex
from typing import Final

from homeport.netlink import CREATE, Netlink, Request, attribute, integer
from homeport.proxy.model import Address

__all__ = ["LocalAddresses"]

_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_TABLE_LOCAL: Final = 255
_PROTOCOL_STATIC: Final = 4
_SCOPE_HOST: Final = 254
_TYPE_LOCAL: Final = 2
_DESTINATION, _INTERFACE = 1, 4


class LocalAddresses:
    """Addresses that are local for as long as somebody needs them. Raises NetlinkError where that is not allowed.

    real  those that an interface carries: they are left alone
    """

    def __init__(self, real: Iterable[Address] = ()) -> None:
        self._real = {str(address) for address in real}
        self._holders: Counter[str] = Counter()

    def hold(self, address: str) -> None:
        """Need an address once more."""
        self._holders[address] += 1
        if self._holders[address] == 1 and address not in self._real:
            _perform(_NEW_ROUTE, address, CREATE, errno.EEXIST)

    def release(self, address: str) -> None:
        """Need an address once less."""
        self._holders[address] -= 1
        if self._holders[address] <= 0:
            del self._holders[address]
            if address not in self._real:
                _perform(_DELETE_ROUTE, address, 0, errno.ESRCH)


def _perform(kind: int, address: str, flags: int, tolerated: int) -> None:
    request = Request(kind, _route(ip_address(address)), f"local route to {address}", flags, frozenset((tolerated,)))
    with Netlink() as netlink:
        netlink.perform([request])


def _route(address: Address) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    header = struct.pack(
        "=8BI",
        family, address.max_prefixlen, 0, 0, _TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL, 0,
    )  # fmt: skip
    return header + attribute(_DESTINATION, address.packed) + integer(_INTERFACE, if_nametoindex("lo"))
