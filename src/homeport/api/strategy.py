"""What the server decides about an object before it is stored: status isolation, generation, first status.

Every function works in place on a tree the caller owns; nothing here needs cluster state. Sources: api-machinery
7.2-7.6, 8.6, 8.7; node 1.6.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from homeport.api import autoscaling, decode, services
from homeport.api.gates import MAX_UNAVAILABLE_STATEFUL_SET
from homeport.api.qos import qos_class
from homeport.api.resources import Gvk
from homeport.clock import rfc3339

__all__ = [
    "CREATE_ON_UPDATE",
    "GRACEFUL",
    "ORPHANS_BY_DEFAULT",
    "RETURNS_DELETED_OBJECT",
    "TEMPLATE_GENERATION",
    "UNCONDITIONAL_UPDATE_REFUSED",
    "drop_duplicate_owners",
    "prepare_for_create",
    "prepare_for_update",
]

Tree = dict[str, Any]
Key = tuple[str, str]

UNCONDITIONAL_UPDATE_REFUSED: Final[frozenset[Key]] = frozenset(
    {("coordination.k8s.io", "Lease"), ("policy", "PodDisruptionBudget")}
)
"""Built-in kinds (group, kind) whose PUT must name a resourceVersion; custom resources must as well."""

CREATE_ON_UPDATE: Final[frozenset[Key]] = frozenset(
    {
        ("", "Endpoints"),
        ("", "Service"),
        ("", "Event"),
        ("", "LimitRange"),
        ("events.k8s.io", "Event"),
        ("coordination.k8s.io", "Lease"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    }
)
"""Kinds whose PUT to a missing name creates it."""

RETURNS_DELETED_OBJECT: Final[frozenset[Key]] = frozenset(
    {
        ("", "Pod"),
        ("", "PodTemplate"),
        ("", "Service"),
        ("", "PersistentVolumeClaim"),
        ("", "PersistentVolume"),
        ("", "ReplicationController"),
        ("", "Namespace"),
        ("", "ServiceAccount"),
        ("", "ResourceQuota"),
        ("storage.k8s.io", "StorageClass"),
    }
)
"""Kinds whose DELETE answers with the object instead of a Status."""

ORPHANS_BY_DEFAULT: Final[frozenset[Key]] = frozenset({("", "ReplicationController"), ("batch", "Job")})
"""Kinds whose dependents stay unless the request says otherwise."""

_LEGACY_SOURCES: Final = frozenset({("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")})

GRACEFUL: Final[frozenset[Key]] = frozenset({("", "Pod")})
"""Kinds that are told to go before they are gone."""

_GENERATION: Final[frozenset[Key]] = frozenset(
    {
        ("", "Pod"),
        ("", "PodTemplate"),
        ("", "ReplicationController"),
        ("apps", "StatefulSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "DaemonSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
        ("policy", "PodDisruptionBudget"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("discovery.k8s.io", "EndpointSlice"),
    }
)

_STATUS: Final[Mapping[Key, Callable[[], Tree]]] = {
    ("", "Service"): lambda: {"loadBalancer": {}},
    ("", "PersistentVolumeClaim"): lambda: {"phase": "Pending"},
    ("", "PersistentVolume"): lambda: {"phase": "Pending"},
    ("", "Namespace"): lambda: {"phase": "Active"},
    ("", "ReplicationController"): lambda: decode.empty("core.v1.ReplicationControllerStatus"),
    ("", "ResourceQuota"): dict,
    ("apps", "StatefulSet"): lambda: decode.empty("apps.v1.StatefulSetStatus"),
    ("apps", "Deployment"): lambda: decode.empty("apps.v1.DeploymentStatus"),
    ("apps", "ReplicaSet"): lambda: decode.empty("apps.v1.ReplicaSetStatus"),
    ("apps", "DaemonSet"): lambda: decode.empty("apps.v1.DaemonSetStatus"),
    ("autoscaling", "HorizontalPodAutoscaler"): lambda: decode.empty("autoscaling.v2.HorizontalPodAutoscalerStatus"),
    ("batch", "CronJob"): dict,
    ("batch", "Job"): dict,
    ("networking.k8s.io", "ServiceCIDR"): dict,
    ("policy", "PodDisruptionBudget"): lambda: decode.empty("policy.v1.PodDisruptionBudgetStatus"),
}
"""The status a new object starts with. Nodes keep the status they are created with."""

_HAS_STATUS: Final[frozenset[Key]] = frozenset(_STATUS) | {("", "Pod"), ("", "Node")}

TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"

_PROTECTION: Final[Mapping[Key, str]] = {
    ("", "PersistentVolumeClaim"): "kubernetes.io/pvc-protection",
    ("", "PersistentVolume"): "kubernetes.io/pv-protection",
}

_SERVER_OWNED: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")


def prepare_for_create(gvk: Gvk, tree: Tree, *, now: float, gates: frozenset[str] = frozenset()) -> None:
    """Make a decoded, defaulted object ready for validation on create, in place.

    Status from the client is replaced by the first one, generation starts at 1 where the kind has one, claims and
    volumes get their protection finalizer. `uid`, `creationTimestamp`, `namespace` and name are the server's to set.

    now    seconds since the epoch, for the times a first status carries.
    gates  the feature gates that are open
    """
    key = (gvk.group, gvk.kind)
    metadata = tree["metadata"]
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"):
        metadata.pop(field, None)
    if key in _GENERATION:
        metadata["generation"] = 1
    if key in _STATUS:
        tree["status"] = _STATUS[key]()
    if finalizer := _PROTECTION.get(key):
        finalizers = metadata.setdefault("finalizers", [])
        if finalizer not in finalizers:
            finalizers.append(finalizer)
    match key:
        case ("", "Pod"):
            if tree["spec"].get("terminationGracePeriodSeconds", 0) < 0:
                tree["spec"]["terminationGracePeriodSeconds"] = 1
            tree["status"] = _first_pod_status(tree["spec"], now)
        case ("", "Namespace"):
            finalizers = tree["spec"].setdefault("finalizers", [])
            if "kubernetes" not in finalizers:
                finalizers.append("kubernetes")
        case ("", "PersistentVolumeClaim"):
            _settle_data_source(tree["spec"], {})
        case ("", "PersistentVolume"):
            tree["status"]["lastPhaseTransitionTime"] = rfc3339(now)
        case ("apps", "StatefulSet"):
            _settle_max_unavailable(tree, None, gates)
        case ("apps", "DaemonSet"):
            _number_template(tree, 1)
        case ("batch", "Job"):
            _select_own_pods(tree)
        case ("discovery.k8s.io", "EndpointSlice"):
            _drop_topology(tree)
        case ("autoscaling", "HorizontalPodAutoscaler") if autoscaling.is_v1(tree):
            tree["status"] = decode.empty("autoscaling.v1.HorizontalPodAutoscalerStatus")
            _carry(tree, {}, autoscaling.STATUS_ANNOTATIONS)


def prepare_for_update(
    gvk: Gvk,
    new: Tree,
    old: Tree,
    subresource: str = "",
    *,
    now: float = 0.0,
    gates: frozenset[str] = frozenset(),
) -> None:
    """Keep in `new` what this write may not touch, taking it from `old`, and count the generation; in place.

    subresource  "", "status", "finalize", "ephemeralcontainers" or "resize".
    old          the stored object; parts of it are shared with `new`, never changed.
    """
    key = (gvk.group, gvk.kind)
    _keep(new["metadata"], old["metadata"], _SERVER_OWNED)
    match subresource:
        case "":
            if key in _HAS_STATUS:
                _keep(new, old, ("status",))
            _prepare_main(key, new, old, gates)
        case "status":
            _prepare_status(key, new, old)
        case "finalize":
            _keep(new, old, ("status",))
            finalizers = new.get("spec", {}).get("finalizers")
            new["spec"] = (
                {**old["spec"], "finalizers": finalizers} if finalizers else _without(old["spec"], "finalizers")
            )
        case "ephemeralcontainers":
            _keep(new, old, ("status",))
            containers = new["spec"].get("ephemeralContainers")
            new["spec"] = _without(old["spec"], "ephemeralContainers")
            if containers:
                new["spec"]["ephemeralContainers"] = containers
        case "resize":
            _keep(new, old, ("status",))
            new["spec"] = _resized(new["spec"], old["spec"])
            new["metadata"] = {**old["metadata"], **{k: v for k, v in new["metadata"].items() if k == "managedFields"}}
        case _:
            raise ValueError(f"no write rules for subresource {subresource!r}")
    if subresource != "status" and key in _GENERATION and _generation_moves(key, new, old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def drop_duplicate_owners(tree: Tree) -> str:
    """Drop owner references repeated word for word; return the warning that goes with it, or the empty string."""
    owners = tree["metadata"].get("ownerReferences")
    if not owners or len(owners) < 2:
        return ""
    kept: list[Tree] = []
    repeated: list[str] = []
    for owner in owners:
        if owner in kept:
            repeated.append(owner.get("uid", ""))
        else:
            kept.append(owner)
    if not repeated:
        return ""
    tree["metadata"]["ownerReferences"] = kept
    return (
        ".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups "
        "owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; "
        f"duplicate UID(s) observed: {', '.join(dict.fromkeys(repeated))}"
    )


def _prepare_main(key: Key, new: Tree, old: Tree, gates: frozenset[str]) -> None:
    match key:
        case ("", "Namespace"):
            new["spec"] = old["spec"]
        case ("", "Pod") if any(gate for gate in old["spec"].get("schedulingGates", ())):
            _ungate(new)
        case ("", "PersistentVolumeClaim"):
            _settle_data_source(new["spec"], old["spec"])
        case ("", "Service"):
            services.forget_balancer(new, old)
        case ("discovery.k8s.io", "EndpointSlice"):
            _drop_topology(new)
        case ("apps", "StatefulSet"):
            _settle_max_unavailable(new, old, gates)
        case ("apps", "DaemonSet"):
            number = int(old["metadata"].get("annotations", {}).get(TEMPLATE_GENERATION, 0))
            _number_template(new, number + (new["spec"].get("template") != old["spec"].get("template")))
        case ("autoscaling", "HorizontalPodAutoscaler") if autoscaling.is_v1(new):
            _carry(new, old, autoscaling.STATUS_ANNOTATIONS)


def _drop_topology(tree: Tree) -> None:
    """Drop what an older version of the API said of places; `zone` and `nodeName` say it now (services-dns 9)."""
    for endpoint in tree.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def _carry(new: Tree, old: Tree, names: Iterable[str]) -> None:
    """Keep annotations that stand for a part of the object this write may not touch."""
    before = old.get("metadata", {}).get("annotations") or {}
    annotations = {key: text for key, text in (new["metadata"].get("annotations") or {}).items() if key not in names}
    annotations |= {key: before[key] for key in names if key in before}
    if annotations:
        new["metadata"]["annotations"] = annotations
    else:
        new["metadata"].pop("annotations", None)


def _number_template(tree: Tree, number: int) -> None:
    """Note how many templates a DaemonSet has had; what a client says of it does not count."""
    tree["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(number)


def _settle_max_unavailable(new: Tree, old: Tree | None, gates: frozenset[str]) -> None:
    """`maxUnavailable` is 1 with its gate open, else dropped unless the stored object has it (workloads 7.4)."""
    strategy = new["spec"]["updateStrategy"]
    rolling = strategy.get("rollingUpdate")
    if MAX_UNAVAILABLE_STATEFUL_SET in gates:
        if rolling is not None and strategy.get("type") == "RollingUpdate":
            rolling.setdefault("maxUnavailable", 1)
        return
    if rolling and "maxUnavailable" in rolling:
        stored = old["spec"]["updateStrategy"].get("rollingUpdate", {}) if old else {}
        if "maxUnavailable" not in stored:
            del rolling["maxUnavailable"]


def _select_own_pods(job: Tree) -> None:
    """Give a Job a selector nobody else has, and its pods the labels it asks for (workloads 11)."""
    spec, metadata = job["spec"], job["metadata"]
    labels = (spec["template"].setdefault("metadata", {})).setdefault("labels", {})
    if not spec.get("manualSelector"):
        for key in ("job-name", "batch.kubernetes.io/job-name"):
            labels.setdefault(key, metadata.get("name", ""))
        for key in ("controller-uid", "batch.kubernetes.io/controller-uid"):
            labels.setdefault(key, metadata.get("uid", ""))
        selected = spec.setdefault("selector", {}).setdefault("matchLabels", {})
        selected.setdefault("batch.kubernetes.io/controller-uid", metadata.get("uid", ""))
    if not labels:
        del spec["template"]["metadata"]["labels"]
    elif not metadata.get("labels"):
        metadata["labels"] = dict(labels)


def _prepare_status(key: Key, new: Tree, old: Tree) -> None:
    for field in old.keys() | new.keys():
        if field not in ("metadata", "status", "apiVersion", "kind"):
            _keep(new, old, (field,))
    match key:
        case ("", "Pod"):
            _keep(new["metadata"], old["metadata"], ("ownerReferences",))
            status = new.setdefault("status", {})
            if "qosClass" not in status and "qosClass" in old.get("status", {}):
                status["qosClass"] = old["status"]["qosClass"]
        case ("apps", "Deployment"):
            _keep(new["metadata"], old["metadata"], ("labels",))
        case ("networking.k8s.io", "ServiceCIDR"):
            _keep(new["metadata"], old["metadata"], ("labels", "annotations", "finalizers", "ownerReferences"))
        case ("autoscaling", "HorizontalPodAutoscaler") if autoscaling.is_v1(new):
            _carry(new, old, autoscaling.SPEC_ANNOTATIONS)


def _generation_moves(key: Key, new: Tree, old: Tree) -> bool:
    if key == ("discovery.k8s.io", "EndpointSlice"):
        return bool(
            _without(new, "metadata") != _without(old, "metadata")
            or new["metadata"].get("labels") != old["metadata"].get("labels")
        )
    if key == ("", "PodTemplate"):
        return bool(new.get("template") != old.get("template"))
    if key == ("scheduling.k8s.io", "PriorityClass"):
        return False
    if key == ("apps", "Deployment") and new["metadata"].get("annotations") != old["metadata"].get("annotations"):
        return True
    return bool(new.get("spec") != old.get("spec"))


def _first_pod_status(spec: Tree, now: float) -> Tree:
    status: Tree = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        status["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastProbeTime": None,
                "lastTransitionTime": rfc3339(now),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    return status


def _ungate(new: Tree) -> None:
    """Take the SchedulingGated condition away with the last gate."""
    if new["spec"].get("schedulingGates") or not (conditions := new.get("status", {}).get("conditions")):
        return
    kept = [c for c in conditions if not (c["type"] == "PodScheduled" and c.get("reason") == "SchedulingGated")]
    new["status"] = {**_without(new["status"], "conditions"), **({"conditions": kept} if kept else {})}


def _settle_data_source(spec: Tree, old: Tree) -> None:
    """Drop sources nobody can fill from, then keep `dataSource` and `dataSourceRef` the same (KEP 1495)."""
    if (spec.get("dataSourceRef") or {}).get("namespace") and not old.get("dataSourceRef"):
        del spec["dataSourceRef"]  # other namespaces are behind a feature gate that is off
    if not spec.get("dataSourceRef") and not old.get("dataSource") and not old.get("dataSourceRef"):
        source = spec.get("dataSource") or {}
        if (source.get("apiGroup") or "", source.get("kind")) not in _LEGACY_SOURCES:
            spec.pop("dataSource", None)
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = {field: reference[field] for field in ("apiGroup", "kind", "name") if field in reference}


def _resized(new: Tree, old: Tree) -> Tree:
    """Return the old spec with resources and resize policies of the new one."""
    spec = dict(old)
    for group in ("containers", "initContainers"):
        wanted = {container.get("name"): container for container in new.get(group) or ()}
        if old.get(group):
            spec[group] = [_with_resources(c, wanted.get(c.get("name"), c)) for c in old[group]]
    if "resources" in new:
        spec["resources"] = new["resources"]
    return spec


def _with_resources(container: Tree, wanted: Tree) -> Tree:
    out = {**container, "resources": wanted.get("resources", {})}
    if "resizePolicy" in wanted:
        out["resizePolicy"] = wanted["resizePolicy"]
    return out


def _keep(new: Tree, old: Tree, fields: Iterable[str]) -> None:
    for field in fields:
        if field in old:
            new[field] = old[field]
        else:
            new.pop(field, None)


def _without(tree: Tree, field: str) -> Tree:
    return {key: value for key, value in tree.items() if key != field}
