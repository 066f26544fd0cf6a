"""SPDY/3.1 frames: golden bytes, round trips in any cut, and nonsense refused."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.node.streams.spdy import (
    DICTIONARY,
    Data,
    Event,
    Finished,
    GoAway,
    Opened,
    Ping,
    Replied,
    Reset,
    SpdyConnection,
    SpdyError,
)

GOING_AWAY = bytes.fromhex("8003 0007 00 000008 00000003 00000000")
HEADER = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=12), st.text(max_size=30)
)


def test_the_dictionary_is_the_one_peers_have() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_data_and_control_frames_have_their_layout() -> None:
    assert SpdyConnection.send(5, b"hi") == bytes.fromhex("00000005 00 000002") + b"hi"
    assert SpdyConnection.send(5, b"hi", finished=True) == bytes.fromhex("00000005 01 000002") + b"hi"
    assert SpdyConnection.send(5, b"", finished=True) == bytes.fromhex("00000005 01 000000")
    assert SpdyConnection.ping(7) == bytes.fromhex("8003 0006 00 000004 00000007")
    assert SpdyConnection.reset(3) == bytes.fromhex("8003 0003 00 000008 00000003 00000005")


def test_a_header_block_begins_with_the_dictionarys_mark() -> None:
    frame = SpdyConnection().open(1, {"streamType": "error"})
    assert frame[:8] == bytes.fromhex("8003 0001 00") + (len(frame) - 8).to_bytes(3, "big")
    assert frame[18:24] == bytes.fromhex("78bb e3c6 a7c2") or frame[19:24] == bytes.fromhex("bb e3c6a7c2")


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


@given(st.lists(HEADER, max_size=6), st.lists(st.integers(1, 40), max_size=60))
def test_headers_survive_any_cut_and_a_shared_compressor(blocks: list[dict[str, str]], sizes: list[int]) -> None:
    sender, receiver = SpdyConnection(), SpdyConnection()
    wire = b""
    expected: list[Event] = []
    for number, headers in enumerate(blocks):
        stream = 2 * number + 1
        wire += sender.open(stream, headers, finished=number % 2 == 0)
        wire += sender.reply(stream, headers)
        expected += [Opened(stream, headers, number % 2 == 0), Replied(stream, headers)]
    events = [event for piece in cut(wire, sizes) for event in receiver.receive(piece)]
    assert events == expected


@given(st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=100_000), st.booleans()), max_size=5))
def test_data_arrives_whole_and_in_order(messages: list[tuple[int, bytes, bool]]) -> None:
    receiver = SpdyConnection()
    wire = b"".join(SpdyConnection.send(stream, data, finished=finished) for stream, data, finished in messages)
    events = receiver.receive(wire)
    for stream in range(1, 10):
        sent = b"".join(data for to, data, _ in messages if to == stream)
        assert b"".join(event.data for event in events if isinstance(event, Data) and event.stream == stream) == sent
        ends = sum(1 for to, _, finished in messages if to == stream and finished)
        assert sum(1 for event in events if event == Finished(stream)) == ends


def test_other_frames_are_understood_or_passed_over() -> None:
    connection = SpdyConnection()
    settings = bytes.fromhex("8003 0004 00 00000c 00000001 00000007 00001000")
    window = bytes.fromhex("8003 0009 00 000008 00000001 00001000")
    wire = settings + window + SpdyConnection.ping(9) + SpdyConnection.reset(1, 2) + GOING_AWAY
    assert connection.receive(wire) == [Ping(9), Reset(1, 2), GoAway()]


@pytest.mark.parametrize(
    "wire",
    [
        "8002 0006 00 000004 00000007",  # version 2
        "00000000 00 000001 61",  # data on stream 0
        "8003 0001 00 000004 00000001",  # too short
        "8003 0006 00 000002 0000",  # too short
        "8003 0001 00 00000c 00000001 00000000 0000 ffff",  # no header block
        "00000001 00 ffffff",  # enormous
    ],
)
def test_nonsense_is_refused(wire: str) -> None:
    with pytest.raises(SpdyError):
        SpdyConnection().receive(bytes.fromhex(wire))


def test_a_header_block_that_grows_without_bound_is_refused() -> None:
    bomb = zlib.compressobj(zdict=DICTIONARY)
    block = bomb.compress(bytes(10 << 20)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    payload = (1).to_bytes(4, "big") + bytes(6) + block
    frame = bytes.fromhex("8003 0001 00") + len(payload).to_bytes(3, "big") + payload
    with pytest.raises(SpdyError):
        SpdyConnection().receive(frame)


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    connection = SpdyConnection()
    try:
        connection.receive(b"\x80\x03" + data)
    except SpdyError:
        return
