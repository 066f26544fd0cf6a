"""Objects for tests: smallest valid ones, and what the server makes of a body."""

import copy
from typing import Any

from homeport.api import decode, strategy
from homeport.api.defaults import apply_defaults
from homeport.api.resources import Gvk
from homeport.api.validation import validate_create, validate_update

Tree = dict[str, Any]

POD = Gvk("", "v1", "Pod")
SERVICE = Gvk("", "v1", "Service")
NODE = Gvk("", "v1", "Node")
CONFIG_MAP = Gvk("", "v1", "ConfigMap")
SECRET = Gvk("", "v1", "Secret")
NAMESPACE = Gvk("", "v1", "Namespace")
EVENT = Gvk("", "v1", "Event")
CLAIM = Gvk("", "v1", "PersistentVolumeClaim")
VOLUME = Gvk("", "v1", "PersistentVolume")
STATEFUL_SET = Gvk("apps", "v1", "StatefulSet")
DEPLOYMENT = Gvk("apps", "v1", "Deployment")
REPLICA_SET = Gvk("apps", "v1", "ReplicaSet")
NEW_EVENT = Gvk("events.k8s.io", "v1", "Event")
SLICE = Gvk("discovery.k8s.io", "v1", "EndpointSlice")
STORAGE_CLASS = Gvk("storage.k8s.io", "v1", "StorageClass")

NOW = 1_800_000_000.0


def pod(**spec: Any) -> Tree:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "a:1"}], **spec}}


def container(**fields: Any) -> Tree:
    return pod(containers=[{"name": "c", "image": "a:1", **fields}])


def workload(**spec: Any) -> Tree:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}
    return {
        "metadata": {"name": "w"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec},
    }


def claim(**spec: Any) -> Tree:
    size = {"requests": {"storage": "1Gi"}}
    return {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": size, **spec}}


def service(**spec: Any) -> Tree:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def decoded(gvk: Gvk, body: Tree) -> Tree:
    """Decode and default a body, as the server does first."""
    tree = decode.decode(gvk, copy.deepcopy(body)).tree
    apply_defaults(gvk, tree)
    return tree


def created(gvk: Gvk, body: Tree) -> Tree:
    """Return the object a create stores, but for what only a server adds."""
    tree = decoded(gvk, body)
    tree["metadata"].setdefault("namespace", "default")
    strategy.prepare_for_create(gvk, tree, now=NOW)
    return tree


def refusals(gvk: Gvk, body: Tree) -> list[str]:
    """Return what is wrong with creating a body."""
    return [str(error) for error in validate_create(gvk, created(gvk, body))]


def updated(gvk: Gvk, old: Tree, body: Tree, subresource: str = "") -> tuple[Tree, list[str]]:
    """Return the object an update leads to, and what is wrong with it."""
    new = decoded(gvk, body)
    new["metadata"].setdefault("namespace", "default")
    strategy.prepare_for_update(gvk, new, old, subresource, now=NOW)
    return new, [str(error) for error in validate_update(gvk, new, old, subresource)]
