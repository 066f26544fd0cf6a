"""What may change in a pod that exists (node 2.5, 3.4, 11.5; api-machinery 7.4)."""

from typing import Any, Final

from homeport.api.qos import qos_class
from homeport.api.validation import addresses, names
from homeport.api.validation.differences import difference
from homeport.api.validation.errors import FieldError, GoStruct, forbidden, refused
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update
from homeport.api.validation.pod_annotations import (
    MIRROR,
    validate_pod_annotations,
    validate_pod_annotations_update,
)
from homeport.api.validation.pods import pod_only, validate_pod_spec

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
_COUNTED: Final = ("cpu", "memory")
_FREE: Final = ("activeDeadlineSeconds", "tolerations", "schedulingGates")


def validate_pod_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to the pod itself: images, deadline, added tolerations, removed gates, nothing else."""
    after, before = new["spec"], old["spec"]
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += validate_metadata(new["metadata"], name_rule=names.dns1123_subdomain)
    annotations, had = new["metadata"].get("annotations", {}), old["metadata"].get("annotations", {})
    errors += validate_pod_annotations(annotations, after, "metadata.annotations")
    errors += validate_pod_spec(after, "spec") + pod_only(after)
    errors += validate_pod_annotations_update(annotations, had, after)
    for group in ("containers", "initContainers"):
        if len(after.get(group) or ()) != len(before.get(group) or ()):
            errors.append(forbidden(f"spec.{group}", "pod updates may not add or remove containers"))
            return errors
    deadline = _deadline(after, before)
    errors += deadline
    if deadline and after.get("activeDeadlineSeconds") is not None:
        return errors
    errors += _tolerations(after.get("tolerations", []), before.get("tolerations", []))
    errors += _gates(after, before)
    gated = bool(before.get("schedulingGates"))
    if gated:
        errors += _node_selector(after.get("nodeSelector", {}), before.get("nodeSelector", {}))
    munged = _with_allowed_changes_undone(after, before, gated)
    if munged != before:
        errors.append(forbidden("spec", f"{_FROZEN}\n{difference('PodSpec', before, munged)}"))
    return errors


def _node_selector(after: dict[str, str], before: dict[str, str]) -> list[FieldError]:
    """A gated pod may be narrowed, never widened."""
    if all(after.get(key) == value for key, value in before.items()):
        return []
    text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    return [refused("spec.nodeSelector", after, text)]


def _with_allowed_changes_undone(after: Tree, before: Tree, gated: bool) -> Tree:
    """Return the new spec with everything an update may change as it was."""
    out = dict(after)
    for group in ("containers", "initContainers"):
        if group in out:
            pairs = zip(out[group] or (), before.get(group) or (), strict=True)
            out[group] = [{**container, "image": old.get("image", "")} for container, old in pairs]
    free = [*_FREE]
    if before.get("terminationGracePeriodSeconds", 0) < 0 and after.get("terminationGracePeriodSeconds") == 1:
        free.append("terminationGracePeriodSeconds")
    if gated:
        free.append("nodeSelector")
        affinity = {key: value for key, value in out.pop("affinity", {}).items() if key != "nodeAffinity"}
        if "nodeAffinity" in before.get("affinity", {}):
            affinity["nodeAffinity"] = before["affinity"]["nodeAffinity"]
        if affinity:
            out["affinity"] = affinity
    for field in free:
        if field in before:
            out[field] = before[field]
        else:
            out.pop(field, None)
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
    return [
        forbidden(
            f"spec.schedulingGates[{index}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for index, gate in enumerate(after.get("schedulingGates", ()))
        if gate.get("name") not in known
    ]


def _tolerations(after: list[Tree], before: list[Tree]) -> list[FieldError]:
    """Each old toleration must still be there; only its seconds may differ."""
    plain = [{key: value for key, value in t.items() if key != "tolerationSeconds"} for t in after]
    for old in before:
        if {key: value for key, value in old.items() if key != "tolerationSeconds"} not in plain:
            text = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden("spec.tolerations", text)]
    return []


def validate_pod_status(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to the status subresource: addresses, and that a container that ended for good stays so."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    after, before = new.get("status", {}), old.get("status", {})
    restart = new["spec"].get("restartPolicy", "")
    for group in ("containerStatuses", "initContainerStatuses"):
        errors += _ended_stay_ended(
            after.get(group, []), before.get(group, []), restart, f"status.{group}", new["spec"]
        )
    for field, type_name in (("podIPs", "core.v1.PodIP"), ("hostIPs", "core.v1.HostIP")):
        errors += _address_list(after.get(field, []), type_name, f"status.{field}")
    if before.get("qosClass") and after.get("qosClass") and after["qosClass"] != before["qosClass"]:
        errors.append(refused("status.qosClass", after["qosClass"], "field is immutable"))
    return errors


def _address_list(listed: list[Tree], type_name: str, path: str) -> list[FieldError]:
    errors = [
        refused(f"{path}[{index}]", address.get("ip", ""), problem)
        for index, address in enumerate(listed)
        for problem in addresses.ip(address.get("ip", ""))
    ]
    if errors or len(listed) < 2:
        return errors
    if len({addresses.family(address["ip"]) for address in listed}) < len(listed):
        shown = [GoStruct(type_name, address) for address in listed]
        return [refused(path, shown, "may specify no more than one IP for each IP family")]
    return []


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
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    errors += validate_pod_spec(new["spec"], "spec") + pod_only(new["spec"])
    path = "spec.ephemeralContainers"
    if MIRROR in old["metadata"].get("annotations", {}):
        return [forbidden("", "static pods do not support ephemeral containers")]
    now = {container.get("name", ""): container for container in new["spec"].get("ephemeralContainers", ())}
    for container in old["spec"].get("ephemeralContainers", ()):
        name = container.get("name", "")
        if name not in now:
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n'))
        elif now[name] != container:
            changes = difference("EphemeralContainer", container, now[name])
            errors.append(forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n{changes}'))
    return errors


def validate_resize(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to `resize`: cpu and memory only, nothing taken away, the class stays (node 11.5)."""
    if errors := validate_pod_spec(new["spec"], "spec"):
        return errors
    before_class = qos_class(old["spec"])
    if qos_class(new["spec"]) != before_class:
        text = "Pod QOS Class may not change as a result of resizing"
        errors.append(refused("spec", before_class, text))
    other = False
    for group in ("containers", "initContainers"):
        pairs = zip(new["spec"].get(group) or (), old["spec"].get(group) or (), strict=False)
        for index, (after, before) in enumerate(pairs):
            errors += _removed(after["resources"], before["resources"], f"spec.{group}[{index}].resources")
            other |= _uncounted(after["resources"]) != _uncounted(before["resources"])
    if other:
        errors.append(forbidden("spec", "only cpu and memory resources are mutable"))
    return errors


def _removed(after: Tree, before: Tree, path: str) -> list[FieldError]:
    return [
        forbidden(f"{path}.{kind}", f"resource {kind} cannot be removed")
        for kind in ("limits", "requests")
        if any(name not in after.get(kind, {}) for name in before.get(kind, {}) if name in _COUNTED)
    ]


def _uncounted(resources: Tree) -> Tree:
    return {
        kind: {name: amount for name, amount in resources.get(kind, {}).items() if name not in _COUNTED}
        for kind in ("limits", "requests")
    }
