"""Which nodes a daemon pod belongs to, and what its template gains to get and stay there. Source: `workloads` 10."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeport.api.node_selectors import matches_node_selector
from homeport.controllers.daemonset.model import Node

__all__ = ["affinity_to", "belongs", "target_of", "tolerations_of"]

Tree = Mapping[str, Any]

_EFFECTS: Final = {
    "node.kubernetes.io/not-ready": "NoExecute",
    "node.kubernetes.io/unreachable": "NoExecute",
    "node.kubernetes.io/disk-pressure": "NoSchedule",
    "node.kubernetes.io/memory-pressure": "NoSchedule",
    "node.kubernetes.io/pid-pressure": "NoSchedule",
    "node.kubernetes.io/unschedulable": "NoSchedule",
}
_HOST_NETWORK: Final = {"node.kubernetes.io/network-unavailable": "NoSchedule"}


def belongs(spec: Tree, node: Node) -> tuple[bool, bool]:
    """Return whether the pod of a template should run on the node, and whether one that is there may stay."""
    if spec.get("nodeName") not in (None, "", node.name) or not _is_selected(spec, node):
        return False, False
    tolerations = tolerations_of(spec)
    refused = {
        taint.get("effect")
        for taint in node.taints
        if taint.get("effect") in ("NoSchedule", "NoExecute")
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    }
    return not refused, "NoExecute" not in refused


def tolerations_of(spec: Tree) -> Sequence[Tree]:
    """Return a template's tolerations and those every daemon pod has: troubles of its node do not drive it away."""
    added = _EFFECTS | (_HOST_NETWORK if spec.get("hostNetwork") else {})
    tolerations = list(spec.get("tolerations") or ())
    for key, effect in added.items():
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in tolerations:
            tolerations.append(toleration)
    return tolerations


def affinity_to(affinity: Tree | None, node: str) -> dict[str, Any]:
    """Return a template's affinity with its required node terms replaced by the one that names the node."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    given = affinity or {}
    return {**given, "nodeAffinity": {**(given.get("nodeAffinity") or {}), **required}}


def target_of(spec: Tree) -> str:
    """Return the node a daemon pod runs on, or the one its affinity names; empty when neither is there."""
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    for term in (_required_nodes(spec) or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name" and field["operator"] == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""


def _required_nodes(spec: Tree) -> Tree | None:
    nodes = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required: Tree | None = nodes.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required


def _is_selected(spec: Tree, node: Node) -> bool:
    wanted = (spec.get("nodeSelector") or {}).items()
    return wanted <= node.labels.items() and matches_node_selector(_required_nodes(spec), node.labels, node.name)


def _tolerates(toleration: Tree, taint: Tree) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint.get("key")):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
