"""What the cluster's state adds to an object or holds against it, before validation (api-machinery 21)."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeport import ids
from homeport.api import quotas
from homeport.api.exchange import User
from homeport.api.resources import find
from homeport.errors import Cause
from homeport.server import failures
from homeport.server.ceilings import LimitRanger, QuotaKeeper
from homeport.server.escalation import Escalation
from homeport.server.objects import Codec, Tree
from homeport.server.services import Services

__all__ = ["Admission", "Attempt"]

_IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS: Final = 3607
_TAINTS: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who tries to write what, and where."""

    codec: Codec
    namespace: str | None
    user: User
    dry_run: bool


class Admission:
    """The plugins in upstream's order; each can be left out by settings."""

    def __init__(self, services: Services, escalation: Escalation | None) -> None:
        self._services, self._escalation = services, escalation
        self._off = services.settings.disabled_admission
        self._namespaces = services.codec(find("Namespace"))
        self._accounts = services.codec(find("ServiceAccount"))
        self._classes = services.codec(find("StorageClass", "storage.k8s.io"))
        self._limits, self._quotas = LimitRanger(services), QuotaKeeper(services)
        self._priorities = services.codec(find("PriorityClass", "scheduling.k8s.io"))

    async def create(self, attempt: Attempt, tree: Tree) -> None:
        """Run the plugins for a create, in place. Raises NotFound, Forbidden."""
        resource = attempt.codec.resource
        if attempt.namespace is not None and resource.namespaced and self._on("NamespaceLifecycle"):
            self._lifecycle(attempt, tree)
        if resource.group:
            self._no_escalation(attempt, tree)
            if resource is self._priorities.resource and self._on("Priority"):
                self._one_default_priority(attempt, tree)
            return
        if resource.kind == "Node" and self._on("TaintNodesByCondition"):
            _taint(tree["spec"])
        elif resource.kind == "Pod":
            if self._on("LimitRanger") and attempt.namespace is not None:
                self._limits.mutate(attempt.namespace, tree)
            if self._on("ServiceAccount"):
                self._service_account(attempt, tree)
            if self._on("Priority"):
                self._priority(attempt, tree)
            if self._on("DefaultTolerationSeconds"):
                _tolerations(tree["spec"])
        elif resource.kind == "PersistentVolumeClaim" and self._on("DefaultStorageClass"):
            self._default_class(tree["spec"])

    async def validate(self, attempt: Attempt, new: Tree, old: Tree | None = None) -> None:
        """Run the plugins that look at a valid object last: limits, then quotas. Raises Forbidden."""
        resource, namespace = attempt.codec.resource, attempt.namespace
        if namespace is None or not resource.namespaced:
            return
        limited = resource.group_resource == "persistentvolumeclaims" or (
            resource.group_resource == "pods" and (old is None or quotas.is_resize(new, old))
        )
        leaving = old is not None and "deletionTimestamp" in old["metadata"]
        if limited and not leaving and self._on("LimitRanger"):
            self._limits.validate(resource, namespace, new)
        if self._on("ResourceQuota"):
            await self._quotas.admit(resource, namespace, new, old, dry_run=attempt.dry_run)

    async def update(self, attempt: Attempt, new: Tree, old: Tree) -> None:
        """Run the plugins for an update, in place. Raises Forbidden."""
        resource = attempt.codec.resource
        if resource.group:
            self._no_escalation(attempt, new)
            if resource is self._priorities.resource and self._on("Priority"):
                self._one_default_priority(attempt, new)
            return
        if resource.kind == "Pod" and self._on("DefaultTolerationSeconds"):
            _tolerations(new["spec"])
        elif resource.kind == "PersistentVolumeClaim" and self._on("PersistentVolumeClaimResize"):
            self._claim_resize(attempt, new, old)

    def delete(self, attempt: Attempt, name: str) -> None:
        """Refuse the deletion of namespaces the cluster cannot do without (8.11)."""
        resource = attempt.codec.resource
        if resource.kind == "Namespace" and name in _IMMORTAL and self._on("NamespaceLifecycle"):
            raise failures.forbidden(resource, name, "this namespace may not be deleted")

    def _no_escalation(self, attempt: Attempt, tree: Tree) -> None:
        if self._escalation is not None:
            self._escalation.check(attempt.codec.resource, attempt.namespace, attempt.user, tree)

    def _on(self, plugin: str) -> bool:
        return plugin not in self._off

    def _lifecycle(self, attempt: Attempt, tree: Tree) -> None:
        namespace = attempt.namespace
        assert namespace is not None
        found = self._services.storage.find(self._namespaces, None, namespace)
        if found is None:
            raise failures.not_found(self._namespaces.resource, namespace)
        if "deletionTimestamp" in found.tree["metadata"]:
            raise failures.forbidden(
                attempt.codec.resource,
                _name(tree),
                f"unable to create new content in namespace {namespace} because it is being terminated",
                (Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"),),
            )

    def _service_account(self, attempt: Attempt, tree: Tree) -> None:
        spec, namespace = tree["spec"], attempt.namespace
        if "kubernetes.io/config.mirror" in (tree["metadata"].get("annotations") or {}):
            return
        name = spec.get("serviceAccountName") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = self._services.storage.find(self._accounts, namespace, name)
        if account is None:
            raise failures.forbidden(
                attempt.codec.resource,
                _name(tree),
                f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found',
            )
        automount = spec.get("automountServiceAccountToken")
        if automount is None:
            automount = account.tree.get("automountServiceAccountToken")
        if automount is not False:
            _mount_token(spec, self._services.rng)
        if not spec.get("imagePullSecrets") and account.tree.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(each) for each in account.tree["imagePullSecrets"]]

    def _priority(self, attempt: Attempt, tree: Tree) -> None:
        """Resolve the priority class, or the default one; without any the priority is 0 (21.9)."""
        spec = tree["spec"]
        name = spec.get("priorityClassName", "")
        found = self._services.storage.find(self._priorities, None, name) if name else None
        if name and found is None:
            raise failures.forbidden(
                attempt.codec.resource, _name(tree), f"no PriorityClass with name {name} was found"
            )
        chosen = found.tree if found is not None else self._default_priority()
        if chosen is not None and not name:
            spec["priorityClassName"] = chosen["metadata"]["name"]
        value = 0 if chosen is None else chosen.get("value", 0)
        policy = "PreemptLowerPriority" if chosen is None else chosen.get("preemptionPolicy", "PreemptLowerPriority")
        _computed(attempt, tree, "integer value of priority", "priority", value)
        _computed(attempt, tree, "string value of PreemptionPolicy", "preemptionPolicy", policy)

    def _default_priority(self) -> Tree | None:
        """Return the class of pods that name none: of several the lowest."""
        scan = self._services.hub.cache(self._priorities).scan(self._priorities.prefix)
        marked = [stored.tree for stored in scan if stored.tree.get("globalDefault")]
        return min(marked, key=lambda tree: int(tree.get("value", 0)), default=None)

    def _one_default_priority(self, attempt: Attempt, tree: Tree) -> None:
        present = self._default_priority() if tree.get("globalDefault") else None
        if present is not None and present["metadata"]["name"] != _name(tree):
            name = present["metadata"]["name"]
            why = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise failures.forbidden(attempt.codec.resource, _name(tree), why)

    def _default_class(self, spec: Tree) -> None:
        if spec.get("storageClassName") is not None:
            return
        marked = [
            stored.tree
            for stored in self._services.hub.cache(self._classes).scan(self._classes.prefix)
            if (stored.tree["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
        ]
        if marked:
            newest = max(marked, key=lambda tree: tree["metadata"]["creationTimestamp"])
            same = [t for t in marked if t["metadata"]["creationTimestamp"] == newest["metadata"]["creationTimestamp"]]
            spec["storageClassName"] = min(tree["metadata"]["name"] for tree in same)

    def _claim_resize(self, attempt: Attempt, new: Tree, old: Tree) -> None:
        from homeport.api.quantity import parse_quantity

        wanted, had = (tree["spec"].get("resources", {}).get("requests", {}).get("storage") for tree in (new, old))
        if not wanted or not had or parse_quantity(wanted) <= parse_quantity(had):
            return
        if old.get("status", {}).get("phase") != "Bound":
            return
        name = old["spec"].get("storageClassName")
        found = self._services.storage.find(self._classes, None, name) if name else None
        if found is None or not found.tree.get("allowVolumeExpansion"):
            raise failures.forbidden(
                attempt.codec.resource,
                new["metadata"]["name"],
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize",
            )


def _name(tree: Tree) -> str:
    """Return what a refusal calls an object: names are generated only after admission."""
    metadata = tree["metadata"]
    return str(metadata.get("name") or metadata.get("generateName") or "")


def _mount_token(spec: Tree, rng: random.Random) -> None:
    """Add the projected token volume and mount it wherever its path is free (21.3)."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    open_to_it = [
        each
        for each in containers
        if all(mount.get("mountPath") != _MOUNT_PATH for mount in each.get("volumeMounts") or ())
    ]
    if not open_to_it:
        return
    volume = "kube-api-access-" + ids.suffix(rng)
    for container in open_to_it:
        mount = {"name": volume, "readOnly": True, "mountPath": _MOUNT_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    spec["volumes"] = [*(spec.get("volumes") or ()), {"name": volume, "projected": _token_sources()}]


def _token_sources() -> Tree:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 420,
    }


def _taint(spec: Tree) -> None:
    """A new node takes nothing until somebody finds it ready and takes the taint away."""
    taints = spec.get("taints") or []
    if all(taint.get("key") != _TAINTS[0] for taint in taints):
        spec["taints"] = [*taints, {"key": _TAINTS[0], "effect": "NoSchedule"}]


def _computed(attempt: Attempt, tree: Tree, what: str, field: str, value: int | str) -> None:
    """Set a field that follows from the priority class; a client may only have written the same."""
    given = tree["spec"].setdefault(field, value)
    if given != value:
        raise failures.forbidden(
            attempt.codec.resource,
            _name(tree),
            f"the {what} ({given}) must not be provided in pod spec; priority admission controller computed {value} "
            "from the given PriorityClass name",
        )


def _tolerations(spec: Tree) -> None:
    """Tolerate a node that is away for 300 s, unless the pod says otherwise."""
    present = spec.get("tolerations") or []
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in _TAINTS
        if not any(_covers(toleration, key) for toleration in present)
    ]
    if added:
        spec["tolerations"] = [*present, *added]


def _covers(toleration: Mapping[str, Any], key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")
