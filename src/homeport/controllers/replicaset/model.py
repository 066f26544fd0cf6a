"""The values ReplicaSet decisions are made on. Source: `workloads` 8."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Condition", "Plan", "Pod", "ReplicaSet", "Status"]

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as far as a ReplicaSet cares.

    ready_since      epoch second Ready turned True; None while it is not, or when no time is given
    available_after  epoch second from which it is available; None while it is not ready
    created          epoch second of its creation
    restarts         the highest restart count of its containers; `sidecar_restarts` of its restartable init containers
    """

    name: str
    uid: str
    labels: Mapping[str, str]
    node: str = ""
    phase: str = ""
    ready: bool = False
    ready_since: float | None = None
    available_after: float | None = None
    terminating: bool = False
    deletion_cost: int = 0
    restarts: int = 0
    sidecar_restarts: int = 0
    created: float = 0.0

    @property
    def terminal(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        return not self.terminal and not self.terminating

    def available(self, now: float) -> bool:
        return self.available_after is not None and self.available_after <= now


@dataclass(frozen=True, slots=True)
class Condition:
    kind: str
    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the controller reports; names are those of `status`."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaSet:
    namespace: str
    name: str
    uid: str
    generation: int
    replicas: int
    min_ready_seconds: int
    template: Tree
    deleting: bool
    status: Status


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pods to create, or which to delete."""

    create: int = 0
    delete: tuple[Pod, ...] = ()
