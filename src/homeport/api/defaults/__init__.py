"""Values for what was left out, per kind: applied in place to a freshly decoded tree, never twice differently.

Source: workloads 1.1, 8.1, 9.1, 10 to 13; services-dns 1; node 19; the API reference of Kubernetes 1.36. Defaults that
need cluster configuration (addresses, node ports, priorities, tolerations) belong to the server and its admission.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from homeport.api.defaults import autoscaling, batch, limits, objects, pods, rbac, services, storage, workloads
from homeport.api.resources import Gvk

__all__ = ["apply_defaults", "apply_status_defaults"]

_BY_KIND: Final[Mapping[tuple[str, str], Callable[[dict[str, Any]], None]]] = {
    ("", "Pod"): pods.pod,
    ("", "PodTemplate"): pods.pod_template_object,
    ("", "Service"): services.service,
    ("", "Endpoints"): services.endpoints,
    ("", "LimitRange"): limits.limit_range,
    ("", "Namespace"): objects.namespace,
    ("", "Node"): objects.node,
    ("", "ReplicationController"): workloads.replication_controller,
    ("", "Secret"): objects.secret,
    ("", "PersistentVolume"): storage.volume,
    ("", "PersistentVolumeClaim"): storage.claim,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.autoscaler,
    ("batch", "CronJob"): batch.cron_job,
    ("batch", "Job"): batch.job,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.binding,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.binding,
    ("scheduling.k8s.io", "PriorityClass"): objects.priority_class,
    ("storage.k8s.io", "StorageClass"): storage.storage_class,
    ("authentication.k8s.io", "TokenRequest"): objects.token_request,
}


def apply_defaults(gvk: Gvk, tree: dict[str, Any]) -> None:
    """Fill in the defaults of a built-in kind, in place; other kinds have none here.

    tree  as `decode` gave it: owned by the caller, empty values absent.
    """
    if default := _BY_KIND.get((gvk.group, gvk.kind)):
        default(tree)


def apply_status_defaults(gvk: Gvk, tree: dict[str, Any]) -> bool:
    """Fill in the defaults of the status alone, in place; False, and nothing done, where they are not told apart.

    tree  an object whose other parts have their defaults
    """
    kind = (gvk.group, gvk.kind)
    if kind == ("", "Pod"):
        pods.statuses(tree.get("status", {}))
    elif kind not in _STATUS_WITHOUT_DEFAULTS:
        return False
    return True


_STATUS_WITHOUT_DEFAULTS: Final = frozenset(
    {
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
    }
)
