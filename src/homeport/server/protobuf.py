"""Protobuf request bodies as trees (api-machinery 5.5, 5.6). Typed Go clients send them; answers are always JSON.

A body is four magic bytes and an `Unknown` message that names the kind and carries the kind's own message. Which number
is which field comes from generated facts (`tools/protobuf_numbers.py`). The tree is the one JSON would have given, with
empty values that decoding drops.
"""

import base64
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from homeport.api import schema
from homeport.api.resources import Gvk
from homeport.clock import micro_time, rfc3339
from homeport.server.objects import Tree

__all__ = ["MEDIA_TYPE", "Undecodable", "decode"]

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_FACTS: Final = Path(__file__).parent / "_facts" / "protobuf.json.z"
_DEPTH_LIMIT: Final = 64

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Value = int | bytes


class Undecodable(Exception):
    """The bytes are no such message."""


def decode(body: bytes) -> Tree:
    """Return the object an enveloped body holds, with the kind and apiVersion it names. Raises Undecodable."""
    if not body.startswith(_MAGIC):
        raise Undecodable("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    version = kind = ""
    raw = b""
    for number, value in _fields(body[len(_MAGIC) :]):
        if number == 1:
            for inner, text in _fields(_sized(value)):
                if inner == 1:
                    version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2:
            raw = _sized(value)
    group, _, short = version.rpartition("/")
    tree = _message(_message_of(Gvk(group, short, kind)), raw, 0)
    return {"apiVersion": version, "kind": kind, **tree}


def _message_of(gvk: Gvk) -> str:
    if gvk.kind == "DeleteOptions":
        return "meta.v1.DeleteOptions"
    found = schema.kind_type(gvk)
    if found is None:
        raise Undecodable(f'no kind "{gvk.kind}" is registered for version "{gvk.api_version}"')
    return found.name


@cache
def _facts() -> Mapping[str, Mapping[str, tuple[str, str]]]:
    facts: Mapping[str, Mapping[str, tuple[str, str]]] = msgspec.json.decode(zlib.decompress(_FACTS.read_bytes()))
    return facts


@cache
def _numbers(name: str) -> Mapping[int, tuple[str, str]]:
    return {int(number): (field, code) for number, (field, code) in _facts()[name].items()}


def _message(name: str, data: bytes, depth: int) -> Tree:
    if depth > _DEPTH_LIMIT:
        raise Undecodable("messages are nested too deeply")
    numbers, tree = _numbers(name), Tree()
    for number, value in _fields(data):
        known = numbers.get(number)
        if known is None:
            continue  # a newer client's field: dropped, as an unknown one in JSON
        field, code = known
        if code.startswith("[]"):
            tree.setdefault(field, []).append(_value(code[2:], value, depth))
        elif code.startswith("{}"):
            key, item = _entry(code[2:], _sized(value), depth)
            tree.setdefault(field, {})[key] = item
        elif code.startswith("~"):
            tree |= _message(code[1:], _sized(value), depth + 1)
        else:
            tree[field] = _value(code, value, depth)
    return tree


def _entry(code: str, data: bytes, depth: int) -> tuple[str, Any]:
    key, item = "", None
    for number, value in _fields(data):
        if number == 1:
            key = _text(value)
        elif number == 2:
            item = _value(code, value, depth)
    return key, _value(code, b"" if code in _SIZED or code.startswith("@") else 0, depth) if item is None else item


def _value(code: str, value: Value, depth: int) -> Any:
    if code.startswith("%"):  # a list in a message of its own, bare in JSON
        return _message(code[1:], _sized(value), depth + 1).get("items", [])
    if code.startswith("@"):
        return _message(code[1:], _sized(value), depth + 1)
    return _SCALARS[code](value)


def _text(value: Value) -> str:
    try:
        return _sized(value).decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"a string is not UTF-8: {error}") from error


def _sized(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise Undecodable("a field has another wire type than its message says")
    return value


def _number(value: Value) -> int:
    """Return a varint as the signed integer it stands for."""
    if not isinstance(value, int):
        raise Undecodable("a field has another wire type than its message says")
    return value - (1 << 64) if value >= 1 << 63 else value


def _double(value: Value) -> float:
    return float(struct.unpack("<d", _number(value).to_bytes(8, "little", signed=True))[0])


def _first(value: Value) -> bytes:
    """Return the one field of a message that wraps bytes or a string."""
    found = b""
    for number, inner in _fields(_sized(value)):
        if number == 1:
            found = _sized(inner)
    return found


def _int_or_string(value: Value) -> int | str:
    kind, number, text = 0, 0, ""
    for field, inner in _fields(_sized(value)):
        if field == 1:
            kind = _number(inner)
        elif field == 2:
            number = _number(inner)
        elif field == 3:
            text = _text(inner)
    return text if kind == 1 else number


def _moment(value: Value) -> tuple[int, int]:
    seconds = nanos = 0
    for number, inner in _fields(_sized(value)):
        if number == 1:
            seconds = _number(inner)
        elif number == 2:
            nanos = _number(inner)
    return seconds, nanos


def _time(value: Value) -> str | None:
    seconds, nanos = _moment(value)
    return rfc3339(seconds) if seconds or nanos else None


def _micro_time(value: Value) -> str | None:
    seconds, nanos = _moment(value)
    return micro_time(seconds + nanos // 1000 / 1e6) if seconds or nanos else None


def _embedded(value: Value) -> Any:
    raw = _first(value)
    try:
        return msgspec.json.decode(raw) if raw else None
    except msgspec.DecodeError as error:
        raise Undecodable(f"an embedded object is not JSON: {error}") from error


_SCALARS: Final[Mapping[str, Callable[[Value], Any]]] = {
    "s": _text,
    "i": _number,
    "l": _number,
    "n": _double,
    "b": lambda value: bool(_number(value)),
    "y": lambda value: base64.b64encode(_sized(value)).decode(),
    "q": lambda value: _first(value).decode(),
    "x": _int_or_string,
    "t": _time,
    "u": _micro_time,
    "r": _embedded,
    "f": _embedded,
}
_SIZED: Final = frozenset("syqxturf")


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message as they stand. Raises Undecodable."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value: Value
            value, at = _varint(data, at)
        elif wire == _BYTES:
            size, at = _varint(data, at)
            if at + size > end:
                raise Undecodable("unexpected EOF")
            value = data[at : at + size]
            at += size
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            if at + size > end:
                raise Undecodable("unexpected EOF")
            value = int.from_bytes(data[at : at + size], "little")
            at += size
        else:
            raise Undecodable(f"illegal wireType {wire}")
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise Undecodable("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift >= 70:
            raise Undecodable("integer overflow")
