"""Rules of StatefulSets, Deployments, ReplicaSets and DaemonSets (workloads 1.2-1.4, 8.1, 9.1, 10)."""

import re
from typing import Any, Final

from homeport.api.selectors import label_selector_from_object
from homeport.api.validation import names
from homeport.api.validation.claims import validate_claim_spec
from homeport.api.validation.errors import FieldError, GoStruct, forbidden, not_supported, refused, required
from homeport.api.validation.metadata import (
    in_schema_order,
    validate_annotations,
    validate_labels,
    validate_metadata,
    validate_metadata_update,
)
from homeport.api.validation.pod_annotations import validate_pod_annotations
from homeport.api.validation.pods import validate_pod_spec
from homeport.api.validation.selectors import validate_label_selector
from homeport.errors import BadRequest

__all__ = [
    "validate_daemon_set",
    "validate_daemon_set_status",
    "validate_daemon_set_update",
    "validate_deployment",
    "validate_deployment_status",
    "validate_deployment_update",
    "validate_replica_set",
    "validate_replica_set_status",
    "validate_replica_set_update",
    "validate_replication_controller",
    "validate_replication_controller_update",
    "validate_stateful_set",
    "validate_stateful_set_status",
    "validate_stateful_set_update",
]

Tree = dict[str, Any]

_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_PERCENT: Final = re.compile("[0-9]+%")
_PERCENT_TEXT: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)
_MUTABLE: Final = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FROZEN: Final = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _not_negative(tree: Tree, fields: tuple[str, ...], path: str) -> list[FieldError]:
    return [refused(f"{path}.{field}", value, _NOT_NEGATIVE) for field in fields if (value := tree.get(field) or 0) < 0]


def _selector(spec: Tree, kind: str) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    errors = validate_label_selector(selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(refused("spec.selector", selector, f"empty selector is invalid for {kind}"))
    return errors


def _mismatch(spec: Tree) -> list[FieldError]:
    """The selector must pick the pods the template makes."""
    labels = (spec["template"].get("metadata") or {}).get("labels", {})
    if _selects(spec.get("selector"), labels):
        return []
    shown = dict(sorted(labels.items())) if labels else None
    text = "`selector` does not match template `labels`"
    return [refused("spec.template.metadata.labels", shown, text)]


def _template_metadata(spec: Tree) -> list[FieldError]:
    metadata = spec["template"].get("metadata") or {}
    errors = validate_labels(metadata.get("labels", {}), "spec.template.labels")
    annotations, path = metadata.get("annotations", {}), "spec.template.annotations"
    errors += validate_annotations(annotations, path)
    return errors + validate_pod_annotations(annotations, spec["template"].get("spec") or {}, path)


def _template(spec: Tree, pod_spec: Tree) -> list[FieldError]:
    """Check the pod template; `pod_spec` is its spec as its pods will have it."""
    errors = _template_metadata(spec) + validate_pod_spec(pod_spec, "spec.template.spec")
    if pod_spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        errors.append(forbidden("spec.template.spec.ephemeralContainers", text))
    return errors


def _runs_forever(spec: Tree, kind: str) -> list[FieldError]:
    """Pods of a workload are restarted and have no deadline."""
    inner, path = spec["template"]["spec"], "spec.template.spec"
    errors: list[FieldError] = []
    if inner.get("restartPolicy") != "Always":
        errors.append(not_supported(f"{path}.restartPolicy", inner.get("restartPolicy", ""), ("Always",)))
    if "activeDeadlineSeconds" in inner:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden(f"{path}.activeDeadlineSeconds", text))
    return errors


def _replica_template(spec: Tree) -> list[FieldError]:
    return _mismatch(spec) + _template(spec, spec["template"]["spec"]) + _runs_forever(spec, "ReplicaSet")


def _selects(selector: Tree | None, labels: dict[str, str]) -> bool:
    """Return whether a selector picks these labels; one that is not valid has been reported as such."""
    try:
        return label_selector_from_object(selector).matches(labels)
    except (BadRequest, KeyError):
        return True


def _int_or_percent(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str):
        return [] if _PERCENT.fullmatch(value) else [refused(path, value, _PERCENT_TEXT)]
    return [refused(path, value, _NOT_NEGATIVE)] if (value or 0) < 0 else []


def _at_most_all(value: int | str | None, path: str) -> list[FieldError]:
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        return [refused(path, value, "must not be greater than 100%")]
    return []


def _is_zero(value: int | str | None) -> bool:
    return value == 0 or (isinstance(value, str) and bool(_PERCENT.fullmatch(value)) and int(value[:-1]) == 0)


# StatefulSet


def validate_stateful_set(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_label)
    return errors + _stateful_set_spec(tree["spec"], creating=True)


