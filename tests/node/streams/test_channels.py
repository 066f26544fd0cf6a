"""Channel messages, negotiation, sizes and statuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.node.streams.portforward import requested_ports
from homeport.node.streams.remotecommand import SUCCESS, Wanted, exit_status, parse_sizes
from homeport.node.streams.socket_channels import SUBPROTOCOLS, decode_message, encode_message
from homeport.node.streams.spdy_channels import expected_streams, negotiate
from homeport.node.streams.websocket import choose


@given(st.integers(0, 9), st.binary(max_size=200), st.booleans())
def test_messages_survive_the_wire(channel: int, data: bytes, text: bool) -> None:
    wire = encode_message(channel, data, base64_text=text)
    assert decode_message(wire, base64_text=text) == (channel, data)


def test_messages_look_as_documented() -> None:
    assert encode_message(1, b"hi", base64_text=False) == b"\x01hi"
    assert encode_message(1, b"hi", base64_text=True) == b"1aGk="
    assert decode_message(b"", base64_text=False) is None
    assert decode_message(b"x!!", base64_text=True) is None


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["v5.channel.k8s.io", "v4.channel.k8s.io"], "v5.channel.k8s.io"),
        (["v4.channel.k8s.io", "v5.channel.k8s.io"], "v4.channel.k8s.io"),
        (["graphql", "base64.channel.k8s.io"], "base64.channel.k8s.io"),
        (["graphql"], None),
        ([], None),
    ],
)
def test_the_first_offer_that_is_spoken_is_chosen(offered: list[str], chosen: str | None) -> None:
    assert choose(offered, SUBPROTOCOLS) == chosen


def test_spdy_protocols_are_negotiated_from_one_or_many_headers() -> None:
    assert negotiate("v4.channel.k8s.io, v3.channel.k8s.io") == "v4.channel.k8s.io"
    assert negotiate("v9.channel.k8s.io,channel.k8s.io") == "channel.k8s.io"
    assert negotiate("v9.channel.k8s.io") is None


@pytest.mark.parametrize(
    ("wanted", "protocol", "streams"),
    [
        (Wanted(stdout=True, stderr=True), "v4.channel.k8s.io", {"error", "stdout", "stderr"}),
        (Wanted(True, True, False, tty=True), "v4.channel.k8s.io", {"error", "stdin", "stdout", "resize"}),
        (Wanted(True, True, False, tty=True), "v2.channel.k8s.io", {"error", "stdin", "stdout"}),
    ],
)
def test_the_streams_a_client_will_open(wanted: Wanted, protocol: str, streams: set[str]) -> None:
    assert expected_streams(wanted, protocol) == streams


def test_sizes_are_read_from_a_stream_of_objects() -> None:
    assert parse_sizes('{"Width":80,"Height":24}{"Width":100,') == ([(80, 24)], '{"Width":100,')
    assert parse_sizes('{"Width":100,"Height":30}\n') == ([(100, 30)], "")
    assert parse_sizes("") == ([], "")


def test_exit_codes_become_statuses() -> None:
    assert exit_status(0) == SUCCESS
    failed = exit_status(7)
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


def test_ports_are_numbers_or_lists_of_them() -> None:
    assert requested_ports(["80", "81,82"]) == [80, 81, 82]
    for nonsense in ([], ["0"], ["70000"], ["x"]):
        with pytest.raises(ValueError):
            requested_ports(nonsense)
