"""JSON merge patch (RFC 7386): null deletes, objects merge, everything else replaces.

As upstream, nulls inside what is new are dropped, below lists too.
"""

from typing import Any

from homeport.api.patch.golang import go_kind
from homeport.errors import BadRequest

__all__ = ["apply_merge_patch"]


def apply_merge_patch(tree: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return the merged tree. Raises BadRequest when the patch is no object."""
    if patch is None:
        return tree
    if not isinstance(patch, dict):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {go_kind(patch)} into Go value of type"
            " map[string]interface {}"
        )
    return _merge(tree, patch)


def _merge(tree: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in patch.items():
        current = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(current, dict) and isinstance(value, dict):
            merged[key] = _merge(current, value)
        else:
            merged[key] = _without_nulls(value)
    return merged


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
