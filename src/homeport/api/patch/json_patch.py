"""JSON patch (RFC 6902), with the server's limits and errors.

A patch that is no list of operations is a BadRequest; one that cannot be carried out is answered 422 without a word
about why, as upstream does. Pointers follow RFC 6901; indices may count from the end, as `-1`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from homeport.api.patch.golang import go_kind
from homeport.errors import BadRequest, Details, Invalid, RequestTooLarge

__all__ = ["COPY_LIMIT_BYTES", "OPERATION_LIMIT", "apply_json_patch"]

OPERATION_LIMIT: Final = 10_000
COPY_LIMIT_BYTES: Final = 3 * 1024 * 1024

_ABSENT: Final = object()
_INDEX: Final = re.compile(r"-?(0|[1-9][0-9]*)\Z")


def apply_json_patch(tree: Any, patch: Any) -> Any:
    """Return the tree with all operations done in order, or raise.

    Raises BadRequest (no list of objects), RequestTooLarge (more than 10,000 operations), Invalid (cannot be done).
    """
    if not isinstance(patch, list):
        raise BadRequest(f"json: cannot unmarshal {go_kind(patch)} into Go value of type jsonpatch.Patch")
    if len(patch) > OPERATION_LIMIT:
        raise RequestTooLarge(
            f"Request entity too large: The allowed maximum operations in a JSON patch is {OPERATION_LIMIT},"
            f" got {len(patch)}"
        )
    copied = 0
    for operation in patch:
        if not isinstance(operation, Mapping):
            raise BadRequest(f"json: cannot unmarshal {go_kind(operation)} into Go value of type jsonpatch.Operation")
        name, path = operation.get("op"), _pointer(operation.get("path"))
        if name == "test":
            found = _get(tree, path)
            if not _equal(None if found is _ABSENT else found, operation.get("value")):
                _refuse()
        elif name == "remove":
            tree = _remove(tree, path)
        elif name in ("add", "replace"):
            if "value" not in operation:
                _refuse()
            tree = _add(tree, path, operation["value"]) if name == "add" else _replace(tree, path, operation["value"])
        elif name in ("move", "copy"):
            source = _pointer(operation.get("from"))
            value = _get(tree, source)
            if value is _ABSENT:
                _refuse()
            if name == "move":
                if path[: len(source)] == source and path != source:
                    _refuse()  # into itself
                tree = _remove(tree, source)
            else:
                copied += len(msgspec.json.encode(value))  # shared here, and not on the wire
                if copied > COPY_LIMIT_BYTES:
                    _refuse()
            tree = _add(tree, path, value)
        else:
            _refuse()
    return tree


def _refuse() -> NoReturn:
    raise Invalid("the server rejected our request due to an error in our request", Details())


def _pointer(text: Any) -> tuple[str, ...]:
    if text == "":
        return ()
    if not isinstance(text, str) or not text.startswith("/"):
        _refuse()
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def _index(items: list[Any], part: str, end: int) -> int:
    """Return the position a pointer's part names, below `end`."""
    if not _INDEX.match(part):
        _refuse()
    number = int(part)
    if number < 0:
        number += end
    if not 0 <= number < end:
        _refuse()
    return number


def _child(tree: Any, part: str) -> Any:
    if isinstance(tree, dict):
        return tree.get(part, _ABSENT)
    if isinstance(tree, list) and _INDEX.match(part):
        number = int(part)
        return tree[number] if -len(tree) <= number < len(tree) else _ABSENT
    return _ABSENT


def _get(tree: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        tree = _child(tree, part)
        if tree is _ABSENT:
            return _ABSENT
    return tree


def _within(tree: Any, part: str, child: Any) -> Any:
    """Return a container like `tree` with one existing child exchanged."""
    if isinstance(tree, dict):
        return {**tree, part: child}
    items = list(tree)
    items[int(part)] = child
    return items


def _add(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    part = path[0]
    if len(path) > 1:
        child = _child(tree, part)
        if child is _ABSENT:
            _refuse()
        return _within(tree, part, _add(child, path[1:], value))
    if isinstance(tree, dict):
        return {**tree, part: value}
    if not isinstance(tree, list):
        _refuse()
    at = len(tree) if part == "-" else _index(tree, part, len(tree) + 1)
    return [*tree[:at], value, *tree[at:]]


def _replace(tree: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    if len(path) == 1 and isinstance(tree, dict):
        return {**tree, path[0]: value}  # an absent key is added: upstream's leniency
    child = _child(tree, path[0])
    if child is _ABSENT:
        _refuse()
    return _within(tree, path[0], _replace(child, path[1:], value))


def _remove(tree: Any, path: tuple[str, ...]) -> Any:
    if not path:
        _refuse()
    part = path[0]
    child = _child(tree, part)
    if child is _ABSENT:
        _refuse()
    if len(path) > 1:
        return _within(tree, part, _remove(child, path[1:]))
    if isinstance(tree, dict):
        return {key: item for key, item in tree.items() if key != part}
    at = _index(tree, part, len(tree))
    return [*tree[:at], *tree[at + 1 :]]


def _equal(one: Any, other: Any) -> bool:
    """JSON equality: unlike Python's, true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)
