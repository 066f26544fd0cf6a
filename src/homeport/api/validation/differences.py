"""What changed, in the internal form that a few refusals list it in: pretty JSON by Go names, as a unified diff.

People read these to see which field of a pod they may not change.
"""

import difflib
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from homeport.api import schema

__all__ = ["difference", "internal_form"]

Tree = dict[str, Any]

_FACTS: Final = Path(schema.__file__).parent / "_facts" / "internal.json.z"
_ZERO: Final = {"s": "", "i": 0, "l": 0, "b": False, "q": "0", "x": 0}
_IN_SECURITY_CONTEXT: Final = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
_VERSIONED: Final = {"PersistentVolumeSource": "core.v1.PersistentVolumeSpec"}
"""Where the versioned type has another name."""


def difference(type_name: str, old: Tree, new: Tree) -> str:
    """Return the unified diff between two values of an internal type, such as `PodSpec`; no file headers."""
    before, after = _lines(type_name, old), _lines(type_name, new)
    return "".join(list(difflib.unified_diff(before, after, n=3))[2:])


def internal_form(type_name: str, tree: Tree) -> Tree:
    """Return a value of an internal type, such as `PodSpec`, with the names and zeros it is printed with."""
    return _struct(type_name, tree)


def _lines(type_name: str, tree: Tree) -> list[str]:
    text = json.dumps(_struct(type_name, tree), indent=1, ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return [f"{line}\n" for line in text.split("\n")]


@cache
def _layouts() -> dict[str, list[list[str]]]:
    layouts: dict[str, list[list[str]]] = msgspec.json.decode(zlib.decompress(_FACTS.read_bytes()))
    return layouts


@cache
def _json_names(type_name: str) -> dict[str, str]:
    """Return the JSON name of each field of the versioned type, by Go name."""
    try:
        fields = schema.struct(_VERSIONED.get(type_name, f"core.v1.{type_name}")).fields
    except KeyError:
        return {}
    return {field.go_name: name for name, field in fields.items()}


def _struct(type_name: str, tree: Tree) -> Tree:
    if type_name == "PodSpec":
        context = {**(tree.get("securityContext") or {})}
        context |= {field: tree[field] for field in _IN_SECURITY_CONTEXT if field in tree}
        tree = {**tree, "securityContext": context}
    names = _json_names(type_name)
    return {
        go_name: _value(code, tree.get(names.get(go_name) or go_name[0].lower() + go_name[1:]))
        for go_name, code in _layouts()[type_name]
    }


def _value(code: str, value: Any) -> Any:
    kind = code[0]
    if value is None:
        if kind == "@":
            return _struct(code[1:], {})
        return _ZERO.get(kind)
    if kind == "*":
        return _value(code[1:], value)
    if kind == "@":
        return _struct(code[1:], value)
    if kind == "[":
        return [_value(code[2:], item) for item in value]
    if kind == "{":
        return {key: _value(code[2:], value[key]) for key in sorted(value)}
    return value
