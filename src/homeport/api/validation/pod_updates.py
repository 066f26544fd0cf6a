"""What may change in a pod that exists (node 2.5, 3.4, 11.5; api-machinery 7.4)."""

from typing import Any, Final

from homeport.api.qos import qos_class
from homeport.api.validation.errors import FieldError, forbidden, refused
from homeport.api.validation.metadata import validate_metadata_update
from homeport.api.validation.pods import validate_pod_spec

__all__ = [
    "validate_ephemeral_update",
    "validate_pod_status",
    "validate_pod_update",
    "validate_resize",
]

Tree = dict[str, Any]

_FROZEN: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FREE: Final = ("activeDeadlineSeconds", "tolerations", "schedulingGates")


def validate_pod_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to the pod itself: images, deadline, added tolerations, removed gates, nothing else."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    after, before = new["spec"], old["spec"]
    errors += validate_pod_spec(after, "spec")
    for group, what in (("containers", "containers"), ("initContainers", "init containers")):
        if len(after.get(group) or ()) != len(before.get(group) or ()):
            errors.append(forbidden(f"spec.{group}", f"pod updates may not add or remove {what}"))
            return errors
    errors += _deadline(after, before)
    gated = bool(before.get("schedulingGates"))
    errors += _gates(after, before)
    errors += _tolerations(after.get("tolerations", []), before.get("tolerations", []))
    if errors:
        return errors
    if _frozen_part(after, before, gated) != _frozen_part(before, before, gated):
        errors.append(forbidden("spec", _FROZEN))
    return errors


def _frozen_part(spec: Tree, before: Tree, gated: bool) -> Tree:
    """Return what an update may not touch, with the parts it may taken out."""
    out = {key: value for key, value in spec.items() if key not in _FREE}
    for group in ("containers", "initContainers"):
        if group in out:
            out[group] = [{key: value for key, value in c.items() if key != "image"} for c in out[group] or ()]
    grace = before.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        out["terminationGracePeriodSeconds"] = grace
    if gated:
        kept = before.get("nodeSelector", {})
        if all(spec.get("nodeSelector", {}).get(key) == value for key, value in kept.items()):
            out["nodeSelector"] = kept  # a gated pod may be narrowed, never widened
        out.pop("affinity", None)
        if not kept:
            out.pop("nodeSelector", None)
    return out


def _deadline(after: Tree, before: Tree) -> list[FieldError]:
    now, was = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if now is None:
        return [refused(path, now, "must not update from a positive integer to nil value")] if was is not None else []
    if was is not None and now > was:
        return [refused(path, now, "must be less than or equal to previous value")]
    return []


def _gates(after: Tree, before: Tree) -> list[FieldError]:
    known = {gate.get("name") for gate in before.get("schedulingGates", ())}
    added = [g.get("name", "") for g in after.get("schedulingGates", ()) if g.get("name") not in known]
    if added:
        text = f"only deletion is allowed, but found new scheduling gate '{added[0]}'"
        return [forbidden("spec.schedulingGates", text)]
    return []


def _tolerations(after: list[Tree], before: list[Tree]) -> list[FieldError]:
    """Each old toleration must still be there; only its seconds may differ."""
    plain = [{key: value for key, value in t.items() if key != "tolerationSeconds"} for t in after]
    for old in before:
        if {key: value for key, value in old.items() if key != "tolerationSeconds"} not in plain:
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden("spec.tolerations", text)]
    return []


def validate_pod_status(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to the status subresource: restart counts never fall, a bound pod stays where it is."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    after, before = new.get("status", {}), old.get("status", {})
    if (nominated := after.get("nominatedNodeName")) is not None and nominated == "":
        return errors
    restart = new["spec"].get("restartPolicy", "")
    for group in ("containerStatuses", "initContainerStatuses"):
        errors += _ended_stay_ended(
            after.get(group, []), before.get(group, []), restart, f"status.{group}", new["spec"]
        )
    if before.get("qosClass") and after.get("qosClass") and after["qosClass"] != before["qosClass"]:
        errors.append(refused("status.qosClass", after["qosClass"], "field is immutable"))
    return errors


def _ended_stay_ended(after: list[Tree], before: list[Tree], restart: str, path: str, spec: Tree) -> list[FieldError]:
    """A container that ended for good may not turn into one that did not."""
    if restart == "Always":
        return []
    own_policy = {c["name"]: c.get("restartPolicy") for c in spec.get("initContainers", ())}
    now = {status.get("name"): (index, status) for index, status in enumerate(after)}
    errors: list[FieldError] = []
    for index, status in enumerate(before):
        ended = status.get("state", {}).get("terminated")
        if ended is None or own_policy.get(status.get("name", "")) == "Always":
            continue
        if ended.get("exitCode", 0) != 0 and restart == "OnFailure":
            continue
        found = now.get(status.get("name"))
        if found is not None and found[1].get("state", {}).get("terminated") is None:
            text = "may not be transitioned to non-terminated state"
            errors.append(forbidden(f"{path}[{index}].state", text))
    return errors


def validate_ephemeral_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to `ephemeralcontainers`: existing ones neither change nor go (node 3.4)."""
    errors = validate_pod_spec(new["spec"], "spec")
    path = "spec.ephemeralContainers"
    if "kubernetes.io/config.mirror" in new["metadata"].get("annotations", {}):
        errors.append(forbidden("", "static pods do not support ephemeral containers"))
    now = {container.get("name", ""): container for container in new["spec"].get("ephemeralContainers", ())}
    for container in old["spec"].get("ephemeralContainers", ()):
        name = container.get("name", "")
        if name not in now:
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif now[name] != container:
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n'))
    return errors


def validate_resize(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to `resize`: cpu and memory only, the quality-of-service class stays (node 11.5)."""
    errors = validate_pod_spec(new["spec"], "spec")
    if qos_class(new["spec"]) != qos_class(old["spec"]):
        shown = qos_class(new["spec"])
        errors.append(refused("spec", shown, "Pod QOS Class may not change as a result of resizing"))
    for group in ("containers", "initContainers"):
        for index, (after, before) in enumerate(
            zip(new["spec"].get(group) or (), old["spec"].get(group) or (), strict=False)
        ):
            errors += _resized(after["resources"], before["resources"], f"spec.{group}[{index}].resources")
    return errors


def _resized(after: Tree, before: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for kind in ("limits", "requests"):
        now, was = after.get(kind, {}), before.get(kind, {})
        errors += [
            forbidden(f"{path}.{kind}", f"resource {kind} cannot be removed")
            for name in was
            if name in ("cpu", "memory") and name not in now
        ]
        if any(now.get(name) != was.get(name) for name in now.keys() | was.keys() if name not in ("cpu", "memory")):
            errors.append(forbidden(path, "only cpu and memory resources are mutable"))
    return errors
