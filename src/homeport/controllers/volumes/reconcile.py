"""The two-way pointer between claims and volumes, one decision per claim and one per volume.

Each pass returns the writes in the order in which they must happen: the volume's pointer first, because it decides who
wins; then the volume's phase; then the claim. A crash between two of them leaves a state from which the next pass goes
on. Source: workloads 17.1, 17.2 and 17.4 of the specification.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from homeport.controllers.volumes.model import Claim, StorageClass, Volume

__all__ = [
    "Action",
    "AnnounceProvisioner",
    "AssignClass",
    "BindClaim",
    "BindVolume",
    "DeleteVolume",
    "Notice",
    "ReleaseVolume",
    "SetClaimPhase",
    "SetVolumePhase",
    "best_match",
    "default_class",
    "mismatch",
    "reconcile_claim",
    "reconcile_volume",
]

IN_TREE: Final = "kubernetes.io/"
"""What names of provisioners begin with that the controller would have to be itself."""
_TEMPORARY: Final = "/tmp/"


@dataclass(frozen=True, slots=True)
class BindVolume:
    """Point the volume at the claim; `by_controller` marks that nobody else had chosen it."""

    volume: Volume
    claim: Claim
    by_controller: bool


@dataclass(frozen=True, slots=True)
class ReleaseVolume:
    """Take the pointer back; `whole` False leaves the reservation a user made, without the uid."""

    volume: Volume
    whole: bool


@dataclass(frozen=True, slots=True)
class SetVolumePhase:
    volume: Volume
    phase: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    """The volume's claim is gone, and its policy says that nobody needs it."""

    volume: Volume


@dataclass(frozen=True, slots=True)
class BindClaim:
    """Point the claim at the volume and mark the binding complete."""

    claim: Claim
    volume: Volume


@dataclass(frozen=True, slots=True)
class SetClaimPhase:
    """`volume` given: its capacity and access modes become the claim's."""

    claim: Claim
    phase: str
    volume: Volume | None = None


@dataclass(frozen=True, slots=True)
class AssignClass:
    """Give a claim without class the default one."""

    claim: Claim
    class_name: str


@dataclass(frozen=True, slots=True)
class AnnounceProvisioner:
    """Tell an external provisioner that the claim is its to serve."""

    claim: Claim
    provisioner: str


@dataclass(frozen=True, slots=True)
class Notice:
    """An event about the claim or volume the pass is for."""

    reason: str
    message: str
    warning: bool = False


Action = (
    BindVolume
    | ReleaseVolume
    | DeleteVolume
    | SetVolumePhase
    | BindClaim
    | SetClaimPhase
    | AssignClass
    | AnnounceProvisioner
    | Notice
)


def reconcile_claim(
    claim: Claim,
    volumes: Mapping[str, Volume],
    classes: Mapping[str, StorageClass],
    consumers: Sequence[str] = (),
) -> list[Action]:
    """Return what moves a claim on.

    volumes    by name: all of the cluster's, or those that are the claim's, are asked for by it, or nobody's
    consumers  names of unscheduled pods that use the claim
    """
    if claim.bind_completed:
        return _bound_claim(claim, volumes)
    if claim.volume_name:
        return _requested_volume(claim, volumes.get(claim.volume_name))
    storage_class = classes.get(claim.class_name or "")
    waits = storage_class is not None and storage_class.waits_for_consumer
    volume = best_match(claim, volumes.values(), reserved_only=waits)
    if volume is not None:
        return _bind(claim, volume)
    chosen = default_class(classes.values()) if claim.class_name is None else None
    if chosen is not None:
        return [AssignClass(claim, chosen.name)]
    waits = waits and not claim.selected_node
    return [*_phase(claim, "Pending"), *_unmatched(claim, storage_class, waits, consumers)]


def _unmatched(claim: Claim, storage_class: StorageClass | None, waits: bool, consumers: Sequence[str]) -> list[Action]:
    if waits and consumers:
        who = f"pod{'s' if len(consumers) > 1 else ''} {','.join(consumers)}"
        return [Notice("WaitForPodScheduled", f"waiting for {who} to be scheduled")]
    if waits:
        return [Notice("WaitForFirstConsumer", "waiting for first consumer to be created before binding")]
    if not claim.class_name:
        message = "no persistent volumes available for this claim and no storage class is set"
        return [Notice("FailedBinding", message)]
    if storage_class is None:
        message = f'storageclass.storage.k8s.io "{claim.class_name}" not found'
        return [Notice("ProvisioningFailed", message, warning=True)]
    provisioner = storage_class.provisioner
    if provisioner.startswith(IN_TREE):
        message = f"no volume plugin matched name: {provisioner}"
        return [Notice("ProvisioningFailed", message, warning=True)]
    waiting = Notice(
        "ExternalProvisioning",
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered.",
    )
    return [AnnounceProvisioner(claim, provisioner), waiting]


def _requested_volume(claim: Claim, volume: Volume | None) -> list[Action]:
    """A claim that names its volume takes that one or none."""
    if volume is None:
        return _phase(claim, "Pending")
    if volume.claim is None:
        reason = mismatch(claim, volume)
        if reason:
            message = f'Cannot bind to requested volume "{volume.name}": {reason}'
            return [Notice("VolumeMismatch", message, warning=True), *_phase(claim, "Pending")]
        return _bind(claim, volume)
    if volume.is_for(claim):
        return _bind(claim, volume)
    message = f'volume "{volume.name}" already bound to a different claim.'
    return [Notice("FailedBinding", message, warning=True), *_phase(claim, "Pending")]


