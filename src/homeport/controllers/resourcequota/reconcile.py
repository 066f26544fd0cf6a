"""What a quota's status must say, given what there is. Nothing here touches anything. Source: api-machinery 21.5."""

from collections.abc import Iterable, Mapping
from typing import Any

from homeport.api import quotas
from homeport.api.quantity import Quantity
from homeport.api.resources import Resource

__all__ = ["status_of"]

Tree = Mapping[str, Any]


def status_of(quota: Tree, objects: Iterable[tuple[Resource, Iterable[Tree]]], now: float) -> dict[str, Any]:
    """Return the whole `status` of a quota.

    objects  every kind the quota can count, with the objects of its namespace. What belongs to no kind here stays as it
             was told before, or unknown.
    """
    hard = quotas.parse(quota["spec"].get("hard"))
    used = quotas.parse((quota.get("status") or {}).get("used"))
    for resource, items in objects:
        names = quotas.counts(resource, hard)
        counted = {name: Quantity(0) for name in names}
        for item in items:
            if not quotas.reads(quota, resource, item):
                continue
            spent = quotas.usage(resource, item, now)
            for name in names:
                if name in spent:
                    counted[name] += spent[name]
        used |= counted
    return {
        "hard": quotas.encode(hard),
        "used": quotas.encode({name: amount for name, amount in used.items() if name in hard}),
    }
