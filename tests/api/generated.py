"""Bodies made from the schema facts: every field may be there, wrong values among the right ones."""

from typing import Any

from hypothesis import strategies as some

from homeport.api import schema

__all__ = ["bodies", "json_values"]

WORDS = (
    "",
    "a",
    "web-0",
    "Always",
    "IPv4",
    "ClusterIP",
    "None",
    "TCP",
    "10.96.0.9",
    "a.b/c",
    "Bad Name",
    "25%",
    "In",
    "x" * 70,
)

json_values: some.SearchStrategy[Any] = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)

_SCALARS: dict[str, some.SearchStrategy[Any]] = {
    "s": some.sampled_from(WORDS) | some.text(max_size=4),
    "i": some.sampled_from([-1, 0, 1, 2, 80, 70000]),
    "l": some.sampled_from([-1, 0, 1, 600, 2**40]),
    "b": some.booleans(),
    "n": some.floats(allow_nan=False, allow_infinity=False),
    "q": some.sampled_from(["-1", "0", "1", "100m", "0.5", "1Gi", "1500m", 3]),
    "x": some.sampled_from([0, 80, "http", "25%", "150%"]),
    "t": some.just("2026-01-01T00:00:00Z"),
    "u": some.just("2026-01-01T00:00:00.5Z"),
    "y": some.just("YQ=="),
    "r": json_values,
    "f": some.just({}),
}


def bodies(type_name: str, depth: int = 4) -> some.SearchStrategy[dict[str, Any]]:
    """Return objects of a type, nested at most `depth` deep; any field may be missing or null."""
    fields = schema.struct(type_name).fields.values()
    optional = {f.name: some.deferred(lambda f=f: _values(f.type, depth)) for f in fields}  # type: ignore[misc]
    return some.fixed_dictionaries({}, optional=optional)


def _values(code: str, depth: int) -> some.SearchStrategy[Any]:
    if code[0] == "[":
        return some.none() | some.lists(_values(code[2:], depth), max_size=2)
    if code[0] == "{":
        return some.none() | some.dictionaries(some.sampled_from(WORDS), _values(code[2:], depth), max_size=2)
    if code[0] == "@":
        return some.none() | bodies(code[1:], depth - 1) if depth else some.none() | some.just({})
    return some.none() | _SCALARS[code[0]]
