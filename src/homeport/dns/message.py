"""The wire form of DNS messages: strict reading, compressed writing, truncation.

Source: RFC 1035, 4; RFC 2181, 9 (truncation); RFC 3597, 4 (which names may be compressed); RFC 6891 (EDNS).
"""

import struct
from dataclasses import dataclass, replace
from typing import Final

from homeport.dns.name import MAX_NAME, Name
from homeport.dns.records import Answer, Question, Rcode, Record, RRType

__all__ = [
    "FormatError",
    "Header",
    "Opt",
    "Query",
    "bare_reply",
    "encode",
    "parse_message",
    "parse_query",
    "peek_header",
]

HEADER: Final = struct.Struct("!6H")
_QR, _AA, _TC, _RD, _RA, _AD, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
_ROOT: Final = b"\x00"
_COMPRESSED_TYPES: Final = frozenset((RRType.NS, RRType.CNAME, RRType.SOA, RRType.PTR, RRType.MX))
_LAYOUT: Final = {
    RRType.NS: (0, 1),
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    RRType.CNAME: (0, 1),
    RRType.SOA: (0, 2),
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    RRType.PTR: (0, 1),
    14: (0, 2),  # MINFO
    RRType.MX: (2, 1),
    17: (0, 2),  # RP
    18: (2, 1),  # AFSDB
    21: (2, 1),  # RT
    RRType.SRV: (6, 1),
}
"""Octets before, and number of, the names that may come compressed in the data of a type. Source: RFC 3597, 4."""
UNCOMPRESSED_LIMIT: Final = 1220
"""Above this size replies are compressed in any case, so that they fit one packet (IPv6's minimum)."""
SMALLEST_RECORD: Final = 12
"""Octets of a record with a pointer for its owner and no data."""


class FormatError(Exception):
    """The message breaks the rules of its own form; the reply is FORMERR, with the question where there is one."""

    def __init__(self, message: str, query: "Query | None" = None) -> None:
        super().__init__(message)
        self.query = query


@dataclass(frozen=True, slots=True)
class Header:
    """The first twelve octets."""

    id: int
    flags: int
    counts: tuple[int, int, int, int]

    @property
    def is_response(self) -> bool:
        return bool(self.flags & _QR)

    @property
    def opcode(self) -> int:
        return (self.flags >> 11) & 0xF


@dataclass(frozen=True, slots=True)
class Opt:
    """The EDNS pseudo-record: `payload` is the largest UDP message its sender can take."""

    payload: int
    version: int = 0
    dnssec_ok: bool = False
    options: tuple[tuple[int, bytes], ...] = ()

    def echoed(self) -> "Opt":
        """Return what a reply bears: options that are not implemented are left out (RFC 6891, 6.1.2)."""
        return Opt(self.payload, dnssec_ok=self.dnssec_ok)


@dataclass(frozen=True, slots=True)
class Query:
    """A message asking one question. `serial` is that of the SOA which an IXFR comes with."""

    id: int
    opcode: int
    question: Question
    recursion_desired: bool
    checking_disabled: bool
    opt: Opt | None = None
    serial: int | None = None


def peek_header(data: bytes) -> Header | None:
    """Return the header, or None when there are fewer than twelve octets."""
    if len(data) < HEADER.size:
        return None
    ident, flags, *counts = HEADER.unpack_from(data)
    return Header(ident, flags, (counts[0], counts[1], counts[2], counts[3]))


def _read_name(data: bytes, at: int) -> tuple[Name, int]:
    """Return the name at an offset and the offset behind it; pointers only lead backwards, so reading ends."""
    labels: list[bytes] = []
    end = -1
    length = 1
    barrier = at
    while True:
        if at >= len(data):
            raise FormatError("name runs past the message")
        size = data[at]
        if size & 0xC0 == 0xC0:
            if at + 1 >= len(data):
                raise FormatError("pointer runs past the message")
            target = (size & 0x3F) << 8 | data[at + 1]
            if end < 0:
                end = at + 2
            if target >= barrier:
                raise FormatError("pointer does not lead backwards")
            at = barrier = target
            continue
        if size & 0xC0:
            raise FormatError("reserved label type")
        at += 1
        if size == 0:
            return tuple(labels), end if end >= 0 else at
        label = data[at : at + size]
        length += size + 1
        if len(label) != size or length > MAX_NAME:
            raise FormatError("name too long or cut off")
        labels.append(label)
        at += size


