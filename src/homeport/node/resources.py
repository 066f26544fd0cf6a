"""Requests and limits as the kernel counts them: shares, quota, bytes, OOM score. Source: `node` 11.1, 11.3, 3.2."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from homeport.api.scalars import quantity_value
from homeport.node.pod import ContainerDef, Pod
from homeport.node.runtime.contract import Limits

__all__ = ["container_limits", "resource_field"]


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING))


def _wanted(tree: Mapping[str, Any], side: str, name: str) -> Decimal:
    resources = tree.get("resources") or {}
    value = (resources.get(side) or {}).get(name)
    if value is None and side == "requests":
        value = (resources.get("limits") or {}).get(name)
    return quantity_value(str(value)) if value is not None else Decimal(0)


def container_limits(pod: Pod, container: ContainerDef, node_memory_bytes: int) -> Limits:
    """Return what the container's cgroup is given."""
    millicores = _ceil(_wanted(container.tree, "requests", "cpu") * 1000)
    quota = _ceil(_wanted(container.tree, "limits", "cpu") * 1000)
    return Limits(
        cpu_shares=min(262144, max(2, millicores * 1024 // 1000)),
        cpu_quota_microseconds=max(1000, quota * 100) if quota else 0,
        memory_bytes=_ceil(_wanted(container.tree, "limits", "memory")),
        oom_score_adjust=_oom_score(pod, container, node_memory_bytes),
    )


def _oom_score(pod: Pod, container: ContainerDef, node_memory_bytes: int) -> int:
    quality = pod.status.get("qosClass") or "BestEffort"
    if quality == "Guaranteed" or (pod.spec.get("priority") or 0) >= 2_000_001_000:
        return -997
    if quality == "BestEffort":
        return 1000
    wanted = _wanted(container.tree, "requests", "memory")
    score = int(1000 - 1000 * wanted / max(1, node_memory_bytes))
    return min(999, max(3, score))


def resource_field(
    container: ContainerDef, resource: str, divisor: str | int | None, allocatable: Mapping[str, str]
) -> str:
    """Return the text of a `resourceFieldRef`: the value divided by `divisor` (0 or none: 1), rounded up.

    An unset limit is the node's allocatable amount, except for huge pages; an unset request is zero.
    """
    side, _, name = resource.partition(".")
    value = ((container.tree.get("resources") or {}).get(side) or {}).get(name)
    if value is None and side == "limits" and not name.startswith("hugepages-"):
        value = allocatable.get(name)
    amount = quantity_value(str(value)) if value is not None else Decimal(0)
    unit = quantity_value(str(divisor)) if divisor else Decimal(0)
    return str(_ceil(amount / (unit or Decimal(1))))
