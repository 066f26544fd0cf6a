"""The values Deployment decisions are made on, and the steps they lead to. Source: `workloads` 9."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "Annotate",
    "Condition",
    "Create",
    "Delete",
    "Deployment",
    "Plan",
    "ReplicaSet",
    "Rollback",
    "Scale",
    "Status",
    "Step",
]

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """`updated` is the last time it was confirmed, `since` the last time its status changed; epoch seconds."""

    kind: str
    status: str
    reason: str
    message: str
    updated: float
    since: float


@dataclass(frozen=True, slots=True)
class Status:
    """What the controller reports; names are those of `status`."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    collision_count: int | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Deployment as specified. Surge and unavailable are resolved numbers (9.5).

    progress_deadline  seconds, or None for none
    history_limit      how many old ReplicaSets stay, or None for all
    rollback_to        the revision the legacy annotation asks for (0: the one before), or None
    """

    namespace: str
    name: str
    uid: str
    generation: int
    replicas: int
    template: Tree
    rolling: bool = True
    max_surge: int = 0
    max_unavailable: int = 0
    min_ready_seconds: int = 0
    progress_deadline: int | None = 600
    history_limit: int | None = 10
    paused: bool = False
    deleting: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)
    rollback_to: int | None = None
    status: Status = Status()

    @property
    def most(self) -> int:
        """How many pods there may be at once."""
        return self.replicas + self.max_surge

    @property
    def fewest(self) -> int:
        """How many pods must stay available."""
        return self.replicas - self.max_unavailable


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    """A ReplicaSet of the Deployment; one just planned has no uid.

    replicas  as specified; `actual`, `ready`, `available` and `terminating` as reported
    reported  whether its controller has reported at all; `observed`: on its present specification
    """

    name: str
    uid: str
    created: str
    replicas: int
    template: Tree
    annotations: Mapping[str, str]
    min_ready_seconds: int = 0
    actual: int = 0
    ready: int = 0
    available: int = 0
    terminating: int | None = None
    reported: bool = False
    observed: bool = False
    deleting: bool = False
    failures: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """Create the new ReplicaSet."""

    replica_set: ReplicaSet
    digest: str


@dataclass(frozen=True, slots=True)
class Annotate:
    """Bring annotations and `minReadySeconds` of the new ReplicaSet up to date."""

    replica_set: ReplicaSet
    annotations: Mapping[str, str]
    min_ready_seconds: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Change a ReplicaSet's size, and what its annotations say of the Deployment's; an event tells of another size."""

    name: str
    uid: str
    old: int
    new: int
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an old ReplicaSet nobody needs any more."""

    replica_set: ReplicaSet


Step: TypeAlias = Create | Annotate | Scale | Delete


@dataclass(frozen=True, slots=True)
class Rollback:
    """The legacy rollback: take a template (None: keep the present one) and these annotations, and say so."""

    template: Tree | None
    annotations: Mapping[str, str]
    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass over a Deployment.

    steps     performed in order; the first that fails ends the pass
    revision  what the Deployment's revision annotation is to say, or None to leave it
    status    what to report once the steps are done
    wake_at   epoch second at which a deadline passes, or None
    rollback  instead of all else
    """

    steps: tuple[Step, ...] = ()
    revision: str | None = None
    status: Status = Status()
    wake_at: float | None = None
    rollback: Rollback | None = None