def _read_record(data: bytes, at: int) -> tuple[Record, int]:
    owner, at = _read_name(data, at)
    if at + 10 > len(data):
        raise FormatError("record cut off")
    kind, klass, ttl, size = struct.unpack_from("!HHIH", data, at)
    at += 10
    end = at + size
    if end > len(data):
        raise FormatError("rdata cut off")
    parts: list[bytes | Name] = []
    head = at
    if kind in _LAYOUT:
        skip, names = _LAYOUT[kind]
        if size < skip:
            raise FormatError("rdata too short")
        if skip:
            head = at + skip
            parts.append(data[at:head])
        for _ in range(names):
            target, head = _read_name(data, head)
            parts.append(target)
    if head > end:
        raise FormatError("name runs past its rdata")
    if head < end:
        parts.append(data[head:end])
    _check_rdata(kind, data[at:end])
    return Record(owner, kind, ttl, tuple(parts), klass), end


def _check_rdata(kind: int, rdata: bytes) -> None:
    """Refuse fixed-size and self-delimited data that does not add up."""
    if rdata and kind == RRType.A and len(rdata) != 4:
        raise FormatError("A rdata is not four octets")
    if rdata and kind == RRType.AAAA and len(rdata) != 16:
        raise FormatError("AAAA rdata is not sixteen octets")


def _read_opt(record: Record) -> Opt:
    rdata = b"".join(part for part in record.data if isinstance(part, bytes))
    options: list[tuple[int, bytes]] = []
    at = 0
    while at < len(rdata):
        if at + 4 > len(rdata):
            raise FormatError("option cut off")
        code, size = struct.unpack_from("!HH", rdata, at)
        value = rdata[at + 4 : at + 4 + size]
        if len(value) != size:
            raise FormatError("option cut off")
        options.append((code, value))
        at += 4 + size
    return Opt(record.klass, (record.ttl >> 16) & 0xFF, bool(record.ttl & 0x8000), tuple(options))


def _read_serial(soa: Record) -> int:
    numbers = soa.data[-1]
    if not isinstance(numbers, bytes) or len(numbers) != 20:
        raise FormatError("SOA cut off")
    return int.from_bytes(numbers[:4], "big")


def parse_query(data: bytes) -> Query:
    """Read a query with exactly one question.

    Records announced but absent are taken as not announced, as clients exist that count wrongly; a record that is
    there must be whole. Raises FormatError, which carries the query where the question itself could be read.
    """
    header = peek_header(data)
    if header is None or header.counts[0] != 1:
        raise FormatError("not one question")
    if header.counts[1] > 1 or header.counts[2] > 1 or header.counts[3] > 2:
        raise FormatError("more records than a query has")
    name, at = _read_name(data, HEADER.size)
    kind, klass = struct.unpack_from("!HH", data.ljust(at + 4, b"\x00"), at)
    at += 4
    flags = header.flags
    query = Query(header.id, header.opcode, Question(name, kind, klass), bool(flags & _RD), bool(flags & _CD))
    opt: Opt | None = None
    serial: int | None = None
    try:
        for _ in range(sum(header.counts[1:])):
            if at >= len(data):
                break
            record, at = _read_record(data, at)
            if record.type == RRType.OPT:
                opt = _read_opt(record)
            elif record.type == RRType.SOA and kind == RRType.IXFR:
                serial = _read_serial(record)
    except FormatError as error:
        raise FormatError(str(error), query) from error
    return replace(query, opt=opt, serial=serial)


def parse_message(data: bytes) -> tuple[Header, Answer]:
    """Read a reply of another server; the question is skipped, an OPT record left out. Raises FormatError."""
    header = peek_header(data)
    if header is None:
        raise FormatError("shorter than a header")
    at = HEADER.size
    for _ in range(header.counts[0]):
        _, at = _read_name(data, at)
        at += 4
    sections: list[tuple[Record, ...]] = []
    extended = 0
    for count in header.counts[1:]:
        records: list[Record] = []
        for _ in range(count):
            record, at = _read_record(data, at)
            if record.type in (RRType.A, RRType.AAAA) and not record.data:
                raise FormatError("address without octets")
            if record.type == RRType.OPT:
                extended = (record.ttl >> 24) << 4
            else:
                records.append(record)
        sections.append(tuple(records))
    flags = header.flags
    return header, Answer(
        (flags & 0xF) | extended,
        sections[0],
        sections[1],
        sections[2],
        authoritative=bool(flags & _AA),
        recursion_available=bool(flags & _RA),
        truncated=bool(flags & _TC),
        authentic=bool(flags & _AD),
    )


