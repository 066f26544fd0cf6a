"""What is known about every field of every kind: type, pointer or value, list keys, merge keys. No prose, no rules.

The facts are generated (`tools/schema_facts.py`) and read on first use; a type is built when it is first asked for.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from homeport.api.resources import Gvk

__all__ = ["Field", "Struct", "kind_type", "known_kinds", "struct"]

_FACTS: Final = Path(__file__).parent / "_facts" / "facts.json.z"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type.

    type            s string, i int32, l int64, n number, b bool, q quantity, x int-or-string, t time, u micro time,
                    y base64 bytes, r raw JSON, f field set, `[]T` list of T, `{}T` map of T, `@name` another type.
    pointer         absent and zero are different: zero is written out.
    omit_empty      an empty value is left out on the wire; otherwise the field is always there.
    list_type       "map", "set", "atomic" or "" (not stated: atomic), for server-side apply.
    list_keys       the keys of a "map" list.
    patch_strategy  strategic merge: any of "merge", "replace", "retainKeys".
    merge_key       the key of a merged list of objects.
    map_type        "atomic", "granular" or "": stated on this field for a map or an object.
    go_name         the Go field name.
    go_type         name of the scalar's or map's own Go type (of the items, for a list), as decoding errors print it.
    """

    name: str
    type: str
    pointer: bool
    omit_empty: bool
    omit_zero: bool
    optional: bool
    list_type: str
    list_keys: tuple[str, ...]
    patch_strategy: tuple[str, ...]
    merge_key: str
    map_type: str
    go_name: str
    go_type: str


@dataclass(frozen=True, slots=True)
class Struct:
    """A type: `name` such as `core.v1.PodSpec`; `atomic` when server-side apply treats it as one value."""

    name: str
    go_name: str
    atomic: bool
    fields: Mapping[str, Field]


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.json.decode(zlib.decompress(_FACTS.read_bytes()))
    return facts


@cache
def struct(name: str) -> Struct:
    """Return a type by its qualified name (`core.v1.PodSpec`); raises KeyError when there is none."""
    go_name, flags, fields = _facts()["types"][name]
    return Struct(name, go_name, "a" in flags, {row[0]: _field(row) for row in fields})


@cache
def kind_type(gvk: Gvk) -> Struct | None:
    """Return the type behind a kind, or None for kinds not built in."""
    name = _facts()["kinds"].get(f"{gvk.group}/{gvk.version}/{gvk.kind}")
    return None if name is None else struct(name)


def known_kinds() -> tuple[Gvk, ...]:
    """Return every kind with facts, served or only read as a body."""
    return tuple(Gvk(*name.split("/")) for name in _facts()["kinds"])


def _field(row: list[Any]) -> Field:
    name, kind, flags = row[:3]
    extras = row[3] if len(row) > 3 else {}
    strategy = extras.get("ps", "")
    return Field(
        name=name,
        type=kind,
        pointer="p" in flags,
        omit_empty="e" in flags,
        omit_zero="z" in flags,
        optional="o" in flags,
        list_type=extras.get("lt", ""),
        list_keys=tuple(extras.get("lk", ())),
        patch_strategy=tuple(strategy.split(",")) if strategy else (),
        merge_key=extras.get("mk", ""),
        map_type=extras.get("mt", ""),
        go_name=extras.get("gn") or name[0].upper() + name[1:],
        go_type=extras.get("gt", ""),
    )
