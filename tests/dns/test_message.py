"""The codec against an independent one, and against noise."""

import asyncio
import random

import dns.message
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st

from homeport.dns.message import FormatError, Query, encode, parse_message, parse_query
from homeport.dns.records import Answer, Question, Record, RRType
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from tests.dns.worked import WORKED
from tests.vectors.replay_dns import FixedClock, fill

LABEL = st.binary(min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(tuple)


def server() -> DnsServer:
    made = DnsServer(DnsSettings(), FixedClock(), random.Random(3), nobody)
    fill(made, WORKED)
    made.synced()
    return made


async def nobody(_: Question) -> Answer | None:
    return None


SERVER = server()


@given(st.binary(max_size=120))
@settings(max_examples=500)
def test_noise_gets_an_answer_or_silence_never_a_crash(noise: bytes) -> None:
    asyncio.run(SERVER.respond(noise, False))


@given(st.binary(min_size=0, max_size=60), st.integers(0, 40), st.integers(0, 255))
@settings(max_examples=500)
def test_a_damaged_question_gets_an_answer_or_silence(tail: bytes, place: int, octet: int) -> None:
    wire = bytearray(dns.message.make_query("pg-0.pg.db.svc.cluster.local.", "A", use_edns=0).to_wire())
    wire[place] = octet
    asyncio.run(SERVER.respond(bytes(wire) + tail, True))


@given(NAME, st.integers(0, 65535), st.integers(0, 65535))
def test_a_query_reads_back(name: tuple[bytes, ...], kind: int, ident: int) -> None:
    query = Query(ident, 0, Question(name, kind), True, False)
    assert parse_query(encode(query, Answer(authoritative=False), limit=512)).question == query.question


@given(st.lists(NAME, min_size=1, max_size=30))
def test_compressed_names_read_back_whole(names: list[tuple[bytes, ...]]) -> None:
    records = tuple(Record(name, RRType.PTR, 5, (names[0],)) for name in names)
    wire = encode(Query(1, 0, Question(names[0], RRType.PTR), False, False), Answer(answer=records), limit=65535)
    assert parse_message(wire)[1].answer == records


@given(st.integers(1, 200), st.integers(512, 4096))
def test_a_cut_reply_fits_says_so_and_holds_whole_records(count: int, limit: int) -> None:
    question = Question((b"pg", b"db", b"svc", b"cluster", b"local"), RRType.A)
    records = tuple(Record(question.name, RRType.A, 5, (bytes((10, 0, n // 256, n % 256)),)) for n in range(count))
    wire = encode(Query(9, 0, question, True, False), Answer(answer=records), limit=limit)
    reply = dns.message.from_wire(wire, one_rr_per_rrset=True)
    assert len(wire) <= limit
    whole = len(reply.answer) == count
    assert bool(reply.flags & dns.flags.TC) is not whole
    if not whole:
        assert len(wire) + 16 > limit, "one more record would have fitted"


def test_a_pointer_loop_is_an_error() -> None:
    looped = bytes.fromhex("abcd01000001000000000000") + b"\xc0\x0c\x00\x01\x00\x01"
    try:
        parse_query(looped)
    except FormatError:
        return
    raise AssertionError("the loop was followed")


def _sample_reply() -> bytes:
    query = dns.message.make_query("www.example.net.", "MX", use_edns=0)
    reply = dns.message.make_response(query)
    for text in ("MX 10 mail.example.net.", "RP a.example.net. b.example.net.", "AFSDB 1 afs.example.net.", "TXT hi"):
        kind, data = text.split(" ", 1)
        reply.answer.append(dns.rrset.from_text("www.example.net.", 60, "IN", kind, data))
    soa = "ns.example.net. root.example.net. 1 2 3 4 5"
    reply.authority.append(dns.rrset.from_text("example.net.", 60, "IN", "SOA", soa))
    reply.additional.append(dns.rrset.from_text("mail.example.net.", 60, "IN", "A", "192.0.2.1"))
    return bytes(reply.to_wire())


REPLY = _sample_reply()


def test_the_names_in_all_old_types_are_decompressed() -> None:
    answer = parse_message(REPLY)[1]
    query = Query(1, 0, Question((b"www", b"example", b"net"), RRType.MX), True, False)
    again = dns.message.from_wire(encode(query, answer, limit=65535))
    assert [str(rrset) for rrset in again.answer] == [str(rrset) for rrset in dns.message.from_wire(REPLY).answer]


@given(st.lists(st.tuples(st.integers(0, len(REPLY) - 1), st.integers(0, 255)), max_size=4), st.integers(0, len(REPLY)))
@settings(max_examples=1000)
def test_a_damaged_reply_is_refused_or_can_be_told_on(damage: list[tuple[int, int]], end: int) -> None:
    wire = bytearray(REPLY)
    for place, octet in damage:
        wire[place] = octet
    query = Query(1, 0, Question((b"www", b"example", b"net"), RRType.MX), True, False)
    for message in (bytes(wire), bytes(wire[:end])):
        try:
            answer = parse_message(message)[1]
        except FormatError:
            continue
        assert parse_message(encode(query, answer, limit=65535))[1].answer == answer.answer


@given(st.binary(max_size=200))
@settings(max_examples=1000)
def test_noise_is_no_reply(noise: bytes) -> None:
    for message in (noise, REPLY[:12] + noise):
        try:
            parse_message(message)
        except FormatError:
            continue