class _Writer:
    """Octets of one message, with the places of names already written."""

    def __init__(self, start: bytes, compress: bool) -> None:
        self.out = bytearray(start)
        self.places: dict[Name, int] | None = {} if compress else None

    def name(self, name: Name, *, may_point: bool = True) -> None:
        """Write a name, pointing at an earlier copy of its tail where allowed; case must match to be shared."""
        places = self.places
        for depth in range(len(name)):
            tail = name[depth:]
            if places is not None:
                known = places.get(tail)
                if known is not None and may_point:
                    self.out += (0xC000 | known).to_bytes(2, "big")
                    return
                if known is None and len(self.out) < 0x4000:
                    places[tail] = len(self.out)
            label = name[depth]
            self.out.append(len(label))
            self.out += label
        self.out += _ROOT

    def record(self, record: Record) -> None:
        self.name(record.owner)
        self.out += struct.pack("!HHIH", record.type, record.klass, record.ttl, 0)
        mark = len(self.out)
        pointing = record.type in _COMPRESSED_TYPES
        for part in record.data:
            if isinstance(part, bytes):
                self.out += part
            else:
                self.name(part, may_point=pointing)
        struct.pack_into("!H", self.out, mark - 2, len(self.out) - mark)


def _opt_record(opt: Opt, rcode: int) -> Record:
    rdata = b"".join(struct.pack("!HH", code, len(value)) + value for code, value in opt.options)
    ttl = (rcode >> 4) << 24 | opt.version << 16 | (0x8000 if opt.dnssec_ok else 0)
    return Record((), RRType.OPT, ttl, (rdata,), opt.payload)


def encode(query: Query, answer: Answer, *, limit: int, opt: Opt | None = None) -> bytes:
    """Return the reply in at most `limit` octets.

    Over the limit even when compressed, records are dropped from the end (Additional first, then Authority, then
    Answer) and TC is set. The OPT record always stays.
    """
    extra = () if opt is None else (_opt_record(opt, answer.rcode),)
    if SMALLEST_RECORD * (len(answer.answer) + len(answer.authority) + len(answer.additional)) > limit:
        return _truncate(query, answer, extra, limit)
    plain = _assemble(query, answer, extra, compress=False)
    if len(plain) <= min(limit, UNCOMPRESSED_LIMIT):
        return plain
    packed = _assemble(query, answer, extra, compress=True)
    if len(packed) <= limit:
        return packed
    return _truncate(query, answer, extra, limit)


def _assemble(query: Query, answer: Answer, extra: tuple[Record, ...], *, compress: bool) -> bytes:
    flags = _QR | query.opcode << 11 | (answer.rcode & 0xF)
    for bit, on in (
        (_AA, answer.authoritative),
        (_TC, answer.truncated),
        (_RD, query.recursion_desired),
        (_RA, answer.recursion_available),
        (_AD, answer.authentic),
        (_CD, query.checking_disabled),
    ):
        if on:
            flags |= bit
    counts = (1, len(answer.answer), len(answer.authority), len(answer.additional) + len(extra))
    writer = _Writer(HEADER.pack(query.id, flags, *counts), compress)
    writer.name(query.question.name)
    writer.out += struct.pack("!HH", query.question.type, query.question.klass)
    for section in (answer.answer, answer.authority, answer.additional, extra):
        for record in section:
            writer.record(record)
    return bytes(writer.out)


def _truncate(query: Query, answer: Answer, extra: tuple[Record, ...], limit: int) -> bytes:
    """Find the most records that fit, by bisection over how many are kept from the front."""
    cut = replace(answer, truncated=True)
    records = (*answer.answer, *answer.authority, *answer.additional)
    first, second = len(answer.answer), len(answer.answer) + len(answer.authority)

    def keep(count: int) -> bytes:
        part = replace(
            cut,
            answer=records[: min(count, first)],
            authority=records[first : max(first, min(count, second))],
            additional=records[second : max(second, count)],
        )
        return _assemble(query, part, extra, compress=True)

    low, high = 0, min(len(records) - 1, limit // SMALLEST_RECORD)
    while low < high:
        middle = (low + high + 1) // 2
        if len(keep(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return keep(low)


def bare_reply(header: Header, rcode: Rcode) -> bytes:
    """Return a reply of twelve octets: for messages whose question cannot be repeated."""
    kept = _TC | _RD | _RA | _AD | _CD | (0x7800 if rcode is Rcode.NOTIMP else 0)
    return HEADER.pack(header.id, _QR | header.flags & kept | rcode, 0, 0, 0, 0)
