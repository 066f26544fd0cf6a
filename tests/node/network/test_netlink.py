"""The netlink codec: padded attributes, requests as the kernel reads them."""

import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from homeport.netlink import attribute, attributes, nested, text
from homeport.node.network import rtnetlink


@given(st.lists(st.tuples(st.integers(1, 100), st.binary(max_size=40))))
def test_attributes_come_back_as_they_went(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, payload) for kind, payload in pairs)
    assert len(data) % 4 == 0
    assert list(attributes(data)) == pairs


@given(st.binary(max_size=64))
def test_any_bytes_are_read_without_error(data: bytes) -> None:
    assert all(len(payload) <= len(data) for _, payload in attributes(data))


def test_nested_attributes_are_marked_and_unmarked() -> None:
    data = nested(18, text(1, "veth"))
    assert struct.unpack_from("=HH", data) == (len(data), 18 | 0x8000)
    assert [(kind, list(attributes(inner))) for kind, inner in attributes(data)] == [(18, [(1, b"veth\0")])]


def test_an_address_request_names_prefix_and_interface() -> None:
    request = rtnetlink.add_address(7, IPv4Interface("10.244.0.2/16"))
    assert struct.unpack_from("=BBBBI", request.body) == (2, 16, 0, 0, 7)
    assert dict(attributes(request.body[8:])) == {1: b"\x0a\xf4\0\2", 2: b"\x0a\xf4\0\2"}


def test_a_default_route_has_a_gateway_and_no_destination() -> None:
    request = rtnetlink.add_route(3, IPv4Network("0.0.0.0/0"), gateway=IPv4Address("10.244.0.1"))
    assert dict(attributes(request.body[12:])) == {5: b"\x0a\xf4\0\1", 4: struct.pack("=I", 3)}


def test_links_are_read_from_a_dump() -> None:
    body = (
        struct.pack("=BxHiII", 0, 1, 9, 0, 0) + text(3, "hp1") + text(20, "db-0") + attribute(10, struct.pack("=I", 4))
    )
    assert rtnetlink.parse_links([body]) == [rtnetlink.Link(9, "hp1", "db-0", 4)]
