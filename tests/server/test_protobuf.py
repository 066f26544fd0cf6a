"""Protobuf bodies mean what their JSON means: recorded answers of a real server, and kinds of garbage."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.api import decode as decoding
from homeport.api import schema
from homeport.api.resources import Gvk
from homeport.server import protobuf
from tests.vectors.load import load


def _recorded() -> list[Any]:
    found = []
    for scenario in load("api", "protobuf")["scenarios"]:
        for step in scenario["steps"]:
            response = step.get("response", {})
            if "bodyBase64" in response and "jsonSameMoment" in response:
                found.append(pytest.param(response, id=scenario["name"]))
    return found


@pytest.mark.parametrize("response", _recorded())
def test_a_message_is_the_object_its_json_shows(response: Any) -> None:
    body, expected = base64.b64decode(response["bodyBase64"]), response["jsonSameMoment"]
    group, _, version = expected["apiVersion"].rpartition("/")
    gvk = Gvk(group, version, expected["kind"])
    if schema.kind_type(gvk) is None:
        with pytest.raises(protobuf.Undecodable):
            protobuf.decode(body)
        return
    tree = decoding.decode(gvk, protobuf.decode(body)).tree
    assert _plain(tree) == _plain(decoding.decode(gvk, expected).tree)


def _plain(tree: Any) -> Any:
    """Leave out what no message carries: who manages what, and the type of an object inside an object."""
    tree["metadata"].pop("managedFields", None)
    for claim in tree.get("spec", {}).get("volumeClaimTemplates") or ():
        claim.pop("kind", None)
        claim.pop("apiVersion", None)
    return tree


@pytest.mark.parametrize(
    "body",
    [b"", b"k8s", b"k8s\x00\x0a", b"k8s\x00\x0a" + b"\xff" * 11, b"k8s\x00\x0b", b'{"a":1}'],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(protobuf.Undecodable):
        protobuf.decode(body)


@given(st.binary(max_size=200))
def test_foreign_bytes_never_do_more_than_be_refused(data: bytes) -> None:
    head = b"k8s\x00\x0a\x0e\x0a\x02v1\x12\x08Pod"
    for body in (b"k8s\x00" + data, head + data):
        try:
            protobuf.decode(body)
        except protobuf.Undecodable:
            continue


def test_a_pod_of_foreign_bytes_is_refused_or_read() -> None:
    raw = b"\x0a\x05\x0a\x03web\x12\x02\x08\x01"
    body = b"k8s\x00" + b"\x0a\x09\x0a\x02v1\x12\x03Pod" + b"\x12" + bytes([len(raw)]) + raw
    with pytest.raises(protobuf.Undecodable):
        protobuf.decode(body)  # spec.volumes as a number
