"""Whether an object keeps the rules: per kind, on create and on update, in upstream's words.

Sources: workloads 1.2-1.4, 8.1, 9.1, 10 to 13; services-dns 2 and 9; node; api-machinery 6.3, 7.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from homeport.api.resources import Gvk
from homeport.api.validation import (
    autoscaling,
    budgets,
    claims,
    cronjobs,
    endpoints,
    events,
    job_status,
    jobs,
    limits,
    networking,
    objects,
    pod_templates,
    pod_updates,
    pods,
    rbac,
    services,
    storage,
    workloads,
)
from homeport.api.validation.errors import FieldError, invalid
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.warnings import deprecation, warnings_for

__all__ = [
    "FieldError",
    "deprecation",
    "invalid",
    "validate_create",
    "validate_metadata",
    "validate_metadata_update",
    "validate_update",
    "warnings_for",
]

Tree = dict[str, Any]
OnCreate = Callable[[Tree], list[FieldError]]
OnUpdate = Callable[[Tree, Tree], list[FieldError]]

_CREATE: Final[Mapping[tuple[str, str], OnCreate]] = {
    ("", "ConfigMap"): objects.validate_config_map,
    ("", "Endpoints"): endpoints.validate_endpoints,
    ("", "Event"): events.validate_event,
    ("", "LimitRange"): limits.validate_limit_range,
    ("", "Namespace"): objects.validate_namespace,
    ("", "Node"): objects.validate_node,
    ("", "PersistentVolume"): storage.validate_volume,
    ("", "PersistentVolumeClaim"): claims.validate_claim,
    ("", "Pod"): pods.validate_pod,
    ("", "PodTemplate"): pod_templates.validate_pod_template,
    ("", "ReplicationController"): workloads.validate_replication_controller,
    ("", "ResourceQuota"): limits.validate_quota,
    ("", "Secret"): objects.validate_secret,
    ("", "Service"): services.validate_service,
    ("apps", "ControllerRevision"): objects.validate_revision,
    ("apps", "DaemonSet"): workloads.validate_daemon_set,
    ("apps", "Deployment"): workloads.validate_deployment,
    ("apps", "ReplicaSet"): workloads.validate_replica_set,
    ("apps", "StatefulSet"): workloads.validate_stateful_set,
    ("authentication.k8s.io", "TokenRequest"): objects.validate_token_request,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.validate_autoscaler,
    ("batch", "CronJob"): cronjobs.validate_cron_job,
    ("batch", "Job"): jobs.validate_job,
    ("coordination.k8s.io", "Lease"): objects.validate_lease,
    ("discovery.k8s.io", "EndpointSlice"): endpoints.validate_slice,
    ("events.k8s.io", "Event"): events.validate_new_event,
    ("networking.k8s.io", "IPAddress"): networking.validate_ip_address,
    ("networking.k8s.io", "ServiceCIDR"): networking.validate_service_cidr,
    ("policy", "PodDisruptionBudget"): budgets.validate_budget,
    ("scheduling.k8s.io", "PriorityClass"): budgets.validate_priority_class,
    ("rbac.authorization.k8s.io", "ClusterRole"): rbac.validate_cluster_role,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.validate_cluster_binding,
    ("rbac.authorization.k8s.io", "Role"): rbac.validate_role,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.validate_binding,
    ("storage.k8s.io", "StorageClass"): storage.validate_storage_class,
}

_UPDATE: Final[Mapping[tuple[str, str, str], OnUpdate]] = {
    ("", "ConfigMap", ""): objects.validate_config_map_update,
    ("", "Endpoints", ""): endpoints.validate_endpoints_update,
    ("", "Event", ""): events.validate_event_update,
    ("", "LimitRange", ""): limits.validate_limit_range_update,
    ("", "Namespace", "finalize"): objects.validate_namespace_finalize,
    ("", "Namespace", "status"): objects.validate_namespace_status,
    ("", "Node", ""): objects.validate_node_update,
    ("", "Node", "status"): objects.validate_node_update,
    ("", "PersistentVolume", ""): storage.validate_volume_update,
    ("", "PersistentVolumeClaim", ""): claims.validate_claim_update,
    ("", "Pod", ""): pod_updates.validate_pod_update,
    ("", "Pod", "status"): pod_updates.validate_pod_status,
    ("", "Pod", "ephemeralcontainers"): pod_updates.validate_ephemeral_update,
    ("", "Pod", "resize"): pod_updates.validate_resize,
    ("", "PodTemplate", ""): pod_templates.validate_pod_template_update,
    ("", "ReplicationController", ""): workloads.validate_replication_controller_update,
    ("", "ReplicationController", "status"): workloads.validate_replica_set_status,
    ("", "ResourceQuota", ""): limits.validate_quota_update,
    ("", "ResourceQuota", "status"): limits.validate_quota_status,
    ("", "Secret", ""): objects.validate_secret_update,
    ("", "ServiceAccount", ""): objects.validate_account_update,
    ("", "Service", ""): services.validate_service_update,
    ("", "Service", "status"): services.validate_service_status,
    ("apps", "ControllerRevision", ""): objects.validate_revision_update,
    ("apps", "DaemonSet", ""): workloads.validate_daemon_set_update,
    ("apps", "DaemonSet", "status"): workloads.validate_daemon_set_status,
    ("apps", "Deployment", ""): workloads.validate_deployment_update,
    ("apps", "Deployment", "status"): workloads.validate_deployment_status,
    ("apps", "ReplicaSet", ""): workloads.validate_replica_set_update,
    ("apps", "ReplicaSet", "status"): workloads.validate_replica_set_status,
    ("apps", "StatefulSet", ""): workloads.validate_stateful_set_update,
    ("apps", "StatefulSet", "status"): workloads.validate_stateful_set_status,
    ("autoscaling", "HorizontalPodAutoscaler", ""): autoscaling.validate_autoscaler_update,
    ("autoscaling", "HorizontalPodAutoscaler", "status"): autoscaling.validate_autoscaler_status,
    ("batch", "CronJob", ""): cronjobs.validate_cron_job_update,
    ("batch", "Job", ""): jobs.validate_job_update,
    ("batch", "Job", "status"): job_status.validate_job_status,
    ("coordination.k8s.io", "Lease", ""): objects.validate_lease_update,
    ("discovery.k8s.io", "EndpointSlice", ""): endpoints.validate_slice_update,
    ("events.k8s.io", "Event", ""): events.validate_new_event_update,
    ("networking.k8s.io", "IPAddress", ""): networking.validate_ip_address_update,
    ("networking.k8s.io", "ServiceCIDR", ""): networking.validate_service_cidr_update,
    ("policy", "PodDisruptionBudget", ""): budgets.validate_budget_update,
    ("policy", "PodDisruptionBudget", "status"): budgets.validate_budget_status,
    ("scheduling.k8s.io", "PriorityClass", ""): budgets.validate_priority_class_update,
    ("rbac.authorization.k8s.io", "ClusterRole", ""): rbac.validate_cluster_role_update,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", ""): rbac.validate_cluster_binding_update,
    ("rbac.authorization.k8s.io", "Role", ""): rbac.validate_role_update,
    ("rbac.authorization.k8s.io", "RoleBinding", ""): rbac.validate_binding_update,
    ("storage.k8s.io", "StorageClass", ""): storage.validate_storage_class_update,
}


def validate_create(gvk: Gvk, tree: Tree) -> list[FieldError]:
    """Return what is wrong with a decoded, defaulted and prepared object; kinds without rules check metadata."""
    return _CREATE.get((gvk.group, gvk.kind), objects.validate_plain)(tree)


def validate_update(gvk: Gvk, new: Tree, old: Tree, subresource: str = "") -> list[FieldError]:
    """Return what is wrong with replacing `old` by the prepared `new` through a subresource ("" is the object).

    Upstream checks `validate_metadata_update` once for every kind before this, and so reports its refusals twice.
    """
    return _UPDATE.get((gvk.group, gvk.kind, subresource), objects.validate_plain_update)(new, old)
