"""Addresses and ports: what is wrong with one, in the words of upstream."""

import ipaddress
import re
from functools import lru_cache
from typing import Final

__all__ = [
    "canonical_cidr",
    "canonical_ip",
    "canonical_network",
    "cidr",
    "endpoint_ip",
    "family",
    "ip",
    "ip_name",
    "port_number",
    "special_ip",
    "standard_ip",
]

Problems = tuple[str, ...]

_BAD_IP: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_ZEROS: Final = re.compile(r"(?:(?<=[./])|^)0+(?=\d)")


@lru_cache(maxsize=4096)
def ip(text: str) -> Problems:
    """A strictly written IPv4 or IPv6 address."""
    plain = _without_zeros(text)
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return (_BAD_IP,)
    if "%" in text:
        return (_BAD_IP,)
    if plain != text:
        return ("must not have leading 0s",)
    if address.version == 6 and address.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return ()


def _without_zeros(text: str) -> str:
    """Return an IPv4 address or network without the leading zeros that others read as octal; other text as it is."""
    return text if ":" in text else _ZEROS.sub("", text)


@lru_cache(maxsize=1024)
def cidr(text: str) -> Problems:
    """A network in CIDR notation, without host bits."""
    address, slash, length = text.partition("/")
    plain = f"{_without_zeros(address)}/{_ZEROS.sub('', length)}"
    try:
        network = ipaddress.ip_network(plain, strict=False)
    except ValueError:
        return (_BAD_CIDR,)
    if not slash or not (length.isascii() and length.isdigit()) or "%" in text:
        return (_BAD_CIDR,)
    if plain != text:
        return ("must not have leading 0s in IP or prefix length",)
    start = ipaddress.ip_interface(text).ip
    if start.version == 6 and start.ipv4_mapped is not None:
        return ("must not have an IPv4-mapped IPv6 address",)
    return () if start == network.network_address else ("must not have bits set beyond the prefix length",)


@lru_cache(maxsize=1024)
def canonical_cidr(text: str) -> Problems:
    """A network in the form it is printed in: what new kinds ask for."""
    if problems := cidr(text):
        return problems
    network = ipaddress.ip_network(text)
    return () if text == str(network) else (f'must be in canonical form ("{network}")',)


@lru_cache(maxsize=4096)
def ip_name(text: str) -> Problems:
    """An address in the one form it is printed in, so that it may serve as a name."""
    if problems := ip(text):
        return problems
    canonical = canonical_ip(text)
    return () if text == canonical else (f'must be in canonical form ("{canonical}")',)


@lru_cache(maxsize=4096)
def endpoint_ip(text: str) -> Problems:
    """An address other machines can reach: none that is unspecified, loopback or link-local."""
    return ip(text) or special_ip(text)


@lru_cache(maxsize=4096)
def special_ip(text: str) -> Problems:
    """The same, of text that `ip` may have found something wrong with already."""
    try:
        address = ipaddress.ip_address(_without_zeros(text))
    except ValueError:
        return ("must be a valid IP address",)
    if address.is_unspecified:
        return (f"may not be unspecified ({text})",)
    if address.is_loopback:
        return ("may not be in the loopback range (127.0.0.0/8, ::1/128)",)
    if address.is_link_local:
        return ("may not be in the link-local range (169.254.0.0/16, fe80::/10)",)
    if address.is_multicast and _link_local_multicast(address):
        return ("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",)
    return ()


def _link_local_multicast(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Tell whether a multicast address stays on its link; in IPv6 whatever its flags (RFC 4291 2.7)."""
    if address.version == 4:
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return address.packed[1] & 0x0F == 2


def family(text: str) -> str:
    """Return "IPv4" or "IPv6" for a valid address or network, else the empty string."""
    try:
        return f"IPv{ipaddress.ip_interface(text).version}"
    except ValueError:
        return ""


def canonical_ip(text: str) -> str:
    """Return RFC 5952 form of an IPv6 address; other text as it is."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def standard_ip(text: str) -> str:
    """Return the usual form of an address with leading zeros or of one of IPv4 in IPv6; "" for what is none."""
    try:
        address = ipaddress.ip_address(_without_zeros(text))
    except ValueError:
        return ""
    return str((address.ipv4_mapped if address.version == 6 else None) or address)


def canonical_network(text: str) -> str:
    """Return the form of a valid IPv6 network that RFC 5952 wants; "" for anything else."""
    return str(ipaddress.ip_network(text)) if ":" in text and not cidr(text) else ""


def port_number(value: int) -> Problems:
    return () if 1 <= value <= 65535 else ("must be between 1 and 65535, inclusive",)