def validate_stateful_set_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check an update; a template that was already invalid may stay so, for the object must remain editable."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    tolerant = bool(_stateful_set_spec(old["spec"], creating=False))
    errors += _stateful_set_spec(new["spec"], creating=False, check_template=not tolerant)
    before = {key: value for key, value in old["spec"].items() if key not in _MUTABLE}
    after = {key: value for key, value in new["spec"].items() if key not in _MUTABLE}
    if before != after:
        errors.append(forbidden("spec", _FROZEN))
    return errors


def _stateful_set_spec(spec: Tree, *, creating: bool, check_template: bool = True) -> list[FieldError]:
    errors: list[FieldError] = []
    policy = spec.get("podManagementPolicy", "")
    if not policy:
        errors.append(required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        errors.append(refused("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    errors += _update_strategy(spec["updateStrategy"], "spec.updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        if (value := retention.get(field, "")) not in ("Retain", "Delete"):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
            errors.append(not_supported(path, value, ("Retain", "Delete")))
    if creating:
        for index, claim in enumerate(spec.get("volumeClaimTemplates", ())):
            errors += validate_claim_spec(claim["spec"], f"spec.volumeClaimTemplates[{index}].spec")
    errors += _not_negative(spec, ("replicas", "minReadySeconds"), "spec")
    if "ordinals" in spec:
        errors += _not_negative(spec["ordinals"], ("start",), "spec.ordinals")
    if creating and (name := spec.get("serviceName")):
        errors += [refused("spec.serviceName", name, problem) for problem in names.dns1123_label(name)]
    errors += _selector(spec, "statefulset")
    errors += _mismatch(spec)
    if check_template:
        errors += _template(spec, _pod_spec(spec))
    return errors + _template_metadata(spec) + _runs_forever(spec, "StatefulSet")


def _pod_spec(spec: Tree) -> Tree:
    """Return the template's pod spec as the set's pods have it: claims first among the volumes, names given later."""
    inner: Tree = spec["template"]["spec"]
    claims = [
        {"name": claim["metadata"].get("name", ""), "persistentVolumeClaim": {"claimName": "claim"}}
        for claim in spec.get("volumeClaimTemplates", ())
    ]
    if not claims and "hostname" not in inner and "subdomain" not in inner:
        return inner
    out = {key: value for key, value in inner.items() if key not in ("hostname", "subdomain")}
    if claims:
        taken = {claim["name"] for claim in claims}
        out["volumes"] = claims + [volume for volume in inner.get("volumes", ()) if volume.get("name") not in taken]
    return out


def _update_strategy(strategy: Tree, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if not kind:
        return [required(path)]
    if kind == "OnDelete":
        if rolling is not None:
            shown = GoStruct("apps.v1.RollingUpdateStatefulSetStrategy", rolling)
            return [refused(f"{path}.rollingUpdate", shown, "only allowed for updateStrategy 'RollingUpdate'")]
        return []
    if kind != "RollingUpdate":
        shown = GoStruct("apps.v1.StatefulSetUpdateStrategy", strategy)
        return [refused(path, shown, "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    errors = _not_negative(rolling, ("partition",), f"{path}.rollingUpdate")
    if (unavailable := rolling.get("maxUnavailable")) is not None:
        here = f"{path}.rollingUpdate.maxUnavailable"
        errors += _int_or_percent(unavailable, here)
        if _is_zero(unavailable):
            errors.append(refused(here, unavailable, "cannot be 0"))
        errors += _at_most_all(unavailable, here)
    return errors


def validate_stateful_set_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    status = new.get("status", {})
    counters = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    errors += _not_negative(status, (*counters, "observedGeneration", "collisionCount"), "status")
    errors += _at_most(status, counters[1:], "replicas", "cannot be greater than status.replicas")
    errors += _at_most(status, ("availableReplicas",), "readyReplicas", "cannot be greater than status.readyReplicas")
    return errors + _collisions(status, old.get("status", {}))


# Deployment


def validate_deployment(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _deployment_spec(tree["spec"])


def validate_deployment_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += _deployment_spec(new["spec"])
    return errors + _same_selector(new, old)


def _deployment_spec(spec: Tree) -> list[FieldError]:
    errors = _not_negative(spec, ("replicas",), "spec")
    errors += _selector(spec, "deployment")
    errors += _replica_template(spec)
    errors += _strategy(spec["strategy"], "spec.strategy")
    errors += _not_negative(spec, ("minReadySeconds", "revisionHistoryLimit"), "spec")
    if (deadline := spec.get("progressDeadlineSeconds")) is not None:
        errors += _not_negative(spec, ("progressDeadlineSeconds",), "spec")
        if deadline <= spec.get("minReadySeconds", 0):
            errors.append(refused("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return errors


def _strategy(strategy: Tree, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            return [forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")]
        return []
    if kind != "RollingUpdate":
        return [not_supported(f"{path}.type", kind, ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
    here = f"{path}.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    errors = _int_or_percent(unavailable, f"{here}.maxUnavailable") + _int_or_percent(surge, f"{here}.maxSurge")
    if _is_zero(unavailable) and _is_zero(surge):
        errors.append(refused(f"{here}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + _at_most_all(unavailable, f"{here}.maxUnavailable")


def validate_deployment_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    status = new.get("status", {})
    counters = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
    errors += _not_negative(
        status, ("observedGeneration", *counters, "terminatingReplicas", "collisionCount"), "status"
    )
    errors += _at_most(status, counters[1:4], "replicas", "cannot be greater than status.replicas")
    errors += _at_most(status, ("availableReplicas",), "readyReplicas", "cannot be greater than readyReplicas")
    return errors + _collisions(status, old.get("status", {}))


# ReplicaSet


def validate_replica_set(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _replica_set_spec(tree["spec"])


def validate_replica_set_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += _replica_set_spec(new["spec"])
    return errors + _same_selector(new, old)


def _replica_set_spec(spec: Tree) -> list[FieldError]:
    errors = _not_negative(spec, ("replicas", "minReadySeconds"), "spec")
    errors += _selector(spec, "deployment")
    return errors + _replica_template(spec)


def validate_replica_set_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    status = new.get("status", {})
    counters = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    errors += _not_negative(status, (*counters, "observedGeneration", "terminatingReplicas"), "status")
    errors += _at_most(status, counters[1:], "replicas", "cannot be greater than status.replicas")
    return errors + _at_most(status, ("availableReplicas",), "readyReplicas", "cannot be greater than readyReplicas")


# ReplicationController


def validate_replication_controller(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _replication_controller_spec(tree["spec"])


def validate_replication_controller_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    return errors + _replication_controller_spec(new["spec"])


def _replication_controller_spec(spec: Tree) -> list[FieldError]:
    errors = _not_negative(spec, ("replicas", "minReadySeconds"), "spec")
    if not spec.get("selector"):
        errors.append(required("spec.selector"))
    if spec.get("template") is None:
        return [*errors, required("spec.template")]
    return errors + _replica_template({**spec, "selector": {"matchLabels": spec.get("selector") or {}}})


# DaemonSet


def validate_daemon_set(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _daemon_set_spec(tree["spec"])


def validate_daemon_set_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    return errors + _same_selector(new, old) + _daemon_set_spec(new["spec"])


def validate_daemon_set_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    counters = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    )
    status = new.get("status", {})
    return errors + _not_negative(status, counters, "status") + _collisions(status, old.get("status", {}))


def _daemon_set_spec(spec: Tree) -> list[FieldError]:
    errors = _selector(spec, "daemonset")
    errors += _mismatch(spec) + _template(spec, spec["template"]["spec"]) + _runs_forever(spec, "DaemonSet")
    errors += _not_negative(spec, ("minReadySeconds",), "spec")
    errors += _daemon_strategy(spec["updateStrategy"], "spec.updateStrategy")
    return errors + _not_negative(spec, ("revisionHistoryLimit",), "spec")


def _daemon_strategy(strategy: Tree, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [not_supported(f"{path}.type", kind, ("OnDelete", "RollingUpdate"))]
    if rolling is None:
        return [required(f"{path}.rollingUpdate")]
    here = f"{path}.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    errors = _int_or_percent(unavailable, f"{here}.maxUnavailable") + _int_or_percent(surge, f"{here}.maxSurge")
    errors += _at_most_all(unavailable, f"{here}.maxUnavailable") + _at_most_all(surge, f"{here}.maxSurge")
    if not _is_zero(unavailable) and not _is_zero(surge):
        errors.append(refused(f"{here}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    if _is_zero(unavailable) and _is_zero(surge):
        errors.append(required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return errors


# Shared


def _same_selector(new: Tree, old: Tree) -> list[FieldError]:
    selector = new["spec"].get("selector")
    if selector == old["spec"].get("selector"):
        return []
    shown = in_schema_order("meta.v1.LabelSelector", selector) if selector else selector
    if shown and "matchLabels" in shown:
        shown["matchLabels"] = dict(sorted(shown["matchLabels"].items()))
    return [refused("spec.selector", shown, "field is immutable")]


def _at_most(status: Tree, fields: tuple[str, ...], bound: str, text: str) -> list[FieldError]:
    limit = status.get(bound, 0)
    return [refused(f"status.{field}", value, text) for field in fields if (value := status.get(field) or 0) > limit]


def _collisions(status: Tree, old: Tree) -> list[FieldError]:
    before, after = old.get("collisionCount"), status.get("collisionCount")
    if before is not None and (after is None or after < before):
        return [refused("status.collisionCount", after or 0, "cannot be decremented")]
    return []
