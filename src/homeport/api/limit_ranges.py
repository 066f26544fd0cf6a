"""What LimitRanges do to pods and claims: defaults for containers, then minimum, maximum and ratio.

Source: api-machinery 21.4.
"""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api.pod_resources import AmountsByName, parse_amounts, pod_amounts
from homeport.api.quantity import NANO, Quantity, parse_quantity

__all__ = ["ANNOTATION", "claim_violations", "pod_violations", "set_defaults"]

Tree = dict[str, Any]

ANNOTATION: Final = "kubernetes.io/limit-ranger"


def set_defaults(pod: Tree, limit_range: Mapping[str, Any]) -> None:
    """Give a pod's containers the requests and limits they do not state, and note that in an annotation; in place."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for limit in _limits(limit_range, "Container"):
        requests |= limit.get("defaultRequest") or {}
        limits |= limit.get("default") or {}
    notes: list[str] = []
    for group, kind in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(group) or ():
            resources = container.setdefault("resources", {})
            for field, word, defaults in (("requests", "request", requests), ("limits", "limit", limits)):
                stated = resources.get(field) or {}
                added = sorted(name for name in defaults if name not in stated)
                if added:
                    resources[field] = {**stated, **{name: defaults[name] for name in added}}
                    notes.append(f"{', '.join(added)} {word} for {kind} {container.get('name', '')}")
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = f"LimitRanger plugin set: {'; '.join(notes)}"


def pod_violations(pod: Mapping[str, Any], limit_range: Mapping[str, Any]) -> list[str]:
    """Return what a pod breaks of a LimitRange, each once."""
    spec, found = pod["spec"], []
    for limit in limit_range["spec"].get("limits") or ():
        match limit.get("type"):
            case "Container":
                for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
                    resources = container.get("resources") or {}
                    amounts = (parse_amounts(resources.get(field)) for field in ("requests", "limits"))
                    found += _violations(limit, *amounts)
            case "Pod":
                found += _violations(limit, pod_amounts(spec, "requests"), pod_amounts(spec, "limits"))
    return list(dict.fromkeys(found))


def claim_violations(claim: Mapping[str, Any], limit_range: Mapping[str, Any]) -> list[str]:
    """Return what a claim breaks of a LimitRange, each once. Only requests count for claims."""
    found: list[str] = []
    requests = parse_amounts((claim["spec"].get("resources") or {}).get("requests"))
    for limit in _limits(limit_range, "PersistentVolumeClaim"):
        for name, least in _sorted(limit, "min"):
            found += _below("PersistentVolumeClaim", name, least, requests.get(name), None)
        for name, most in _sorted(limit, "max"):
            start = f"maximum {name} usage per PersistentVolumeClaim is {most}"
            asked = requests.get(name)
            if asked is None:
                found.append(f"{start}.  No request is specified")
            elif asked > most:
                found.append(f"{start}, but request is {asked}")
    return list(dict.fromkeys(found))


def _limits(limit_range: Mapping[str, Any], kind: str) -> list[Tree]:
    return [limit for limit in limit_range["spec"].get("limits") or () if limit.get("type") == kind]


def _sorted(limit: Tree, field: str) -> list[tuple[str, Quantity]]:
    return [(name, parse_quantity(text)) for name, text in sorted((limit.get(field) or {}).items())]


def _violations(limit: Tree, requests: AmountsByName, limits: AmountsByName) -> list[str]:
    kind, found = limit["type"], []
    for name, least in _sorted(limit, "min"):
        found += _below(kind, name, least, requests.get(name), limits.get(name))
    for name, most in _sorted(limit, "max"):
        found += _above(kind, name, most, requests.get(name), limits.get(name))
    for name, ratio in _sorted(limit, "maxLimitRequestRatio"):
        found += _too_far_apart(kind, name, ratio, requests.get(name), limits.get(name))
    return found


def _below(kind: str, name: str, least: Quantity, request: Quantity | None, limit: Quantity | None) -> list[str]:
    start = f"minimum {name} usage per {kind} is {least}"
    if request is None:
        return [f"{start}.  No request is specified"]
    if request < least:
        return [f"{start}, but request is {request}"]
    if limit is not None and limit < least:
        return [f"{start}, but limit is {limit}"]
    return []


def _above(kind: str, name: str, most: Quantity, request: Quantity | None, limit: Quantity | None) -> list[str]:
    start = f"maximum {name} usage per {kind} is {most}"
    if limit is None:
        return [f"{start}.  No limit is specified"]
    if limit > most:
        return [f"{start}, but limit is {limit}"]
    if request is not None and request > most:
        return [f"{start}, but request is {request}"]
    return []


def _too_far_apart(
    kind: str, name: str, ratio: Quantity, request: Quantity | None, limit: Quantity | None
) -> list[str]:
    start = f"{name} max limit to request ratio per {kind} is {ratio}"
    if not request:
        return [f"{start}, but no request is specified or request is 0"]
    if not limit:
        return [f"{start}, but no limit is specified or limit is 0"]
    if limit.nanos * NANO > ratio.nanos * request.nanos:
        return [f"{start}, but provided ratio is {limit.nanos / request.nanos:f}"]
    return []
