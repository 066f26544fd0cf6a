"""From the octets of a message to the octets of its reply: the rules every answer shares. No sockets.

Source: services-dns 14.1; RFC 6891 (EDNS), RFC 7766 (TCP). Options of a query are not echoed: a server that
does not implement an option leaves it out (RFC 6891, 6.1.2).
"""

import random
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from homeport.dns import front
from homeport.dns.answercache import AnswerCache
from homeport.dns.index import Index
from homeport.dns.message import FormatError, Opt, Query, bare_reply, encode, parse_query, peek_header
from homeport.dns.objects import Part
from homeport.dns.records import IN, Answer, Question, Rcode, Record, RRType
from homeport.dns.settings import DnsSettings

__all__ = ["MAX_TCP", "MIN_UDP", "Reply", "ReplySteps", "refuse", "respond"]

MIN_UDP: Final = 512
MAX_TCP: Final = 65535
OPCODE_QUERY: Final = 0
OPCODE_NOTIFY: Final = 4
MAX_ORDERS: Final = 8
MIN_RECORD: Final = 16
"""Octets of the shortest address record: a pointer for its owner, ten for the envelope, four for the address."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send. `orders` holds the same reply with its addresses in different orders; any of them will do.

    names     the parts of Services it was made from: when one changes, the reply is out of date
    local     it depends on the index alone, so it may be kept until then
    absent    it says that something is not there, and carries the serial: out of date at any change
    type      of the question; 0 where it could not be read
    """

    orders: tuple[bytes, ...]
    names: frozenset[Part] = frozenset()
    local: bool = False
    absent: bool = False
    type: int = 0


ReplySteps: TypeAlias = Generator[Question, "Answer | None", "Reply | None"]


def respond(
    data: bytes,
    index: Index,
    settings: DnsSettings,
    rng: random.Random,
    *,
    tcp: bool,
    cache: AnswerCache | None = None,
) -> ReplySteps:
    """Answer one message; returns None when silence is the answer. Yields as `zone.resolve` does; never raises."""
    header = peek_header(data)
    if header is None or header.is_response:
        return None
    if header.opcode not in (OPCODE_QUERY, OPCODE_NOTIFY):
        return Reply((bare_reply(header, Rcode.NOTIMP),))
    if header.counts[0] == 1 and len(data) == 12:
        return Reply((bare_reply(header, Rcode.SERVFAIL),))
    try:
        query = parse_query(data)
    except FormatError as error:
        if error.query is None:
            return Reply((bare_reply(header, Rcode.FORMERR),))
        failed = Answer(Rcode.FORMERR, authoritative=False)
        return Reply((encode(error.query, failed, limit=MAX_TCP),))
    limit = MAX_TCP if tcp else max(MIN_UDP, query.opt.payload if query.opt else 0)
    refusal = refuse(query, limit)
    if refusal is not None:
        return Reply((refusal,))
    opt = query.opt.echoed() if query.opt else None
    question = replace(
        query.question,
        dnssec_ok=query.opt is not None and query.opt.dnssec_ok,
        checking_disabled=query.checking_disabled,
    )
    steps = front.answer(question, index, settings, cache)
    local = True
    upstream: Answer | None = None
    while True:
        try:
            onward = steps.send(upstream)
        except StopIteration as stop:
            answer: Answer = stop.value
            break
        local = False
        upstream = yield onward
    orders = _orders(query, answer, settings, rng, limit, opt)
    return Reply(
        orders,
        answer.names,
        local and answer.lasting,
        absent=bool(answer.authority) or not answer.names,
        type=question.type,
    )


def refuse(query: Query, limit: int) -> bytes | None:
    """Return the reply to a query of an unknown version of EDNS or of another class than IN, None for others."""
    opt = query.opt
    if opt is not None and opt.version != 0:
        bare = Opt(0, dnssec_ok=opt.dnssec_ok)  # of the asker's version nothing is known, its size included
        return encode(query, Answer(Rcode.BADVERS, authoritative=False), limit=limit, opt=bare)
    if query.question.klass != IN:
        refused = Answer(Rcode.REFUSED, authoritative=False)
        return encode(query, refused, limit=limit, opt=opt.echoed() if opt else None)
    return None


def _orders(
    query: Query, answer: Answer, settings: DnsSettings, rng: random.Random, limit: int, opt: Opt | None
) -> tuple[bytes, ...]:
    addresses = [record for record in answer.answer if record.type in (RRType.A, RRType.AAAA)]
    if not settings.shuffle or len(addresses) < 2:
        return (encode(query, answer, limit=limit, opt=opt),)
    others = [record for record in answer.answer if record.type not in (RRType.A, RRType.AAAA)]
    others.sort(key=lambda record: record.type != RRType.CNAME)
    most = limit // MIN_RECORD + 1
    return tuple(
        encode(query, replace(answer, answer=(*others, *order)), limit=limit, opt=opt)
        for order in _rotations(addresses, rng, most)
    )


def _rotations(addresses: list[Record], rng: random.Random, most: int) -> list[list[Record]]:
    """Return shuffled orders in which every address comes first equally often, where there are few.

    No more than `most` addresses are taken: as many as could ever fit, and one that shows that there are more.
    """
    orders: list[list[Record]] = []
    for start in rng.sample(range(len(addresses)), min(len(addresses), MAX_ORDERS)):
        first = addresses[start]
        if len(addresses) > most:
            rest = rng.sample(addresses, most)
        else:
            rest = addresses[:]
            rng.shuffle(rest)
        orders.append([first, *(record for record in rest if record is not first)])
    return orders
