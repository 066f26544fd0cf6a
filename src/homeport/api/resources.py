"""The kinds this engine serves: one table of facts, read by server, clients and command line.

Source: Kubernetes 1.36 API reference; `api-machinery` appendix A for subresources and verbs.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

__all__ = ["BY_GVK", "BY_PATH", "METRICS", "OTHER_VERSIONS", "RESOURCES", "Gvk", "Resource", "Subresource", "find"]

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_NO_COLLECTION_DELETE: Final = tuple(verb for verb in VERBS if verb != "deletecollection")
_STATUS_VERBS: Final = ("get", "patch", "update")


@dataclass(frozen=True, slots=True, order=True)
class Gvk:
    """Group, version and kind; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object. `gvk` differs from the parent's where another kind is read or written there."""

    name: str
    gvk: Gvk
    verbs: tuple[str, ...]


@dataclass(frozen=True)
class Resource:
    """A served kind: where it lives, what it is called, and what may be done to it."""

    gvk: Gvk
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[Subresource, ...] = ()

    @property
    def kind(self) -> str:
        return self.gvk.kind

    @property
    def group(self) -> str:
        return self.gvk.group

    @property
    def version(self) -> str:
        return self.gvk.version

    @property
    def api_version(self) -> str:
        return self.gvk.api_version

    @property
    def list_kind(self) -> str:
        return self.gvk.kind + "List"

    @property
    def singular(self) -> str:
        return self.gvk.kind.lower()

    @cached_property
    def group_resource(self) -> str:
        """`pods`, `statefulsets.apps`: how error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def versioned(self) -> str:
        """`pods.v1.`, `horizontalpodautoscalers.v2.autoscaling`: a name of its own for every version of a kind."""
        return f"{self.plural}.{self.version}.{self.group}"

    @cached_property
    def prefix(self) -> str:
        """`/api/v1` or `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection or object; `namespace` is ignored for cluster-scoped kinds."""
        parts = [self.prefix]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def has_subresource(self, name: str) -> bool:
        return any(sub.name == name for sub in self.subresources)


def _resource(
    group: str,
    version: str,
    kind: str,
    plural: str,
    *,
    namespaced: bool = True,
    short: tuple[str, ...] = (),
    all_category: bool = False,
    verbs: tuple[str, ...] = VERBS,
    subs: tuple[str, ...] = (),
) -> Resource:
    gvk = Gvk(group, version, kind)
    special = {
        "scale": (Gvk("autoscaling", "v1", "Scale"), _STATUS_VERBS),
        "status": (gvk, _STATUS_VERBS),
        "finalize": (gvk, ("update",)),
        "binding": (Gvk("", "v1", "Binding"), ("create",)),
        "eviction": (Gvk("policy", "v1", "Eviction"), ("create",)),
        "token": (Gvk("authentication.k8s.io", "v1", "TokenRequest"), ("create",)),
        "log": (gvk, ("get",)),
        "exec": (Gvk("", "v1", "PodExecOptions"), ("create", "get")),
        "attach": (Gvk("", "v1", "PodAttachOptions"), ("create", "get")),
        "portforward": (Gvk("", "v1", "PodPortForwardOptions"), ("create", "get")),
        "ephemeralcontainers": (gvk, _STATUS_VERBS),
        "resize": (gvk, _STATUS_VERBS),
        "proxy": (Gvk("", "v1", f"{kind}ProxyOptions"), ("create", "delete", "get", "patch", "update")),
    }
    return Resource(
        gvk,
        plural,
        namespaced,
        short,
        ("all",) if all_category else (),
        verbs,
        tuple(Subresource(name, *special[name]) for name in subs),
    )


def _autoscaler(version: str) -> Resource:
    return _resource(
        "autoscaling",
        version,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        short=("hpa",),
        all_category=True,
        subs=("status",),
    )


RESOURCES: Final[tuple[Resource, ...]] = (
    _resource("", "v1", "ConfigMap", "configmaps", short=("cm",)),
    _resource("", "v1", "Endpoints", "endpoints", short=("ep",)),
    _resource("", "v1", "Event", "events", short=("ev",)),
    _resource("", "v1", "LimitRange", "limitranges", short=("limits",)),
    _resource(
        "",
        "v1",
        "Namespace",
        "namespaces",
        namespaced=False,
        short=("ns",),
        verbs=_NO_COLLECTION_DELETE,
        subs=("finalize", "status"),
    ),
    _resource("", "v1", "Node", "nodes", namespaced=False, short=("no",), subs=("status",)),
    _resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",), subs=("status",)),
    _resource("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short=("pv",), subs=("status",)),
    _resource(
        "",
        "v1",
        "Pod",
        "pods",
        short=("po",),
        all_category=True,
        subs=(
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ),
    ),
    _resource("", "v1", "PodTemplate", "podtemplates"),
    _resource(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        short=("rc",),
        all_category=True,
        subs=("scale", "status"),
    ),
    _resource("", "v1", "ResourceQuota", "resourcequotas", short=("quota",), subs=("status",)),
    _resource("", "v1", "Secret", "secrets"),
    _resource("", "v1", "ServiceAccount", "serviceaccounts", short=("sa",), subs=("token",)),
    _resource("", "v1", "Service", "services", short=("svc",), all_category=True, subs=("proxy", "status")),
    _resource("apps", "v1", "ControllerRevision", "controllerrevisions"),
    _resource("apps", "v1", "DaemonSet", "daemonsets", short=("ds",), all_category=True, subs=("status",)),
    _resource(
        "apps", "v1", "Deployment", "deployments", short=("deploy",), all_category=True, subs=("scale", "status")
    ),
    _resource("apps", "v1", "ReplicaSet", "replicasets", short=("rs",), all_category=True, subs=("scale", "status")),
    _resource("apps", "v1", "StatefulSet", "statefulsets", short=("sts",), all_category=True, subs=("scale", "status")),
    _resource("events.k8s.io", "v1", "Event", "events", short=("ev",)),
    _autoscaler("v2"),
    _resource("batch", "v1", "CronJob", "cronjobs", short=("cj",), all_category=True, subs=("status",)),
    _resource("batch", "v1", "Job", "jobs", all_category=True, subs=("status",)),
    _resource("networking.k8s.io", "v1", "IPAddress", "ipaddresses", namespaced=False, short=("ip",)),
    _resource("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", namespaced=False, subs=("status",)),
    _resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short=("pdb",), subs=("status",)),
    _resource("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _resource("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False),
    _resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    _resource("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    _resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False, short=("sc",)),
    _resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False, short=("pc",)),
    _resource("coordination.k8s.io", "v1", "Lease", "leases"),
    _resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
)
"""In the priority order of groups, alphabetical inside one; each kind in its preferred version."""

OTHER_VERSIONS: Final[tuple[Resource, ...]] = (_autoscaler("v1"),)
"""Further views of kinds of `RESOURCES`: the same objects, written otherwise."""

METRICS: Final[tuple[Resource, ...]] = (
    Resource(Gvk("metrics.k8s.io", "v1beta1", "NodeMetrics"), "nodes", False, verbs=("get", "list")),
    Resource(Gvk("metrics.k8s.io", "v1beta1", "PodMetrics"), "pods", True, verbs=("get", "list")),
)
"""What nodes and pods use right now: asked of the nodes, never stored."""

BY_GVK: Final = {resource.gvk: resource for resource in (*RESOURCES, *OTHER_VERSIONS)}
BY_PATH: Final = {
    (resource.group, resource.version, resource.plural): resource for resource in (*RESOURCES, *OTHER_VERSIONS)
}


_BY_KIND: Final = {(resource.kind, resource.group): resource for resource in reversed(RESOURCES)}  # the first wins


def find(kind: str, group: str = "") -> Resource:
    """Return the resource of a kind this engine serves, such as `find("StatefulSet", "apps")`; raises KeyError."""
    found = _BY_KIND.get((kind, group))
    if found is None:
        raise KeyError(f"{kind}.{group}")
    return found
