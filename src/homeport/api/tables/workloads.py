"""Rows of workloads, revisions and scales."""

from typing import Final

from homeport.api.tables.cells import (
    AGE,
    NAME,
    NONE,
    Cells,
    Printer,
    Tree,
    age,
    containers,
    labels_text,
    narrow,
    selector_text,
    wide,
)

__all__ = [
    "CONTROLLER_REVISION",
    "DAEMON_SET",
    "DEPLOYMENT",
    "POD_TEMPLATE",
    "REPLICATION_CONTROLLER",
    "REPLICA_SET",
    "SCALE",
    "STATEFUL_SET",
]


def _stateful_set(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    names, images = containers(spec["template"]["spec"])
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [tree["metadata"].get("name", ""), ready, age(tree, now), names, images]


def _deployment(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    names, images = containers(spec["template"]["spec"])
    return [
        tree["metadata"].get("name", ""),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(tree, now),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _replica_set(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    names, images = containers(spec["template"]["spec"])
    return [
        tree["metadata"].get("name", ""),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(tree, now),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _replication_controller(tree: Tree, now: float) -> Cells:
    selector = tree["spec"].get("selector")
    labels = {"matchLabels": selector} if selector else None
    spec = {"template": {"spec": {}}, **tree["spec"], "selector": labels}  # the template is no required field here
    return _replica_set({**tree, "spec": spec}, now)


def _daemon_set(tree: Tree, now: float) -> Cells:
    spec, status = tree["spec"], tree.get("status", {})
    inner = spec["template"]["spec"]
    names, images = containers(inner)
    nodes = inner.get("nodeSelector") or {}
    return [
        tree["metadata"].get("name", ""),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        ",".join(f"{name}={value}" for name, value in sorted(nodes.items())) or NONE,
        age(tree, now),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _pod_template(tree: Tree, now: float) -> Cells:
    template = tree["template"]
    names, images = containers(template["spec"])
    return [
        tree["metadata"].get("name", ""),
        names,
        images,
        labels_text((template.get("metadata") or {}).get("labels")),
    ]


def _controller_revision(tree: Tree, now: float) -> Cells:
    return [tree["metadata"].get("name", ""), _controller(tree), tree.get("revision", 0), age(tree, now)]


def _controller(tree: Tree) -> str:
    """Return `statefulset.apps/web` for the owner that controls the object."""
    for owner in tree["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner.get("kind", "").lower()
            return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"
    return NONE


def _scale(tree: Tree, now: float) -> Cells:
    desired, current = tree.get("spec", {}).get("replicas", 0), tree.get("status", {}).get("replicas", 0)
    return [tree["metadata"].get("name", ""), desired, current, age(tree, now)]


STATEFUL_SET: Final = Printer((NAME, narrow("Ready"), AGE, wide("Containers"), wide("Images")), _stateful_set)
DEPLOYMENT: Final = Printer(
    (
        NAME,
        narrow("Ready"),
        narrow("Up-to-date"),
        narrow("Available"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ),
    _deployment,
)
REPLICA_SET: Final = Printer(
    (
        NAME,
        narrow("Desired", "integer"),
        narrow("Current", "integer"),
        narrow("Ready", "integer"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ),
    _replica_set,
)
REPLICATION_CONTROLLER: Final = Printer(REPLICA_SET.columns, _replication_controller)
DAEMON_SET: Final = Printer(
    (
        NAME,
        narrow("Desired", "integer"),
        narrow("Current", "integer"),
        narrow("Ready", "integer"),
        narrow("Up-to-date", "integer"),
        narrow("Available", "integer"),
        narrow("Node Selector"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ),
    _daemon_set,
)
POD_TEMPLATE: Final = Printer((NAME, narrow("Containers"), narrow("Images"), narrow("Pod Labels")), _pod_template)
CONTROLLER_REVISION: Final = Printer((NAME, narrow("Controller"), narrow("Revision"), AGE), _controller_revision)
SCALE: Final = Printer((narrow("Name"), narrow("Desired", "integer"), narrow("Available", "integer"), AGE), _scale)
