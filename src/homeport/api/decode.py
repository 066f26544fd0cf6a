"""From a parsed JSON body to the tree the server works on: pruned, typed, in canonical form.

One walk per type, compiled from the schema facts on first use, changes the freshly parsed tree in place: unknown fields
go and are reported, null is absent, empty values that would not be written are dropped, values that are always written
appear, and times, quantities and base64 take their stored form.

Source: api-machinery 6.4, 8.13; encoding/json's wording of type errors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, TypeAlias

from homeport.api import schema
from homeport.api.resources import Gvk
from homeport.api.scalars import canonical_bytes, canonical_micro_time, canonical_quantity, canonical_time
from homeport.errors import BadRequest

__all__ = ["Decoded", "decode", "decode_field", "empty", "normalise", "strict_error"]

Json: TypeAlias = Any
Findings: TypeAlias = list[str]
Walk: TypeAlias = Callable[[Json, str, Findings], Json]

_FINDINGS_LIMIT: Final = 100
_INT32: Final = 2**31
_INT64: Final = 2**63
_UNSET: Final = object()


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded object and what strict decoding would object to, in document order (`unknown field "spec.foo"`)."""

    tree: dict[str, Any]
    findings: tuple[str, ...]


class _Mismatch(Exception):
    """A value of the wrong JSON type or form; the text is complete but for the prefix naming the kind."""


def decode(gvk: Gvk, tree: Json, *, kind: str = "") -> Decoded:
    """Decode a parsed body, in place.

    gvk     the kind the URL asks for; it is written into the result.
    tree    parsed JSON, owned by the caller and given away.
    kind    the kind the body names, when it differs in the error text.
    Raises  BadRequest when a value has the wrong type; KeyError when the kind has no facts (custom resources).
    """
    walk = _kind_walk(gvk)
    findings: Findings = []
    try:
        decoded = walk({} if tree is None else tree, "", findings)
    except _Mismatch as error:
        raise _refusal(gvk, kind, str(error)) from None
    decoded["apiVersion"] = gvk.api_version
    decoded["kind"] = gvk.kind
    return Decoded(decoded, tuple(findings[:_FINDINGS_LIMIT]))


def decode_field(gvk: Gvk, name: str, value: Json) -> tuple[Json, tuple[str, ...]]:
    """Decode one field of an object, in place, as `decode` does the whole; return it and what strict decoding objects
    to. Raises BadRequest, KeyError."""
    kind = schema.kind_type(gvk)
    if kind is None:
        raise KeyError(gvk)
    findings: Findings = []
    try:
        decoded = _single(kind.name, name)(value, name, findings)
    except _Mismatch as error:
        raise _refusal(gvk, "", str(error)) from None
    return decoded, tuple(findings[:_FINDINGS_LIMIT])


@cache
def _single(type_name: str, field: str) -> Walk:
    facts = schema.struct(type_name)
    return _field_walk(facts, facts.fields[field])


def strict_error(gvk: Gvk, findings: tuple[str, ...] | list[str], *, kind: str = "") -> BadRequest:
    """Return the refusal that `fieldValidation=Strict` gives for these findings."""
    return _refusal(gvk, kind, f"strict decoding error: {', '.join(findings)}")


def _refusal(gvk: Gvk, kind: str, why: str) -> BadRequest:
    return BadRequest(f'{kind or gvk.kind} in version "{gvk.version}" cannot be handled as a {gvk.kind}: {why}')


def normalise(type_name: str, tree: Json) -> Json:
    """Bring a part of an object (say `core.v1.PodSpec`) into the form `decode` gives; raises ValueError."""
    try:
        return _struct_walk(type_name)(tree, "", [])
    except _Mismatch as error:
        raise ValueError(str(error)) from None


def empty(type_name: str) -> dict[str, Any]:
    """Return a type's zero value as it is written: only the fields that are always there."""
    return {key: make() for key, make in _always(schema.struct(type_name))}


@cache
def _kind_walk(gvk: Gvk) -> Walk:
    kind = schema.kind_type(gvk)
    if kind is None:
        raise KeyError(gvk)
    return _struct_walk(kind.name)


