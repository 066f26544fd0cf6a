"""Pod and Node objects to the scheduler's values."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from homeport.api.pod_resources import amounts, pod_requests
from homeport.api.pod_volumes import claim_names
from homeport.api.selectors import label_selector_from_object
from homeport.scheduler.model import (
    AffinityTerm,
    HostPort,
    Node,
    Pod,
    SpreadConstraint,
    Taint,
    Toleration,
    WeightedTerm,
)

__all__ = ["decode_node", "decode_pod", "same_facts"]

SCORING_DEFAULTS: Final = {"cpu": 100, "memory": 200 << 20}
_toleration: Final = lru_cache(maxsize=1024)(Toleration)  # nearly every pod has the same two


def decode_node(raw: Mapping[str, Any]) -> Node:
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    return Node(
        name=meta["name"],
        labels=meta.get("labels") or {},
        taints=tuple(Taint(t["key"], t.get("value") or "", t["effect"]) for t in spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable")),
        allocatable=amounts(status.get("allocatable") or status.get("capacity")),
        images=frozenset(name for image in status.get("images") or () for name in image.get("names") or ()),
    )


def decode_pod(raw: Mapping[str, Any]) -> Pod:
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels, affinity = meta.get("labels") or {}, spec.get("affinity") or {}
    nodes = affinity.get("nodeAffinity") or {}
    near, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    required, preferred = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        labels=labels,
        node=spec.get("nodeName") or "",
        priority=spec.get("priority") or 0,
        created=meta.get("creationTimestamp", ""),
        start_time=status.get("startTime") or "",
        terminating="deletionTimestamp" in meta,
        may_preempt=spec.get("preemptionPolicy") != "Never",
        requests=pod_requests(spec),
        scored_requests=pod_requests(spec, SCORING_DEFAULTS),
        host_ports=tuple(_host_ports(spec)),
        node_selector=spec.get("nodeSelector") or {},
        node_affinity=nodes.get(required),
        preferred_nodes=tuple((term["weight"], term["preference"]) for term in nodes.get(preferred) or ()),
        tolerations=tuple(
            _toleration(t.get("key") or "", t.get("operator") or "", t.get("value") or "", t.get("effect") or "")
            for t in spec.get("tolerations") or ()
        ),
        affinity=_terms(near.get(required), labels),
        anti_affinity=_terms(apart.get(required), labels),
        preferred=_weighted(near.get(preferred), labels),
        avoided=_weighted(apart.get(preferred), labels),
        spread=tuple(_spread(c, labels) for c in spec.get("topologySpreadConstraints") or ()),
        claims=tuple(claim_names(raw)),
        images=tuple(c.get("image", "") for c in spec.get("containers") or ()),
        wanted_node=spec.get("nodeName") or "",
        nominated_node=status.get("nominatedNodeName") or "",
    )


def same_facts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two forms of a pod say the same to a scheduler, found out without decoding either."""
    for field in ("namespace", "name", "uid", "labels", "creationTimestamp"):
        if one["metadata"].get(field) != other["metadata"].get(field):
            return False
    if ("deletionTimestamp" in one["metadata"]) != ("deletionTimestamp" in other["metadata"]):
        return False
    before, after = one.get("status") or {}, other.get("status") or {}
    if any(before.get(field) != after.get(field) for field in ("startTime", "nominatedNodeName")):
        return False
    return bool(one.get("spec") == other.get("spec"))


def _host_ports(spec: Mapping[str, Any]) -> Iterable[HostPort]:
    sidecars = (c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always")
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])


def _terms(raw: Iterable[Mapping[str, Any]] | None, labels: Mapping[str, str]) -> tuple[AffinityTerm, ...]:
    return tuple(_term(term, labels) for term in raw or ())


def _weighted(raw: Iterable[Mapping[str, Any]] | None, labels: Mapping[str, str]) -> tuple[WeightedTerm, ...]:
    return tuple(WeightedTerm(entry["weight"], _term(entry["podAffinityTerm"], labels)) for entry in raw or ())


def _term(raw: Mapping[str, Any], labels: Mapping[str, str]) -> AffinityTerm:
    selector = raw.get("labelSelector")
    if selector is not None:
        selector = _with_keys(selector, raw.get("matchLabelKeys") or (), "In", labels)
        selector = _with_keys(selector, raw.get("mismatchLabelKeys") or (), "NotIn", labels)
    elsewhere = raw.get("namespaceSelector")
    return AffinityTerm(
        raw["topologyKey"],
        label_selector_from_object(selector),
        frozenset(raw.get("namespaces") or ()),
        None if elsewhere is None else label_selector_from_object(elsewhere),
    )


def _spread(raw: Mapping[str, Any], labels: Mapping[str, str]) -> SpreadConstraint:
    selector = raw.get("labelSelector")
    if selector is not None:
        selector = _with_keys(selector, raw.get("matchLabelKeys") or (), "In", labels)
    return SpreadConstraint(
        topology_key=raw["topologyKey"],
        max_skew=raw["maxSkew"],
        selector=label_selector_from_object(selector),
        required=raw.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        min_domains=raw.get("minDomains") or 1,
        honor_affinity=raw.get("nodeAffinityPolicy", "Honor") == "Honor",
        honor_taints=raw.get("nodeTaintsPolicy") == "Honor",
    )


def _with_keys(
    selector: Mapping[str, Any], keys: Iterable[str], operator: str, labels: Mapping[str, str]
) -> Mapping[str, Any]:
    """Return the selector narrowed to the pod's own values of `keys`; keys it lacks are skipped."""
    extra = [{"key": key, "operator": operator, "values": [labels[key]]} for key in keys if key in labels]
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *extra]} if extra else selector
