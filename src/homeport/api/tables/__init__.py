"""How objects look in a terminal: column definitions and cells per kind (api-machinery 14, 15).

The server's Table is `columns(gvk)` once and `row(gvk, tree, now)` per object. Kinds without a printer of their own
show their name and when they were made.
"""

from collections.abc import Mapping
from typing import Any, Final

from homeport.api.resources import Gvk
from homeport.api.tables import autoscaling, batch, objects, pods, rbac, services, storage, workloads
from homeport.api.tables.cells import PLAIN, Printer, column

__all__ = ["columns", "row"]

_PRINTERS: Final[Mapping[tuple[str, str], Printer]] = {
    ("", "ConfigMap"): objects.CONFIG_MAP,
    ("", "Endpoints"): services.ENDPOINTS,
    ("", "Event"): objects.EVENT,
    ("", "Namespace"): objects.NAMESPACE,
    ("", "Node"): objects.NODE,
    ("", "PersistentVolume"): storage.VOLUME,
    ("", "PersistentVolumeClaim"): storage.CLAIM,
    ("", "Pod"): pods.POD,
    ("", "PodTemplate"): workloads.POD_TEMPLATE,
    ("", "ReplicationController"): workloads.REPLICATION_CONTROLLER,
    ("", "ResourceQuota"): objects.RESOURCE_QUOTA,
    ("", "Secret"): objects.SECRET,
    ("", "Service"): services.SERVICE,
    ("", "ServiceAccount"): objects.SERVICE_ACCOUNT,
    ("apps", "ControllerRevision"): workloads.CONTROLLER_REVISION,
    ("apps", "DaemonSet"): workloads.DAEMON_SET,
    ("apps", "Deployment"): workloads.DEPLOYMENT,
    ("apps", "ReplicaSet"): workloads.REPLICA_SET,
    ("apps", "StatefulSet"): workloads.STATEFUL_SET,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.AUTOSCALER,
    ("autoscaling", "Scale"): workloads.SCALE,
    ("batch", "CronJob"): batch.CRON_JOB,
    ("batch", "Job"): batch.JOB,
    ("coordination.k8s.io", "Lease"): objects.LEASE,
    ("discovery.k8s.io", "EndpointSlice"): services.ENDPOINT_SLICE,
    ("events.k8s.io", "Event"): objects.EVENT,
    ("networking.k8s.io", "IPAddress"): services.IP_ADDRESS,
    ("networking.k8s.io", "ServiceCIDR"): services.SERVICE_CIDR,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.BINDING,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.BINDING,
    ("metrics.k8s.io", "NodeMetrics"): autoscaling.NODE_METRICS,
    ("metrics.k8s.io", "PodMetrics"): autoscaling.POD_METRICS,
    ("policy", "PodDisruptionBudget"): batch.BUDGET,
    ("scheduling.k8s.io", "PriorityClass"): batch.PRIORITY_CLASS,
    ("storage.k8s.io", "StorageClass"): storage.STORAGE_CLASS,
}


def columns(gvk: Gvk) -> list[dict[str, Any]]:
    """Return a kind's column definitions, in cell order."""
    return [column(*definition) for definition in _printer(gvk).columns]


def row(gvk: Gvk, tree: dict[str, Any], now: float) -> dict[str, Any]:
    """Return an object's `cells`, and `conditions` where its row carries a mark.

    now   seconds since the epoch; ages count from it.
    """
    printer = _printer(gvk)
    out: dict[str, Any] = {"cells": printer.cells(tree, now)}
    if printer.marks and (conditions := printer.marks(tree)):
        out["conditions"] = conditions
    return out


def _printer(gvk: Gvk) -> Printer:
    return _PRINTERS.get((gvk.group, gvk.kind), PLAIN)
