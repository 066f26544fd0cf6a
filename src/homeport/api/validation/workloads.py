"""Rules of StatefulSets, Deployments, ReplicaSets and DaemonSets (workloads 1.2-1.4, 8.1, 9.1, 10)."""

from typing import Any, Final

from homeport.api.validation import names
from homeport.api.validation.claims import validate_claim_spec
from homeport.api.validation.common import (
    at_most,
    at_most_all,
    collisions,
    int_or_percent,
    is_zero,
    mismatch,
    not_negative,
    pod_template,
    runs_forever,
    same_selector,
    template_metadata,
)
from homeport.api.validation.errors import FieldError, GoStruct, forbidden, not_supported, refused, required
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.selectors import validate_label_selector

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


def _selector(spec: Tree, kind: str) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    errors = validate_label_selector(selector, "spec.selector")
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(refused("spec.selector", selector, f"empty selector is invalid for {kind}"))
    return errors


def _replica_template(spec: Tree) -> list[FieldError]:
    return (
        mismatch(spec)
        + pod_template(spec["template"], "spec.template")
        + runs_forever(spec["template"]["spec"], "spec.template.spec", "ReplicaSet")
    )


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
    errors += not_negative(spec, ("replicas", "minReadySeconds"), "spec")
    if "ordinals" in spec:
        errors += not_negative(spec["ordinals"], ("start",), "spec.ordinals")
    if creating and (name := spec.get("serviceName")):
        errors += [refused("spec.serviceName", name, problem) for problem in names.dns1123_label(name)]
    errors += _selector(spec, "statefulset")
    errors += mismatch(spec)
    if check_template:
        errors += pod_template(spec["template"], "spec.template", _pod_spec(spec))
    return (
        errors
        + template_metadata(spec["template"], "spec.template")
        + runs_forever(spec["template"]["spec"], "spec.template.spec", "StatefulSet")
    )


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
    errors = not_negative(rolling, ("partition",), f"{path}.rollingUpdate")
    if (unavailable := rolling.get("maxUnavailable")) is not None:
        here = f"{path}.rollingUpdate.maxUnavailable"
        errors += int_or_percent(unavailable, here)
        if is_zero(unavailable):
            errors.append(refused(here, unavailable, "cannot be 0"))
        errors += at_most_all(unavailable, here)
    return errors


def validate_stateful_set_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    status = new.get("status", {})
    counters = ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    errors += not_negative(status, (*counters, "observedGeneration", "collisionCount"), "status")
    errors += at_most(status, counters[1:], "replicas", "cannot be greater than status.replicas")
    errors += at_most(status, ("availableReplicas",), "readyReplicas", "cannot be greater than status.readyReplicas")
    return errors + collisions(status, old.get("status", {}))


# Deployment


def validate_deployment(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _deployment_spec(tree["spec"])


def validate_deployment_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += _deployment_spec(new["spec"])
    return errors + same_selector(new, old)


def _deployment_spec(spec: Tree) -> list[FieldError]:
    errors = not_negative(spec, ("replicas",), "spec")
    errors += _selector(spec, "deployment")
    errors += _replica_template(spec)
    errors += _strategy(spec["strategy"], "spec.strategy")
    errors += not_negative(spec, ("minReadySeconds", "revisionHistoryLimit"), "spec")
    if (deadline := spec.get("progressDeadlineSeconds")) is not None:
        errors += not_negative(spec, ("progressDeadlineSeconds",), "spec")
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
    errors = int_or_percent(unavailable, f"{here}.maxUnavailable") + int_or_percent(surge, f"{here}.maxSurge")
    if is_zero(unavailable) and is_zero(surge):
        errors.append(refused(f"{here}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + at_most_all(unavailable, f"{here}.maxUnavailable")


def validate_deployment_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    status = new.get("status", {})
    counters = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
    errors += not_negative(status, ("observedGeneration", *counters, "terminatingReplicas", "collisionCount"), "status")
    errors += at_most(status, counters[1:4], "replicas", "cannot be greater than status.replicas")
    errors += at_most(status, ("availableReplicas",), "readyReplicas", "cannot be greater than readyReplicas")
    return errors + collisions(status, old.get("status", {}))


# ReplicaSet


def validate_replica_set(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _replica_set_spec(tree["spec"])


def validate_replica_set_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += _replica_set_spec(new["spec"])
    return errors + same_selector(new, old)


def _replica_set_spec(spec: Tree) -> list[FieldError]:
    errors = not_negative(spec, ("replicas", "minReadySeconds"), "spec")
    errors += _selector(spec, "deployment")
    return errors + _replica_template(spec)


def validate_replica_set_status(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    status = new.get("status", {})
    counters = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    errors += not_negative(status, (*counters, "observedGeneration", "terminatingReplicas"), "status")
    errors += at_most(status, counters[1:], "replicas", "cannot be greater than status.replicas")
    return errors + at_most(status, ("availableReplicas",), "readyReplicas", "cannot be greater than readyReplicas")


# ReplicationController


def validate_replication_controller(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _replication_controller_spec(tree["spec"])


def validate_replication_controller_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    return errors + _replication_controller_spec(new["spec"])


def _replication_controller_spec(spec: Tree) -> list[FieldError]:
    errors = not_negative(spec, ("replicas", "minReadySeconds"), "spec")
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
    return errors + same_selector(new, old) + _daemon_set_spec(new["spec"])


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
    return errors + not_negative(status, counters, "status") + collisions(status, old.get("status", {}))


def _daemon_set_spec(spec: Tree) -> list[FieldError]:
    errors = _selector(spec, "daemonset")
    errors += (
        mismatch(spec)
        + pod_template(spec["template"], "spec.template")
        + runs_forever(spec["template"]["spec"], "spec.template.spec", "DaemonSet")
    )
    errors += not_negative(spec, ("minReadySeconds",), "spec")
    errors += _daemon_strategy(spec["updateStrategy"], "spec.updateStrategy")
    return errors + not_negative(spec, ("revisionHistoryLimit",), "spec")


def _daemon_strategy(strategy: Tree, path: str) -> list[FieldError]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = GoStruct("apps.v1.DaemonSetUpdateStrategy", strategy)
        return [not_supported(path, shown, ("RollingUpdate", "OnDelete"))]
    if rolling is None:
        return [required(f"{path}.rollingUpdate")]
    here = f"{path}.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    errors = int_or_percent(unavailable, f"{here}.maxUnavailable") + int_or_percent(surge, f"{here}.maxSurge")
    errors += at_most_all(unavailable, f"{here}.maxUnavailable") + at_most_all(surge, f"{here}.maxSurge")
    if not is_zero(unavailable) and not is_zero(surge):
        errors.append(refused(f"{here}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    if is_zero(unavailable) and is_zero(surge):
        errors.append(required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return errors