@cache
def _struct_walk(name: str, owner: str = "") -> Walk:
    """Return the walk of a type; `owner` is the Go name of the type it is a field of, for error texts."""
    facts = schema.struct(name)
    compiled: Walk | None = None

    def first(value: Json, path: str, findings: Findings) -> Json:
        # Types are compiled when first met: self-reference is no concern and unused types cost nothing.
        nonlocal compiled
        if compiled is None:
            compiled = _compile_struct(facts, owner)
        return compiled(value, path, findings)

    return first


def _compile_struct(facts: schema.Struct, owner: str) -> Walk:
    plain = {field.name: {"s": str, "b": bool}.get(field.type, _UNSET) for field in facts.fields.values()}
    steps: dict[str, tuple[Walk, bool]] = {}
    for field in facts.fields.values():
        # An empty list that is always written is stored as null, as upstream's storage encoding leaves it.
        droppable = not field.pointer and field.type[0] in ("silnby[{" if field.omit_empty else "[{")
        steps[field.name] = (_field_walk(facts, field), droppable)
    always = _always(facts)
    go_name = f"v1.{facts.go_name}"

    def walk(tree: Json, path: str, findings: Findings) -> Json:
        if type(tree) is not dict:
            raise _mismatch(tree, path, go_name, owner)
        prefix = f"{path}." if path else ""
        gone: list[str] | None = None
        for key, value in tree.items():
            if value and type(value) is plain.get(key):
                continue
            step = steps.get(key)
            if step is not None and value is not None:
                new = step[0](value, prefix + key, findings)
                if new is not value:
                    tree[key] = new
                if new or not step[1]:
                    continue
            elif step is None:
                findings.append(f'unknown field "{prefix}{key}"')
            if gone is None:
                gone = [key]
            else:
                gone.append(key)
        if gone is not None:
            for key in gone:
                del tree[key]
        for key, make in always:
            if key not in tree:
                tree[key] = make()
        return tree

    return walk


@cache
def _always_by_name(name: str) -> tuple[tuple[str, Callable[[], Json]], ...]:
    return _always(schema.struct(name))


def _always(facts: schema.Struct) -> tuple[tuple[str, Callable[[], Json]], ...]:
    """Return the fields that are written even when nothing was said, and how to make their value."""
    return tuple(
        (field.name, partial(_zero, field))
        for field in facts.fields.values()
        if not field.omit_zero and (not field.omit_empty or (field.type[0] in "@qxtu" and not field.pointer))
    )


def _zero(field: schema.Field) -> Json:
    if field.pointer:
        return None
    if field.type[0] == "@":
        return {key: make() for key, make in _always_by_name(field.type[1:])}
    return {"s": "", "i": 0, "l": 0, "n": 0, "b": False, "q": "0", "x": 0}.get(field.type)


def _field_walk(owner: schema.Struct, field: schema.Field) -> Walk:
    return _walk(field.type, field.go_type, owner.go_name)


def _walk(code: str, go_type: str, owner: str) -> Walk:
    if code[0] == "@":
        return _struct_walk(code[1:], owner)
    if code[0] == "[":
        return _list_walk(code[2:], go_type, owner)
    if code[0] == "{":
        return _map_walk(code[2:], go_type, owner)
    if code in "il":
        return _int_walk(_INT32 if code == "i" else _INT64, go_type or ("int32" if code == "i" else "int64"), owner)
    if code == "q":
        return _quantity
    if code == "x":
        return partial(_int_or_string, owner)
    if code in _TEXT_FORMS:
        return _text_walk(_TEXT_FORMS[code], owner, "[]uint8" if code == "y" else "string")
    if code in "rf":
        return _raw
    expected, name = {"s": (str, "string"), "b": (bool, "bool"), "n": (float, "float64")}[code]
    return _scalar_walk(expected, go_type or name, owner)


_TEXT_FORMS: Final[dict[str, Callable[[str], str]]] = {
    "t": canonical_time,
    "u": canonical_micro_time,
    "y": canonical_bytes,
}


def _scalar_walk(expected: type, go_type: str, owner: str) -> Walk:
    accepted = (float, int) if expected is float else (expected,)

    def walk(value: Json, path: str, findings: Findings) -> Json:
        if type(value) in accepted:
            return value
        raise _mismatch(value, path, go_type, owner, literal=expected is float)

    return walk


