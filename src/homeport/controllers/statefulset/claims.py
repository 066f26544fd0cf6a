"""The claims of a set's pods: their names, what they are made from, and who owns them.

Retention is nothing but owner references, enforced by the garbage collector. Source: `workloads` 6.
"""

from collections.abc import Iterator, Mapping

from homeport.api.owners import Owner
from homeport.controllers.statefulset.model import Claim, ClaimTemplate, NewClaim, OwnerChange, Pod, StatefulSet

__all__ = ["blocked", "claim_name", "is_stale", "missing", "owner_change", "owner_changes"]


def claim_name(desired: StatefulSet, template: ClaimTemplate, ordinal: int) -> str:
    return f"{template.name}-{desired.name}-{ordinal}"


def missing(desired: StatefulSet, pod: Pod, claims: Mapping[str, Claim]) -> tuple[NewClaim, ...]:
    """Return the claims of `pod` that do not exist."""
    return tuple(
        NewClaim(name, _body(desired, template, name)) for template, name in _names(desired, pod) if name not in claims
    )


def blocked(desired: StatefulSet, pod: Pod, claims: Mapping[str, Claim]) -> tuple[str, ...]:
    """Return the claims of `pod` that are on their way out and cannot be used any more."""
    return tuple(name for _, name in _names(desired, pod) if name in claims and claims[name].terminating)


def is_stale(desired: StatefulSet, pod: Pod, claims: Mapping[str, Claim]) -> bool:
    """Whether a claim still belongs to the pod's previous life and is about to vanish (6.3)."""
    if not desired.retention.delete_when_scaled:
        return False
    return any(
        _is_reference_to(owner, pod.owner) and owner.uid != pod.uid
        for _, name in _names(desired, pod)
        if name in claims
        for owner in claims[name].owners
    )


def owner_changes(desired: StatefulSet, pod: Pod, claims: Mapping[str, Claim]) -> tuple[OwnerChange, ...]:
    """Return what to change, or complain about, for the existing claims of `pod`."""
    return tuple(
        change
        for _, name in _names(desired, pod)
        if name in claims
        for change in (owner_change(desired, pod, claims[name]),)
        if change.changes or change.conflicting
    )


def owner_change(desired: StatefulSet, pod: Pod, claim: Claim) -> OwnerChange:
    """Return how the owners of one claim must change (6.2, safety rules included)."""
    ours = (desired.owner, pod.owner)
    mentioned = [owner for owner in claim.owners if any(_is_reference_to(owner, own) for own in ours)]
    conflicting = _has_foreign_controller(desired, pod, claim)
    if any(owner.uid not in (desired.uid, pod.uid) for owner in mentioned):
        return OwnerChange(claim.name, claim.uid, (), None, conflicting)  # a former life's: not ours to touch
    if conflicting:
        return OwnerChange(claim.name, claim.uid, tuple(mentioned), None, conflicting)
    wanted = _wanted(desired, pod)
    settled = any(owner.uid == wanted.uid and owner.controller for owner in mentioned) if wanted else True
    remove = tuple(owner for owner in mentioned if wanted is None or owner.uid != wanted.uid)
    others = tuple(owner for owner in claim.owners if owner not in mentioned)
    add = None if settled else wanted
    return OwnerChange(claim.name, claim.uid, remove, add, others=others, version=claim.version if add else "")


def _wanted(desired: StatefulSet, pod: Pod) -> Owner | None:
    retention = desired.retention
    if retention.delete_when_scaled and not desired.in_range(pod.ordinal):
        return pod.owner
    return desired.owner if retention.delete_with_set else None


def _has_foreign_controller(desired: StatefulSet, pod: Pod, claim: Claim) -> bool:
    if desired.retention.retains_all:
        return False
    for owner in claim.owners:
        if _is_reference_to(owner, desired.owner):
            if owner.uid != desired.uid:
                return True
        elif _is_reference_to(owner, pod.owner):
            if owner.uid != pod.uid:
                return True
        elif owner.controller:
            return True
    return False


def _is_reference_to(owner: Owner, own: Owner) -> bool:
    return (owner.api_version, owner.kind, owner.name) == (own.api_version, own.kind, own.name)


def _names(desired: StatefulSet, pod: Pod) -> Iterator[tuple[ClaimTemplate, str]]:
    for template in desired.claim_templates:
        yield template, claim_name(desired, template, pod.ordinal)


def _body(desired: StatefulSet, template: ClaimTemplate, name: str) -> dict[str, object]:
    metadata: dict[str, object] = {"name": name, "namespace": desired.namespace}
    if template.labels:
        metadata["labels"] = dict(template.labels)
    if template.annotations:
        metadata["annotations"] = dict(template.annotations)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": template.spec,
    }
