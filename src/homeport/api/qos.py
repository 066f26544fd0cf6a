"""The quality-of-service class of a pod (node 1.6)."""

from decimal import Decimal
from typing import Any, Final

from homeport.api.scalars import quantity_value

__all__ = ["qos_class"]

_COUNTED: Final = ("cpu", "memory")


def qos_class(spec: dict[str, Any]) -> str:
    """Return `BestEffort`, `Burstable` or `Guaranteed` for a defaulted pod spec.

    Positive cpu and memory of regular and init containers count; pod-level resources stand in their place when given.
    """
    pod_level = spec.get("resources") or {}
    if pod_level.get("requests") or pod_level.get("limits"):
        return _classify([pod_level])
    return _classify(
        [c.get("resources") or {} for group in ("initContainers", "containers") for c in spec.get(group) or ()]
    )


def _classify(parts: list[dict[str, Any]]) -> str:
    requests: dict[str, Decimal] = {}
    limits: dict[str, Decimal] = {}
    every_part_limited = True
    for part in parts:
        _add(requests, part.get("requests"))
        every_part_limited &= _add(limits, part.get("limits")) == len(_COUNTED)
    if not requests and not limits:
        return "BestEffort"
    if every_part_limited and requests == limits:
        return "Guaranteed"
    return "Burstable"


def _add(total: dict[str, Decimal], amounts: dict[str, str] | None) -> int:
    """Add the positive counted amounts; return how many there were."""
    found = 0
    for name in _COUNTED:
        if amounts and name in amounts and (value := quantity_value(amounts[name])) > 0:
            total[name] = total.get(name, Decimal(0)) + value
            found += 1
    return found
