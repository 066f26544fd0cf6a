"""Values as Go prints them: the server's messages about patches carry them, and clients match on those."""

from typing import Any

__all__ = ["go_kind", "go_text"]


def go_text(value: Any) -> str:
    """Return a decoded JSON value in `%v` form: `map[a:1 b:[x y]]`, keys sorted."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def go_kind(value: Any) -> str:
    """Return the JSON type of a value, in the decoder's words."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"
