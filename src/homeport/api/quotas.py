"""What objects count for in a namespace's ResourceQuotas: pure rules, asked by the server and by the quota controller.

Source: api-machinery 21.5.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.pod_resources import AmountsByName, pod_amounts
from homeport.api.qos import qos_class
from homeport.api.quantity import Quantity, parse_quantity
from homeport.api.resources import Resource
from homeport.clock import parse_time

__all__ = [
    "Usage",
    "changes_usage",
    "charge",
    "counted_kinds",
    "counts",
    "encode",
    "is_resize",
    "parse",
    "reads",
    "refusal",
    "usage",
]

Tree = Mapping[str, Any]
Usage = dict[str, Quantity]
"""Amounts by the name a quota gives them, such as `requests.cpu`."""

ONE: Final = Quantity.of(1)
_COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
_ALWAYS_STATED: Final = ("cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory")
_LEGACY_COUNTS: Final = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
_CLASS: Final = ".storageclass.storage.k8s.io/"
_UNCOUNTED: Final = frozenset({"events", "bindings"})


def parse(amounts: Tree | None) -> Usage:
    return {name: parse_quantity(str(text)) for name, text in (amounts or {}).items()}


def encode(amounts: Usage) -> dict[str, str]:
    return {name: str(amounts[name]) for name in sorted(amounts)}


def usage(resource: Resource, tree: Tree, now: float) -> Usage:
    """Return what an object uses up. A pod that has ended counts as an object only."""
    plural = resource.plural
    if plural in _UNCOUNTED:
        return {}
    used: Usage = {_count_name(resource): ONE}
    if resource.group:
        return used
    match plural:
        case "pods":
            if _alive(tree, now):
                used |= _pod_usage(tree)
        case "services":
            used |= _service_usage(tree["spec"])
        case "persistentvolumeclaims":
            used |= _claim_usage(tree["spec"])
        case _ if plural in _LEGACY_COUNTS:
            used[plural] = ONE
    return used


def counts(resource: Resource, hard: Iterable[str]) -> list[str]:
    """Return the names of a quota that objects of a kind may use up."""
    plural, own = resource.plural, {_count_name(resource)}
    if resource.group:
        return [name for name in hard if name in own]
    match plural:
        case "pods":
            own |= {"pods", *_COMPUTE, *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE)}
            prefixes = ("hugepages-", "requests.hugepages-")
            return [n for n in hard if n in own or n.startswith(prefixes) or (n.startswith("requests.") and "/" in n)]
        case "services":
            own |= {"services", "services.nodeports", "services.loadbalancers"}
        case "persistentvolumeclaims":
            own |= {"persistentvolumeclaims", "requests.storage"}
            ends = tuple(_CLASS + name for name in ("persistentvolumeclaims", "requests.storage"))
            return [name for name in hard if name in own or name.endswith(ends)]
        case _ if plural in _LEGACY_COUNTS:
            own.add(plural)
    return [name for name in hard if name in own]


def counted_kinds(resources: Iterable[Resource], hard: Iterable[str]) -> list[Resource]:
    """Return the kinds whose objects a quota has to look at."""
    names = list(hard)
    return [resource for resource in resources if resource.namespaced and counts(resource, names)]


def reads(quota: Tree, resource: Resource, tree: Tree) -> bool:
    """Whether an object falls under a quota's scopes; without any, all do."""
    return all(_in_scope(each, resource, tree) for each in _scopes(quota["spec"]))


def charge(resource: Resource, new: Tree, old: Tree | None, now: float) -> Usage:
    """Return what a write adds to what is used: the difference for an update. Less is given back by recounting."""
    wanted = usage(resource, new, now)
    if old is None:
        return {name: amount for name, amount in wanted.items() if amount}
    had = usage(resource, old, now)
    shrinks = resource.plural == "pods"
    added = {name: wanted.get(name, Quantity(0)) - had.get(name, Quantity(0)) for name in {*wanted, *had}}
    return {name: amount for name, amount in added.items() if amount and (shrinks or amount > Quantity(0))}


def changes_usage(new: Tree, old: Tree) -> bool:
    """Whether an update of a pod asks for other resources, or moves it between the scopes of deadlines."""
    return is_resize(new, old) or _has_deadline(new["spec"]) != _has_deadline(old["spec"])


def is_resize(new: Tree, old: Tree) -> bool:
    """Whether an update of a pod asks for other resources."""
    return any(_resources(new["spec"], group) != _resources(old["spec"], group) for group in _CONTAINERS) or (
        new["spec"].get("resources") != old["spec"].get("resources")
    )


def _resources(spec: Tree, group: str) -> list[object]:
    return [each.get("resources") for each in spec.get(group) or ()]