def _bound_claim(claim: Claim, volumes: Mapping[str, Volume]) -> list[Action]:
    volume = volumes.get(claim.volume_name)
    if volume is None:
        if claim.phase == "Lost":
            return []
        message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        if not claim.volume_name:
            message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        return [Notice("ClaimLost", message, warning=True), SetClaimPhase(claim, "Lost")]
    if volume.claim is None or volume.claim.uid == claim.uid:
        return _bind(claim, volume)
    if claim.phase == "Lost":
        return []
    message = "Two claims are bound to the same volume, this one is bound incorrectly"
    return [Notice("ClaimMisbound", message, warning=True), SetClaimPhase(claim, "Lost")]


def _bind(claim: Claim, volume: Volume) -> list[Action]:
    """Return the steps of a binding that are still missing."""
    actions: list[Action] = []
    if volume.claim is None:
        actions.append(BindVolume(volume, claim, by_controller=True))
    elif not volume.claim.uid:
        actions.append(BindVolume(volume, claim, by_controller=False))
    if volume.phase != "Bound":
        actions.append(SetVolumePhase(volume, "Bound"))
    if claim.volume_name != volume.name or not claim.bind_completed:
        actions.append(BindClaim(claim, volume))
    if claim.phase != "Bound":
        actions.append(SetClaimPhase(claim, "Bound", volume))
    return actions


def _phase(claim: Claim, phase: str) -> list[Action]:
    return [] if claim.phase == phase else [SetClaimPhase(claim, phase)]


def best_match(claim: Claim, volumes: Iterable[Volume], *, reserved_only: bool = False) -> Volume | None:
    """Return the volume for a claim, None when there is none.

    Volumes with fewer access modes come first; among those with the same ones a volume that is reserved for the claim,
    of whatever class, and then the smallest of the class that is available.
    """
    large_enough = [volume for volume in volumes if not _unfit(claim, volume)]
    for modes in sorted({tuple(sorted(volume.access_modes)) for volume in large_enough}, key=lambda m: (len(m), m)):
        alike = [volume for volume in large_enough if volume.access_modes == set(modes)]
        reserved = sorted(volume.name for volume in alike if volume.is_for(claim))
        if reserved:
            return next(volume for volume in alike if volume.name == reserved[0])
        if reserved_only:
            continue
        free = [
            volume
            for volume in alike
            if volume.claim is None
            and volume.phase == "Available"
            and volume.class_name == (claim.class_name or "")
            and (claim.selector is None or claim.selector.matches(volume.labels))
        ]
        if free:
            return min(free, key=lambda volume: (volume.capacity, volume.name))
    return None


def mismatch(claim: Claim, volume: Volume) -> str:
    """Return why a volume a claim asks for by name cannot serve it, "" when it can. Its selector does not matter."""
    if volume.terminating:
        return f'the volume is marked for deletion "{volume.name}"'
    if volume.capacity < claim.requested:
        return "requested PV is too small"
    if volume.class_name != (claim.class_name or ""):
        return "storageClassName does not match"
    return _unfit(claim, volume)


def _unfit(claim: Claim, volume: Volume) -> str:
    """Return what keeps a volume from serving a claim whatever their classes are, "" when nothing does."""
    if volume.terminating or volume.capacity < claim.requested:
        return "too small"
    if volume.volume_mode != claim.volume_mode:
        return "incompatible volumeMode"
    return "" if claim.access_modes <= volume.access_modes else "incompatible accessMode"


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """Return the class claims without one get: of several marked ones the newest, by name among equals."""
    marked = sorted((c for c in classes if c.default), key=lambda c: c.name)
    return max(marked, key=lambda c: c.created, default=None)


def reconcile_volume(volume: Volume, claim: Claim | None) -> list[Action]:
    """Return what moves a volume on; `claim` is the one its pointer names, None when the server has none."""
    ref = volume.claim
    if ref is None or not ref.uid:
        return [] if volume.phase == "Available" else [SetVolumePhase(volume, "Available")]
    if claim is None or claim.uid != ref.uid:
        return _released(volume)
    if claim.volume_name == volume.name:
        return [] if volume.phase == "Bound" else [SetVolumePhase(volume, "Bound")]
    if not claim.volume_name:
        return []  # half bound: the claim's pass completes it
    if volume.provisioned_by and volume.reclaim == "Delete":
        return _released(volume)
    return [ReleaseVolume(volume, whole=volume.bound_by_controller)]


def _released(volume: Volume) -> list[Action]:
    """The claim is gone. What a provisioner made it deletes itself; of the rest nothing but a directory can be."""
    if volume.phase not in ("Failed", "Released"):
        return [SetVolumePhase(volume, "Released")]
    if volume.reclaim != "Delete" or volume.provisioned_by or volume.terminating:
        return []
    if _TEMPORARY in volume.host_path and volume.host_path.partition(_TEMPORARY)[2]:
        return [DeleteVolume(volume)]
    if volume.host_path:
        message = f"host_path deleter only supports /tmp/.+ but received provided {volume.host_path}"
    else:
        message = f'error getting deleter volume plugin for volume "{volume.name}": no deletable volume plugin matched'
    if volume.phase == "Failed":
        return []
    return [SetVolumePhase(volume, "Failed", message), Notice("VolumeFailedDelete", message, warning=True)]
