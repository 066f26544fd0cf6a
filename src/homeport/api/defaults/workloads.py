"""Defaults of StatefulSets, Deployments, ReplicaSets and their elder kind, and DaemonSets (workloads 1.1, 8.1, 9.1)."""

from typing import Any

from homeport.api.defaults.pods import pod_spec
from homeport.api.defaults.storage import claim

__all__ = ["daemon_set", "deployment", "replica_set", "replication_controller", "stateful_set"]

Tree = dict[str, Any]


def stateful_set(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    strategy = spec["updateStrategy"]
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})  # absent when the type was written out: recreation rules differ
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    for template in spec.get("volumeClaimTemplates", ()):
        template["apiVersion"] = "v1"
        template["kind"] = "PersistentVolumeClaim"
        claim(template)
    pod_spec(spec["template"]["spec"])


def deployment(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec["strategy"]
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    pod_spec(spec["template"]["spec"])


def replica_set(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("replicas", 1)
    pod_spec(spec["template"]["spec"])


def replication_controller(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if template is None:
        return
    labels = (template.get("metadata") or {}).get("labels")
    if labels:
        spec.setdefault("selector", dict(labels))
        tree["metadata"].setdefault("labels", dict(labels))
    pod_spec(template["spec"])


def daemon_set(tree: Tree) -> None:
    spec = tree["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec["updateStrategy"]
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    pod_spec(spec["template"]["spec"])