def refusal(quota: Tree, resource: Resource, tree: Tree, added: Usage | None) -> str:
    """Return why a quota does not let an object pass, "" when it does.

    added  what it would add; None to ask only what must be known beforehand
    """
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    hard, used = parse(status.get("hard")), parse(status.get("used"))
    restricted = sorted(counts(resource, hard))
    if resource.plural == "pods" and not resource.group and (missing := _unstated(tree["spec"], restricted)):
        return f"failed quota: {name}: must specify {missing}"
    if any(each not in used for each in restricted):
        return f"status unknown for quota: {name}, resources: {','.join(restricted)}"
    requested = {each: amount for each, amount in (added or {}).items() if each in hard}
    over = sorted(each for each, amount in requested.items() if used.get(each, Quantity(0)) + amount > hard[each])
    if not over:
        return ""
    texts = [
        ",".join(f"{each}={amounts.get(each, Quantity(0))}" for each in over) for amounts in (requested, used, hard)
    ]
    return f"exceeded quota: {name}, requested: {texts[0]}, used: {texts[1]}, limited: {texts[2]}"


def _count_name(resource: Resource) -> str:
    return f"count/{resource.group_resource}"


# Pods


def _alive(pod: Tree, now: float) -> bool:
    if pod_rules.is_terminal(pod):
        return False
    metadata = pod["metadata"]
    told, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    return not (told and grace is not None and now > parse_time(told) + grace)


def _pod_usage(pod: Tree) -> Usage:
    requests, limits = pod_amounts(pod["spec"], "requests"), pod_amounts(pod["spec"], "limits")
    return {"pods": ONE, **_compute(requests, limits)}


def _compute(requests: AmountsByName, limits: AmountsByName) -> Usage:
    found: Usage = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            found |= {name: amount, f"requests.{name}": amount}
        elif "/" in name:
            found[f"requests.{name}"] = amount
    return found | {f"limits.{name}": amount for name, amount in limits.items() if name in _COMPUTE}


def _unstated(spec: Tree, restricted: Sequence[str]) -> str:
    """Return what containers must say because a quota counts it: `limits.cpu for: a,b; memory for: a`."""
    level = spec.get("resources") or {}
    if level.get("requests") or level.get("limits"):
        return ""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    texts = []
    for name in (each for each in _ALWAYS_STATED if each in restricted):
        kind, _, plain = name.rpartition(".")
        silent = {
            c["name"] for c in containers if plain not in ((c.get("resources") or {}).get(kind or "requests") or {})
        }
        if silent:
            texts.append(f"{name} for: {','.join(sorted(silent))}")
    return "; ".join(texts)


# Services and claims


def _service_usage(spec: Tree) -> Usage:
    ports: Sequence[Tree] = spec.get("ports") or ()
    balanced = spec.get("type") == "LoadBalancer"
    if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
        taken = sum(1 for port in ports if port.get("nodePort"))
    else:
        taken = len(ports) if balanced or spec.get("type") == "NodePort" else 0
    return {
        "services": ONE,
        "services.loadbalancers": Quantity.of(int(balanced)),
        "services.nodeports": Quantity.of(taken),
    }


def _claim_usage(spec: Tree) -> Usage:
    used: Usage = {"persistentvolumeclaims": ONE}
    if (asked := ((spec.get("resources") or {}).get("requests") or {}).get("storage")) is not None:
        used["requests.storage"] = parse_quantity(str(asked))
    storage_class = spec.get("storageClassName")
    return used | ({f"{storage_class}{_CLASS}{name}": amount for name, amount in used.items()} if storage_class else {})


# Scopes


def _scopes(spec: Tree) -> list[Tree]:
    plain = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    return [*plain, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]


def _in_scope(scope: Tree, resource: Resource, tree: Tree) -> bool:
    name = scope.get("scopeName", "")
    if resource.group_resource == "persistentvolumeclaims" and name == "VolumeAttributesClass":
        return _selected(scope, tree["spec"].get("volumeAttributesClassName") or "")
    if resource.group_resource != "pods" or name not in _POD_SCOPES:
        return False
    if name == "PriorityClass":
        return _selected(scope, tree["spec"].get("priorityClassName") or "")
    return _POD_SCOPES[name](tree["spec"])


def _selected(scope: Tree, value: str) -> bool:
    match scope.get("operator"):
        case "In":
            return value in (scope.get("values") or ())
        case "NotIn":
            return value not in (scope.get("values") or ())
        case "DoesNotExist":
            return not value
        case _:
            return bool(value)


def _crosses_namespaces(spec: Tree) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        plain = list(terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        weighted = terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        plain += [each.get("podAffinityTerm") or {} for each in weighted]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in plain):
            return True
    return False


def _has_deadline(spec: Tree) -> bool:
    deadline = spec.get("activeDeadlineSeconds")
    return deadline is not None and deadline >= 0


_CONTAINERS: Final = ("containers", "initContainers")

_POD_SCOPES: Final[Mapping[str, Callable[[Tree], bool]]] = {
    "Terminating": _has_deadline,
    "NotTerminating": lambda spec: not _has_deadline(spec),
    "BestEffort": lambda spec: qos_class(dict(spec)) == "BestEffort",
    "NotBestEffort": lambda spec: qos_class(dict(spec)) != "BestEffort",
    "PriorityClass": lambda spec: bool(spec.get("priorityClassName")),
    "CrossNamespacePodAffinity": _crosses_namespaces,
}
