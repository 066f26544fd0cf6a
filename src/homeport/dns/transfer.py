"""Whole zones over TCP: AXFR (RFC 5936) and IXFR (RFC 1995), which is answered with one SOA or with everything.

A forward zone holds what services-dns 14.9 lists; a reverse zone holds its pointers.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from homeport.dns.index import Index
from homeport.dns.message import Opt, Query, encode
from homeport.dns.name import Name, below, fold, from_text, wire_length
from homeport.dns.objects import Port, Service
from homeport.dns.records import Answer, Question, Rcode, Record, RRType, address_record
from homeport.dns.reply import refuse
from homeport.dns.settings import DnsSettings
from homeport.dns.zone import Lookup

__all__ = ["TRANSFERS", "transfer"]

TRANSFERS: Final = (RRType.AXFR, RRType.IXFR)
MAX_MESSAGE: Final = 65535
FULL_MESSAGE: Final = 60_000
"""Octets of records, uncompressed, after which the next message is begun."""


def transfer(query: Query, index: Index, settings: DnsSettings) -> list[bytes]:
    """Return the messages that answer a transfer asked for over TCP. Their making stops nobody from changing the index
    afterwards: they all tell of one serial."""
    refusal = refuse(query, MAX_MESSAGE)
    if refusal is not None:
        return [refusal]
    folded = fold(query.question.name)
    zone = settings.zone_of(folded)
    if zone is None:
        return _refused(query, settings.unserved)
    if not settings.transfer:
        return _refused(query, Rcode.REFUSED)
    if zone != folded:
        return _refused(query, Rcode.NOTAUTH)
    lookup = Lookup(index, settings, zone, query.question.name)
    soa = lookup.soa()
    if query.question.type == RRType.IXFR:
        if query.serial is None:
            return _refused(query, Rcode.SERVFAIL)
        if not _older(query.serial, index.serial):
            current = Answer(answer=(soa,), authoritative=False)
            return [encode(query, current, limit=MAX_MESSAGE, opt=_opt(query))]
    return list(_messages(query, [soa, *_apex(lookup), *_contents(lookup), soa]))


def _refused(query: Query, code: Rcode) -> list[bytes]:
    return [encode(query, Answer(code, authoritative=False), limit=MAX_MESSAGE, opt=_opt(query))]


def _opt(query: Query) -> Opt | None:
    return query.opt.echoed() if query.opt else None


def _older(serial: int, current: int) -> bool:
    """Compare serials in their circle. Source: RFC 1982, 3.2."""
    distance = (current - serial) & 0xFFFFFFFF
    return 0 < distance < 1 << 31


def _messages(query: Query, records: Iterable[Record]) -> Iterator[bytes]:
    batch: list[Record] = []
    size = 0
    opt = _opt(query)
    for record in records:
        batch.append(record)
        size += (
            wire_length(record.owner)
            + 10
            + sum(len(part) if isinstance(part, bytes) else wire_length(part) for part in record.data)
        )
        if size > FULL_MESSAGE:
            yield encode(query, Answer(answer=tuple(batch)), limit=MAX_MESSAGE, opt=opt)
            batch, size, opt = [], 0, None
    if batch:
        yield encode(query, Answer(answer=tuple(batch)), limit=MAX_MESSAGE, opt=opt)


def _apex(lookup: Lookup) -> Iterator[Record]:
    """Give the name servers and their addresses; those have a TTL of 0."""
    servers = lookup.name_servers(Question(lookup.asked_zone, RRType.NS))
    yield from servers.answer
    for record in servers.additional:
        yield Record(record.owner, record.type, 0, record.data)


def _contents(lookup: Lookup) -> Iterator[Record]:
    if lookup.reverse:
        yield from _pointers(lookup)
        return
    for service in lookup.index.services():
        if lookup.exposed(service.namespace):
            yield from dict.fromkeys(_records(lookup, service))


def _pointers(lookup: Lookup) -> Iterator[Record]:
    for address in lookup.index.addresses():
        name = from_text(address.reverse_pointer)
        if below(name, lookup.zone):
            owner = (*name[: len(name) - len(lookup.zone)], *lookup.asked_zone)
            yield from lookup.found_pointers(Question(owner, RRType.PTR), address)


def _records(lookup: Lookup, service: Service) -> Iterator[Record]:
    ttl = lookup.settings.ttl
    owner = lookup.owner(service)
    if service.external:
        if service.alias is not None:
            yield Record(owner, RRType.CNAME, ttl, (service.alias,))
        return
    if service.headless:
        for part in lookup.index.slices(service.key):
            weight = max(1, 100 // len(part.endpoints)) if part.endpoints else 0
            for endpoint in part.endpoints:
                target = (endpoint.label.encode(), *owner)
                yield address_record(owner, endpoint.address, ttl)
                yield address_record(target, endpoint.address, ttl)
                yield from (_srv(_named(port, owner), port, weight, target, ttl) for port in part.ports if port.name)
        return
    for address in service.addresses:
        yield address_record(owner, address, ttl)
    for port in service.ports:
        if port.number >= 0:
            yield _srv(owner, port, 100, owner, ttl)
            if port.name:
                yield _srv(_named(port, owner), port, 100, owner, ttl)


def _named(port: Port, owner: Name) -> Name:
    return (f"_{port.name}".encode(), f"_{port.protocol.lower()}".encode(), *owner)


def _srv(owner: Name, port: Port, weight: int, target: Name, ttl: int) -> Record:
    numbers = b"".join(number.to_bytes(2, "big") for number in (0, weight, port.number))
    return Record(owner, RRType.SRV, ttl, (numbers, target))
