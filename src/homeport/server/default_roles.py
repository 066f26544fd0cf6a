"""The roles and bindings every cluster starts with (api-machinery 20.10)."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from homeport.server.objects import Tree

__all__ = ["default_roles"]

_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
_ALL: Final = (*_WRITE, *_READ)
_PUBLIC: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY: Final = (
    "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
    "/version/",
)  # fmt: skip
_AUTHENTICATED: Final = "system:authenticated"


def _rule(verbs: Sequence[str], groups: Sequence[str], resources: Sequence[str]) -> Tree:
    return {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}


def _paths(*paths: str, verbs: Sequence[str] = ("get",)) -> Tree:
    return {"verbs": list(verbs), "nonResourceURLs": list(paths)}


_SEEN: Final = [
    _rule(
        _READ,
        [""],
        [
            "configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "pods/log",
            "pods/status", "replicationcontrollers", "replicationcontrollers/scale", "replicationcontrollers/status",
            "services", "services/status", "serviceaccounts", "bindings", "events", "namespaces", "limitranges",
            "resourcequotas", "resourcequotas/status",
        ],
    ),
    _rule(
        _READ,
        ["apps"],
        [
            "controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
            "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
            "statefulsets/scale", "statefulsets/status",
        ],
    ),
    _rule(_READ, ["autoscaling"], ["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    _rule(_READ, ["metrics.k8s.io"], ["nodes", "pods"]),
    _rule(_READ, ["batch"], ["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
    _rule(_READ, ["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    _rule(_READ, ["discovery.k8s.io"], ["endpointslices"]),
    _rule(_READ, ["events.k8s.io"], ["events"]),
]  # fmt: skip
_EDITED: Final = [
    _rule(_READ, [""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"]),
    _rule(
        _WRITE,
        [""],
        [
            "configmaps", "events", "persistentvolumeclaims", "pods", "pods/attach", "pods/exec", "pods/portforward",
            "pods/proxy", "replicationcontrollers", "replicationcontrollers/scale", "secrets", "serviceaccounts",
            "services", "services/proxy",
        ],
    ),
    _rule(["create"], [""], ["pods/eviction", "serviceaccounts/token"]),
    _rule(
        _WRITE,
        ["apps"],
        [
            "daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
            "statefulsets/scale",
        ],
    ),
    _rule(_WRITE, ["autoscaling"], ["horizontalpodautoscalers"]),
    _rule(_WRITE, ["batch"], ["cronjobs", "jobs"]),
    _rule(_WRITE, ["policy"], ["poddisruptionbudgets"]),
    _rule(_ALL, ["coordination.k8s.io"], ["leases"]),
]  # fmt: skip
_ADMINISTERED: Final = [
    _rule(_ALL, ["rbac.authorization.k8s.io"], ["rolebindings", "roles"]),
    _rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
]

_ROLES: Final[dict[str, list[Any]]] = {
    "cluster-admin": [_rule(["*"], ["*"], ["*"]), _paths("*", verbs=("*",))],
    "admin": [*_SEEN, *_EDITED, *_ADMINISTERED],
    "edit": [*_SEEN, *_EDITED],
    "view": _SEEN,
    "system:basic-user": [
        _rule(["create"], ["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        _rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
    ],
    "system:discovery": [_paths(*_DISCOVERY), _paths("/.well-known", "/.well-known/*")],
    "system:public-info-viewer": [_paths(*_PUBLIC)],
    "system:service-account-issuer-discovery": [
        _paths("/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks")
    ],
    "system:auth-delegator": [
        _rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
        _rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]),
    ],
}
_BINDINGS: Final[dict[str, tuple[str, ...]]] = {
    "cluster-admin": ("system:masters",),
    "system:basic-user": (_AUTHENTICATED,),
    "system:discovery": (_AUTHENTICATED,),
    "system:public-info-viewer": (_AUTHENTICATED, "system:unauthenticated"),
    "system:service-account-issuer-discovery": ("system:serviceaccounts",),
}


def default_roles() -> Iterator[tuple[str, Tree]]:
    """Yield kind and object of each role and binding, roles first."""
    for name, rules in _ROLES.items():
        yield "ClusterRole", {"metadata": _metadata(name), "rules": rules}
    for name, groups in _BINDINGS.items():
        subjects = [{"kind": "Group", "name": group} for group in groups]
        yield (
            "ClusterRoleBinding",
            {
                "metadata": _metadata(name),
                "roleRef": {"kind": "ClusterRole", "name": name},
                "subjects": subjects,
            },
        )


def _metadata(name: str) -> Tree:
    return {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
