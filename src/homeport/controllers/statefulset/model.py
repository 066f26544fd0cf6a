"""The values StatefulSet decisions are made on, and the steps they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from homeport.api.owners import Owner

__all__ = [
    "Claim",
    "ClaimTemplate",
    "DeletePod",
    "FillClaims",
    "NewClaim",
    "OwnerChange",
    "Pass",
    "Phase",
    "Pod",
    "RepairPod",
    "Retention",
    "SetOwners",
    "StartPod",
    "StatefulSet",
    "Status",
    "Task",
]

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """What the controller reports; names are those of `status`."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """Whether claims go: with the set, and with a pod that is scaled away."""

    delete_with_set: bool = False
    delete_when_scaled: bool = False

    @property
    def retains_all(self) -> bool:
        return not self.delete_with_set and not self.delete_when_scaled


@dataclass(frozen=True, slots=True)
class ClaimTemplate:
    """`labels` already include what the selector asks for."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Tree


@dataclass(frozen=True, slots=True)
class StatefulSet:
    """A set as specified.

    partition        None: the object `rollingUpdate` is absent, which is not the same as 0
    max_unavailable  how many pods a rolling update may do without; None without its feature gate
    """

    namespace: str
    name: str
    uid: str
    generation: int
    replicas: int
    template: Tree
    service: str = ""
    start: int = 0
    ordered: bool = True
    on_delete: bool = False
    partition: int | None = 0
    max_unavailable: int | None = None
    min_ready_seconds: int = 0
    history_limit: int = 10
    retention: Retention = Retention()
    claim_templates: tuple[ClaimTemplate, ...] = ()
    deleting: bool = False
    status: Status = Status()

    @property
    def owner(self) -> Owner:
        """The reference that marks what belongs to this set."""
        return Owner("apps/v1", "StatefulSet", self.name, self.uid, True, True)

    def in_range(self, ordinal: int) -> bool:
        return self.start <= ordinal < self.start + self.replicas


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as observed, or planned (`uid` empty, `phase` empty) with the tree to create it from.

    ready            condition Ready is True
    available_after  epoch second from which it is available; None while it is not ready
    claims           claim name by volume name, of its claim volumes
    """

    name: str
    ordinal: int
    uid: str = ""
    revision: str = ""
    phase: str = ""
    ready: bool = False
    available_after: float | None = None
    terminating: bool = False
    name_label: str = ""
    claims: Mapping[str, str] | None = None
    planned: Tree | None = None

    @property
    def created(self) -> bool:
        return bool(self.phase)

    @property
    def running_and_ready(self) -> bool:
        return self.phase == "Running" and self.ready

    def available(self, now: float) -> bool:
        return self.running_and_ready and self.available_after is not None and self.available_after <= now

    def healthy(self, now: float) -> bool:
        return self.available(now) and not self.terminating

    @property
    def owner(self) -> Owner:
        """The reference that ties a claim to this pod's life."""
        return Owner("v1", "Pod", self.name, self.uid, True, True)


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim as far as a set cares.

    version  its resourceVersion; empty for one that the set has just made itself
    """

    name: str
    uid: str
    terminating: bool = False
    owners: tuple[Owner, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class NewClaim:
    """A claim to create."""

    name: str
    body: Tree


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """What happens to a claim's owners.

    remove      references of ours to take away
    add         the controller reference to have, or None
    conflicting another controller has the claim: the policy is not applied, and people are told
    others      references that are nobody's business here; `add` comes after them, as upstream writes it
    version     the resourceVersion of the claim that this was decided upon: `add` must not undo what came after it
    """

    claim: str
    uid: str
    remove: tuple[Owner, ...]
    add: Owner | None
    conflicting: bool = False
    others: tuple[Owner, ...] = ()
    version: str = ""

    @property
    def changes(self) -> bool:
        return bool(self.remove) or self.add is not None


@dataclass(frozen=True, slots=True)
class StartPod:
    """Create the missing claims, then the pod, then set owners of all its claims.

    blocked  claims on their way out: the pod cannot be created in this pass
    """

    pod: Pod
    missing: tuple[NewClaim, ...]
    blocked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FillClaims:
    """A pending pod lacks claims, or their owners are not as they should be."""

    pod: Pod
    missing: tuple[NewClaim, ...]
    blocked: tuple[str, ...]
    owners: tuple[OwnerChange, ...]


@dataclass(frozen=True, slots=True)
class RepairPod:
    """Bring a healthy pod's identity, volumes and claim owners back in line."""

    pod: Pod
    labels: Mapping[str, str] | None
    volumes: Mapping[str, str] | None
    missing: tuple[NewClaim, ...]
    blocked: tuple[str, ...]
    owners: tuple[OwnerChange, ...]


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Ask for a pod's end; a successor with the same name survives."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class SetOwners:
    """Bring owners of a condemned pod's claims in line before it goes."""

    pod: Pod
    owners: tuple[OwnerChange, ...]


Task: TypeAlias = StartPod | FillClaims | RepairPod | DeletePod | SetOwners


@dataclass(frozen=True, slots=True)
class Phase:
    """Tasks by slot, each slot's in order; slots one after the other, or in growing waves when the set is parallel."""

    slots: tuple[tuple[Task, ...], ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over a set.

    phases   performed in order; the first that fails ends the pass
    rolling  outdated pods that go next, when all phases succeeded; each lowers `status.current_replicas` by one
    status   what to report, whether or not something failed
    wake_at  epoch second at which a pod turns available without any event, or None
    """

    phases: tuple[Phase, ...]
    rolling: tuple[DeletePod, ...]
    status: Status
    wake_at: float | None
