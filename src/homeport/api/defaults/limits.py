"""Defaults of LimitRanges (api-machinery 21.4)."""

from typing import Any

__all__ = ["limit_range"]


def limit_range(tree: dict[str, Any]) -> None:
    """For containers: a default limit is the maximum, a default request the default limit, else the minimum."""
    for limit in tree["spec"].get("limits") or ():
        if limit.get("type") != "Container":
            continue
        limits = {**limit.get("max", {}), **limit.get("default", {})}
        requests = {**limit.get("min", {}), **limits, **limit.get("defaultRequest", {})}
        for field, amounts in (("default", limits), ("defaultRequest", requests)):
            if amounts:
                limit[field] = amounts
