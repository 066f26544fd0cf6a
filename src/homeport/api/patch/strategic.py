"""Strategic merge patch: a merge patch that knows which lists are sets of named things.

The order of a merged list, the directives and the error texts are apimachinery's `strategicpatch`, followed step by
step (`api-machinery` 11.7), without its habit of changing what it is given.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from homeport.api.patch.golang import go_kind, go_text
from homeport.api.patch.merge_facts import MergeFacts
from homeport.errors import ApiError, BadRequest, Invalid

__all__ = ["apply_strategic_patch"]

Tree = dict[str, Any]

_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"
_DIRECTIVES: Final = (_DIRECTIVE, _RETAIN, _DELETE_FROM, _ORDER)


class _Unexplained(ApiError):
    """A failure upstream reports as a plain 500 with its text and no reason."""


def apply_strategic_patch(tree: Tree, patch: Any, facts: MergeFacts) -> Tree:
    """Return the merged tree.

    facts  of the kind patched (`merge_facts`).
    Raises BadRequest for malformed patches and directives, Invalid for lists of lists, and an ApiError without reason
    (HTTP 500) for everything else, as upstream.
    """
    if patch is None:
        return tree
    if not isinstance(patch, dict):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {go_kind(patch)} into Go value of type"
            " map[string]interface {}"
        )
    return _merge_map(tree, patch, facts)


def _merge_map(original: Tree, patch: Tree, facts: MergeFacts) -> Tree:
    if patch.get(_DIRECTIVE, "merge") != "merge":
        return _whole_map(patch)
    merged = _retain(original, patch) if _RETAIN in patch else dict(original)
    ordered = {key.removeprefix(_ORDER): order for key, order in patch.items() if key.startswith(_ORDER)}
    for name, order in ordered.items():
        _merge_ordered(merged, patch, name, order, facts)
    for key, value in patch.items():
        if key in (_RETAIN, _DIRECTIVE) or key.startswith(_ORDER) or (key in ordered and isinstance(value, list)):
            continue
        if key.startswith(_DELETE_FROM):
            _delete_from(merged, key.removeprefix(_DELETE_FROM), value)
        elif value is None:
            merged.pop(key, None)
        else:
            current = merged.get(key)
            rule = facts.rule(key)
            if isinstance(current, dict) and isinstance(value, dict):
                merged[key] = value if rule.replace else _merge_map(current, value, rule.below)
            elif isinstance(current, list) and isinstance(value, list) and rule.merge:
                merged[key] = _merge_list(current, value, rule.below, rule.key)
            else:
                merged[key] = _plain(value)
    return merged


def _whole_map(patch: Tree) -> Tree:
    directive = patch[_DIRECTIVE]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    raise _Unexplained(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")


def _retain(original: Tree, patch: Tree) -> Tree:
    """Return the original without the keys that `$retainKeys` does not name."""
    retained = patch[_RETAIN]
    if not isinstance(retained, list):
        raise BadRequest("invalid patch format of retainKeys")
    for key, value in patch.items():
        directive = key == _RETAIN or key.startswith((_DELETE_FROM, _ORDER))
        if value is not None and not directive and key not in retained:
            raise BadRequest("invalid patch format of retainKeys")
    return {key: value for key, value in original.items() if key in retained}


def _delete_from(merged: Tree, name: str, doomed: Any) -> None:
    if not isinstance(doomed, list):
        raise BadRequest("invalid patch format of primitive list")
    current = merged.get(name)
    if isinstance(current, list):
        merged[name] = [item for item in current if item not in doomed]


def _merge_ordered(merged: Tree, patch: Tree, name: str, order: Any, facts: MergeFacts) -> None:
    """Merge a list whose patch says in which order its elements end up."""
    if not isinstance(order, list):
        raise BadRequest("invalid patch format of setElementOrder list")
    rule = facts.rule(name)
    current, changes = merged.get(name), patch.get(name)
    if changes is not None and not isinstance(changes, list):
        raise BadRequest("invalid patch format of setElementOrder list")
    if changes:
        _check_order(changes, order, rule.key)
    if current is None and changes is None:
        return
    if not isinstance(current, list):
        contents = _plain(changes)
    elif changes is None:
        contents = current
    elif rule.merge:
        contents = _merge_list(current, changes, rule.below, rule.key)
    else:
        contents = changes
    merged[name] = _in_order(contents, order, current if isinstance(current, list) else [], rule.key)


def _check_order(changes: list[Any], order: list[Any], key: str) -> None:
    """Refuse a patch list whose elements do not come in the order the directive states."""
    identity = _identity(key)
    kept = (
        [item for item in changes if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "delete")]
        if key
        else changes
    )
    rest = iter([identity(item) for item in order])
    if all(identity(item) in rest for item in kept):
        return
    raise _Unexplained(
        f"The order in patch list:\n{go_text(changes)}\n doesn't match $setElementOrder list:\n{go_text(order)}\n"
    )


def _merge_list(original: list[Any], patch: list[Any], facts: MergeFacts, key: str) -> list[Any]:
    if not original and not patch:
        return original
    if _element_type(original, patch) is not dict:
        merged = list(dict.fromkeys([*original, *patch]))
        return _in_order(merged, patch, original, "")
    if not key:
        raise _Unexplained(f"cannot merge lists without merge key for {facts.go_name}")
    original, patch = _special_elements(original, patch, key)
    merged = list(original)
    keys = [_key_value(item, key) for item in merged]
    before = _positions(keys)
    places, named = dict(before), [_key_value(item, key) for item in patch]
    for value, item in zip(named, patch, strict=True):
        if value in places:
            merged[places[value]] = _merge_map(merged[places[value]], item, facts)
        else:
            places[value] = len(merged)
            merged.append(_plain(item))
            keys.append(_key_value(merged[-1], key))  # a null key has gone
    return _arranged(merged, keys, _positions(named), before)


def _special_elements(original: list[Tree], patch: list[Tree], key: str) -> tuple[list[Tree], list[Tree]]:
    """Carry out the elements that are directives; return both lists without them."""
    ordinary: list[Tree] = []
    replace = False
    for item in patch:
        if _DIRECTIVE not in item:
            ordinary.append(item)
            continue
        match item[_DIRECTIVE]:
            case "delete":
                doomed = _key_value(item, key)
                original = [other for other in original if _key_value(other, key) != doomed]
            case "replace":
                replace = True
            case "merge":
                raise _Unexplained("merging lists cannot yet be specified in the patch")
            case directive:
                raise _Unexplained(f"unknown patch type: {go_text(directive)} in map: {go_text(item)}")
    return ([_plain(item) for item in ordinary], []) if replace else (original, ordinary)


def _in_order(merged: list[Any], order: list[Any], server_order: list[Any], key: str) -> list[Any]:
    """Return elements in order: named ones as `order` says, the others as they were; each other one stays in front of
    the named one it was in front of, as far as that can be."""
    identity = _identity(key)
    wanted, before = (_positions([identity(item) for item in items]) for items in (order, server_order))
    return _arranged(merged, [identity(item) for item in merged], wanted, before)


def _arranged(merged: list[Any], keys: list[Any], wanted: dict[Any, int], before: dict[Any, int]) -> list[Any]:
    """Do as `_in_order` says; `keys` are those of the elements, the others where each stands in either order."""
    named: list[tuple[Any, Any]] = []
    others: list[tuple[Any, Any]] = []
    for place, item in zip(keys, merged, strict=True):
        (named if place in wanted else others).append((place, item))
    named.sort(key=lambda one: wanted[one[0]])
    others.sort(key=lambda one: before.get(one[0], len(before)))
    result: list[Any] = []
    left = right = 0
    while left < len(others) and right < len(named):
        mine, theirs = before.get(others[left][0]), before.get(named[right][0])
        if mine is not None and theirs is not None and mine < theirs:
            result.append(others[left][1])
            left += 1
        else:
            result.append(named[right][1])
            right += 1
    return [*result, *(item for _, item in others[left:]), *(item for _, item in named[right:])]


def _positions(keys: Sequence[Any]) -> dict[Any, int]:
    """Return where each key comes first."""
    places: dict[Any, int] = {}
    for at, value in enumerate(keys):
        places.setdefault(value, at)
    return places


def _identity(key: str) -> Callable[[Any], Any]:
    if not key:
        return lambda item: go_text(item) if isinstance(item, (dict, list)) else item
    return lambda item: _key_value(item, key)


def _key_value(item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise _Unexplained(f"map: {go_text(item)} does not contain declared merge key: {key}")
    value = item[key]
    return go_text(value) if isinstance(value, (dict, list)) else value


def _element_type(original: list[Any], patch: list[Any]) -> type:
    kinds = {type(item) for item in (*original, *patch)}
    if list in kinds:
        raise Invalid("lists of lists are not supported")
    if len(kinds) > 1 and dict in kinds:
        raise _Unexplained(f"list element types are not identical: {go_text(patch)}")
    return kinds.pop()


def _plain(value: Any) -> Any:
    """Return what is new without nulls and directives: there is nothing they could act on."""
    if isinstance(value, dict):
        if value.get(_DIRECTIVE) == "delete":
            return {}
        return {
            key: item if type(item) in _SCALARS else _plain(item)
            for key, item in value.items()
            if item is not None and not (key[:1] == "$" and key.startswith(_DIRECTIVES))
        }
    if isinstance(value, list):
        lists = [item for item in value if not (isinstance(item, dict) and _DIRECTIVE in item)]
        return [_plain(item) for item in lists]
    return value


_SCALARS: Final = frozenset({str, bool, int, float})
