"""Resource records, questions and answers as values: what is said, before it has a wire form."""

from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from homeport.dns.name import Name

__all__ = ["IN", "Answer", "Question", "RRType", "Rcode", "Record", "Text", "address_record"]

IN: Final = 1


class RRType(IntEnum):
    """The types this server treats in a way of their own. Source: IANA DNS parameters."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    """Response codes. BADVERS needs an OPT record for its upper bits (RFC 6891, 6.1.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    NOTAUTH = 9
    BADVERS = 16


Text: TypeAlias = bytes
Rdata: TypeAlias = tuple[bytes | Name, ...]
"""Octets and names in turn, so that the codec may compress the names where RFC 3597, 4 allows it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; `name` keeps the asker's spelling. The two flags matter to other servers alone (RFC 4035, 3.2)."""

    name: Name
    type: int
    klass: int = IN
    dnssec_ok: bool = False
    checking_disabled: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One record of class IN. `ttl` in seconds."""

    owner: Name
    type: int
    ttl: int
    data: Rdata
    klass: int = IN


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply without its envelope.

    names    the parts of Services it was made from (`objects.Part`)
    lasting  it holds until one of those changes; not so what was true once and is told from memory
    """

    rcode: int = Rcode.NOERROR
    answer: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    authoritative: bool = True
    recursion_available: bool = False
    truncated: bool = False
    authentic: bool = False
    names: frozenset[tuple[str, ...]] = field(default=frozenset())
    lasting: bool = True


def address_record(owner: Name, address: IPv4Address | IPv6Address, ttl: int) -> Record:
    """Return the A or AAAA record of an address."""
    return Record(owner, RRType.A if address.version == 4 else RRType.AAAA, ttl, (address.packed,))