def _int_walk(bound: int, go_type: str, owner: str) -> Walk:
    def walk(value: Json, path: str, findings: Findings) -> Json:
        if type(value) is int and -bound <= value < bound:
            return value
        raise _mismatch(value, path, go_type, owner, literal=True)

    return walk


def _text_walk(canonical: Callable[[str], str], owner: str, go_type: str) -> Walk:
    def walk(value: Json, path: str, findings: Findings) -> Json:
        if type(value) is not str:
            raise _mismatch(value, path, go_type, owner)
        try:
            return canonical(value)
        except ValueError as error:
            raise _Mismatch(str(error)) from None

    return walk


def _quantity(value: Json, path: str, findings: Findings) -> Json:
    text = value if type(value) is str else repr(value) if type(value) in (int, float) else ""
    try:
        return canonical_quantity(text.strip())
    except ValueError as error:
        raise _Mismatch(str(error)) from None


def _int_or_string(owner: str, value: Json, path: str, findings: Findings) -> Json:
    if type(value) is str or (type(value) is int and -_INT32 <= value < _INT32):
        return value
    raise _mismatch(value, path, "int32", owner, literal=True)


def _raw(value: Json, path: str, findings: Findings) -> Json:
    return value


def _list_walk(item: str, go_type: str, owner: str) -> Walk:
    whole = "[]" + (go_type or _go_type(item))
    step = _walk(item, go_type, owner)

    if item == "s":

        def strings(values: Json, path: str, findings: Findings) -> Json:
            if type(values) is not list:
                raise _mismatch(values, path, whole, owner)
            for index, value in enumerate(values):
                if type(value) is not str:
                    values[index] = "" if value is None else step(value, path, findings)
            return values

        return strings

    none = _none_of(item)

    def walk(values: Json, path: str, findings: Findings) -> Json:
        if type(values) is not list:
            raise _mismatch(values, path, whole, owner)
        for index, value in enumerate(values):
            if value is None:
                value = none()
            new = step(value, f"{path}[{index}]", findings)
            if new is not values[index]:
                values[index] = new
        return values

    return walk


def _map_walk(item: str, go_type: str, owner: str) -> Walk:
    whole = go_type or "map[string]" + _go_type(item)
    step = _walk(item, "", owner)
    none = _none_of(item)

    def walk(values: Json, path: str, findings: Findings) -> Json:
        if type(values) is not dict:
            raise _mismatch(values, path, whole, owner)
        for key, value in values.items():
            if item == "s" and type(value) is str:
                continue
            values[key] = none() if value is None and item[0] != "@" else step(value, path, findings)
        return values

    return walk


def _none_of(item: str) -> Callable[[], Json]:
    """Return what null means for an item of this type: its zero value."""
    if item[0] == "@":
        return dict
    zero = {"s": "", "y": "", "i": 0, "l": 0, "b": False, "q": "0", "x": 0}.get(item)
    return lambda: zero


def _go_type(code: str) -> str:
    if code[0] == "@":
        return "v1." + code.rsplit(".", 1)[1]
    if code[0] == "[":
        return "[]" + _go_type(code[2:])
    if code[0] == "{":
        return "map[string]" + _go_type(code[2:])
    return {
        "s": "string", "i": "int32", "l": "int64", "b": "bool", "n": "float64", "y": "[]uint8",
        "q": "resource.Quantity", "x": "intstr.IntOrString", "t": "v1.Time", "u": "v1.MicroTime",
    }.get(code, "interface {}")  # fmt: skip


def _mismatch(value: Json, path: str, go_type: str, owner: str, *, literal: bool = False) -> _Mismatch:
    """Word a type error as encoding/json does; indices are not part of its path."""
    match value:
        case bool():
            got = "bool"
        case int() | float():
            got = f"number {value!r}" if literal else "number"
        case str():
            got = "string"
        case list():
            got = "array"
        case _:
            got = "object"
    if not path:
        return _Mismatch(f"json: cannot unmarshal {got} into Go value of type {go_type}")
    bare = "".join(part.split("]")[-1] for part in path.split("["))
    return _Mismatch(f"json: cannot unmarshal {got} into Go struct field {owner}.{bare} of type {go_type}")
