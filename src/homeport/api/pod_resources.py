"""How much of each resource a pod asks for.

Source: node 3.2 and 16.5 of the specification.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from homeport.api.quantity import Quantity, parse_quantity

__all__ = ["AmountsByName", "amounts", "parse_amounts", "pod_amounts", "pod_requests"]

AmountsByName = dict[str, Quantity]


def amounts(resources: Mapping[str, Any] | None) -> dict[str, int]:
    """Return quantities as whole numbers: `cpu` in thousandths, all else in units, rounded up."""
    parsed = {name: parse_quantity(str(text)) for name, text in (resources or {}).items()}
    return {name: quantity.milli if name == "cpu" else quantity.value for name, quantity in parsed.items()}


def pod_requests(spec: Mapping[str, Any], defaults: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return what a pod needs at its hungriest moment, overhead included.

    Init containers run one after the other, each beside the sidecars started before it; pod-level requests replace
    those of the containers. `defaults` stand in for what a container does not say.
    """
    regular = _sum(_container(c, defaults) for c in spec.get("containers") or ())
    if not spec.keys() & _RARE:
        return regular
    sidecars: dict[str, int] = {}
    peaks: list[dict[str, int]] = []
    for container in spec.get("initContainers") or ():
        wanted = _container(container, defaults)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, wanted))
        else:
            peaks.append(_sum((sidecars, wanted)))
    total = _sum((regular, sidecars))
    for peak in peaks:
        total |= {name: max(amount, total.get(name, 0)) for name, amount in peak.items()}
    total |= amounts((spec.get("resources") or {}).get("requests"))
    return _sum((total, amounts(spec.get("overhead"))))


_RARE: Final = frozenset({"initContainers", "resources", "overhead"})


def parse_amounts(resources: Mapping[str, Any] | None) -> AmountsByName:
    """Return quantities exactly, in the notation they were written in."""
    return {name: parse_quantity(str(text)) for name, text in (resources or {}).items()}


def pod_amounts(spec: Mapping[str, Any], field: str) -> AmountsByName:
    """Return a pod's `requests` or `limits` at its hungriest moment, exactly and without overhead.

    A pod states a limit where one of its containers does.
    """

    def of(container: Mapping[str, Any]) -> AmountsByName:
        return parse_amounts((container.get("resources") or {}).get(field))

    total: AmountsByName = {}
    for container in spec.get("containers") or ():
        _add(total, of(container))
    sidecars: AmountsByName = {}
    peak: AmountsByName = {}
    for container in spec.get("initContainers") or ():
        wanted = of(container)
        if container.get("restartPolicy") == "Always":
            _add(total, wanted)
            _add(sidecars, wanted)
            moment = sidecars
        else:
            moment = dict(wanted)
            _add(moment, sidecars)
        peak |= {name: max(amount, peak.get(name, amount)) for name, amount in moment.items()}
    total |= {name: max(amount, total.get(name, amount)) for name, amount in peak.items()}
    return total | parse_amounts((spec.get("resources") or {}).get(field))


def _add(total: AmountsByName, more: AmountsByName) -> None:
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def _container(container: Mapping[str, Any], defaults: Mapping[str, int] | None) -> Mapping[str, int]:
    if not container.get("resources"):
        return defaults or {}
    return {**(defaults or {}), **amounts((container.get("resources") or {}).get("requests"))}


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total
